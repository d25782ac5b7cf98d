"""Printing one line."""

from __future__ import annotations

import pytest

from vortex.commands.printing import print_line


@pytest.mark.parametrize("err", [False, True])
def test_tell_prints_one_line_with_control_characters_escaped(err: bool, capsys: pytest.CaptureFixture[str]) -> None:
    print_line("key\r\nforged\x1b[2J", err=err)
    printed = capsys.readouterr()
    line = printed.err if err else printed.out
    assert (printed.out if err else printed.err) == ""
    assert line.count("\n") == 1 and line.endswith("\n")
    assert "\x1b" not in line and "\r" not in line and "forged" in line
