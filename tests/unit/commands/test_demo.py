"""The demo's message when its emulator does not start."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from unittest.mock import MagicMock, patch

import pytest

from vortex.adapters.metrics import PrometheusMeter
from vortex.commands import demo
from vortex.exits import Exit
from vortex.metrics import EVENTS_READ


def test_demo_fails_and_stops_the_emulator_when_it_never_answers() -> None:
    """The worker is not started."""
    server = MagicMock()
    server.poll.return_value = None
    with (
        patch.object(subprocess, "Popen", return_value=server),
        patch.object(time, "sleep") as slept,
        pytest.raises(demo.DemoFailed, match="did not answer on port"),
        demo._moto(),
    ):
        raise AssertionError("the demo went on")
    assert slept.call_count == 300
    server.terminate.assert_called_once_with()


def test_demo_ignores_settings_and_credentials_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setenv("VORTEX_STORE__URL", "s3://production/x")
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://production")
    monkeypatch.setattr(demo, "_moto", lambda: (_ for _ in ()).throw(demo.DemoFailed("far enough")))
    assert demo.run(None, 1) == Exit.FAILED
    seen = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "VORTEX_"))}
    assert seen == {name: value for name, value in demo._SURROUNDINGS.items() if name.startswith("AWS_")}


def test_demo_reads_how_many_events_the_worker_has_read_from_its_metrics() -> None:
    meter = PrometheusMeter("demo")
    meter.add(EVENTS_READ, 1234)
    assert demo._events_read(meter.page().decode()) == 1234
    assert demo._events_read("") == 0


def test_demo_prints_the_query_of_the_readme() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
    assert demo._QUERY.format(root="DIR") in readme
