"""What `vortex check` says before it asks a service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from vortex.commands import check as module
from vortex.commands.probes import Line
from vortex.config.settings import Settings
from vortex.core.memory import MIB


@pytest.mark.parametrize(("mebibytes", "said"), [(512, ["settings", "memory"]), (4096, ["settings"])])
def test_check_says_that_memory_is_too_little_and_does_not_fail(
    mebibytes: int, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it runs; a worker with few ids runs in that."""
    monkeypatch.setattr(module, "usable_bytes", lambda: mebibytes * MIB)
    settings = Settings.model_validate(
        {
            "source": {"stream": "s", "region": "eu-central-1"},
            "event": dict.fromkeys(("customer", "type", "id", "time"), "x"),
            "store": {"url": f"file://{tmp_path}"},
        }
    )

    async def first() -> list[Line]:
        found: list[Line] = []
        lines = module._lines(settings)
        async for line in lines:
            if line.what not in ("settings", "memory"):
                break
            found.append(line)
        await lines.aclose()  # type: ignore[attr-defined]
        return found

    found = asyncio.run(first())
    assert [line.what for line in found] == said
    assert all(line.ok for line in found)
