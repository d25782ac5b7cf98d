"""What the demo says when something of it does not start."""

from __future__ import annotations

from unittest.mock import MagicMock, patch

import pytest

from vortex.commands import demo


def test_an_emulator_that_never_answers_is_said_to_be_so() -> None:
    """And is stopped, too; the worker is not started against a port where nobody listens."""
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
