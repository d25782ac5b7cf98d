"""Progress on a terminal."""

from __future__ import annotations

import io

import pytest

from vortex.commands.bars import bars


class Terminal(io.StringIO):
    """Standard error of a terminal."""

    def isatty(self) -> bool:
        """Always."""
        return True


def test_bars_show_progress_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", stream)
        with bars() as report:
            report("plans", 1, 4)
            report("plans", 4, 4)
            report("objects", 3)
        assert ("plans" in stream.getvalue()) == shown
        assert ("4/4" in stream.getvalue()) == shown
