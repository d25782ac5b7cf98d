"""`vortex preview` on files and on a stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from simulation.memstream import MemoryStream
from vortex.adapters.clock import SystemClock
from vortex.cli import main
from vortex.exits import Exit

EVENT = '{"c":"acme","t":"view","id":"%s","at":"2026-01-31T10:07:00Z"}\n'
KEY = "customer=acme/event_type=view/date=2026-01-31/hour=10/1005-000.json.gz"


def preview(folder: Path, text: str, *options: str, customer: str = "c") -> Result:
    """The result for a file with this text; without a region, so that a call of AWS would fail."""
    (folder / "v.toml").write_text(
        f'[source]\nstream = "s"\n[event]\ncustomer = "{customer}"\ntype = "t"\nid = "id"\ntime = "at"\n'
        '[store]\nurl = "s3://bucket/x"\n'
    )
    (folder / "events").write_text(text)
    command = ["preview", "-c", str(folder / "v.toml"), "--file", str(folder / "events"), *options]
    return CliRunner().invoke(main, command)


def test_preview_shows_key_or_reason_of_each_event(tmp_path: Path) -> None:
    done = preview(tmp_path, EVENT % 1 + EVENT % 1 + "{\n")
    assert done.exit_code == Exit.OK
    assert done.output.count(f"-> {KEY}") == 2
    assert f"-> {KEY} (repeats an id)" in done.output
    assert "-> REJECTED not_json" in done.output
    assert "3 events decoded: 2 accepted, 1 rejected, 1 repeat an id, 0 have no readable time" in done.output


def test_preview_fails_and_names_the_nearest_path_when_all_events_are_rejected(tmp_path: Path) -> None:
    done = preview(tmp_path, EVENT % 1, customer="cc")
    assert done.exit_code == Exit.FAILED
    assert "event.customer: cc: in 0 % of 1 event" in done.output
    assert "nearest paths in the data: c (100%)" in done.output


def test_preview_prints_json_lines(tmp_path: Path) -> None:
    done = preview(tmp_path, EVENT % 1 + EVENT % 2, "--json", "-n", "1")
    (row,) = map(json.loads, done.output.splitlines())
    assert (row["key"], row["reason"], row["record"]) == (KEY, None, "1")


def test_preview_escapes_control_characters_of_events(tmp_path: Path) -> None:
    done = preview(tmp_path, '{"c":"\x1b[31m"}\n')
    assert "\x1b" not in done.output
    assert "\\x1b" in done.output


@pytest.mark.parametrize("text", ["", "\n"])
def test_preview_says_when_there_are_no_events(tmp_path: Path, text: str) -> None:
    assert preview(tmp_path, text).output == "no events found\n"


def test_preview_closes_the_stream_itself_when_it_has_seen_enough_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Left to the end of the event loop, a client closes in another task, which is an error."""
    closed_by: list[Any] = []

    @contextlib.asynccontextmanager
    async def opened(settings: Any) -> AsyncIterator[Any]:
        owner = asyncio.current_task()
        stream = MemoryStream(SystemClock(), shards=1)
        for number in range(150):
            stream.put(f"k{number}", (EVENT % number).encode())
        try:
            yield stream
        finally:
            closed_by.append(asyncio.current_task() is owner)

    monkeypatch.setattr("vortex.commands.preview.open_stream", opened)
    preview(tmp_path, "")
    done = CliRunner().invoke(main, ["preview", "-c", str(tmp_path / "v.toml"), "-n", "3"])
    assert done.exit_code == Exit.OK, done.output
    assert closed_by == [True]
    assert not caplog.records
