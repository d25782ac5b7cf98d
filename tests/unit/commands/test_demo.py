"""The demo's message when its emulator does not start."""

from __future__ import annotations

from unittest.mock import MagicMock, patch

import pytest

from vortex.commands import demo


def test_demo_fails_and_stops_the_emulator_when_it_never_answers() -> None:
    """The worker is not started."""
    server = MagicMock()
    server.poll.return_value = None
    with (
        patch.object(demo.subprocess, "Popen", return_value=server),
        patch.object(demo.time, "sleep") as slept,
        pytest.raises(demo.DemoFailed, match="did not answer on port"),
        demo._moto(),
    ):
        raise AssertionError("the demo went on")
    assert slept.call_count == 300
    server.terminate.assert_called_once_with()
