"""Arguments of benchmarks."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from benchmarks.arguments import checkout, new_file, positive, rate, setting, stopped_by_hand


@pytest.mark.parametrize("text", ["0", "-5", "1.5", "", "many"])
def test_count_is_refused_when_it_is_below_1_or_no_number(text: str) -> None:
    """It would give figures of nothing."""
    with pytest.raises(ArgumentTypeError, match="not a whole number of 1 or more"):
        positive(text)
    assert positive("12") == 12


def test_folder_is_refused_when_it_is_not_a_checkout(tmp_path: Path) -> None:
    """Python would find the installed program."""
    with pytest.raises(ArgumentTypeError, match="no folder vortex"):
        checkout(str(tmp_path))
    (tmp_path / "vortex").mkdir()
    (tmp_path / "vortex" / "__init__.py").touch()
    assert checkout(str(tmp_path)) == tmp_path.resolve()


@pytest.mark.parametrize("text", ["0", "0MB", "fast", ""])
def test_rate_is_refused_when_it_is_0_or_no_size(text: str) -> None:
    """0 would stand for no limit."""
    with pytest.raises(ArgumentTypeError):
        rate(text)
    assert rate("100MB") == 100_000_000


@pytest.mark.parametrize("text", ["memory.limit", "memory.size=1", "memory=1", "limit=1MiB", "=1", "colour.red=1", ""])
def test_setting_is_refused_when_there_is_none_of_its_name(text: str) -> None:
    """The worker would name a line of a file that nobody wrote by hand."""
    with pytest.raises(ArgumentTypeError, match=r"SECTION\.KEY=VALUE"):
        setting(text)
    assert setting("memory.limit=512MiB") == "memory.limit=512MiB"


def test_file_is_refused_when_its_folder_is_missing(tmp_path: Path) -> None:
    """It would fail after minutes of measuring."""
    for wrong in tmp_path / "none" / "a.json", tmp_path:
        with pytest.raises(ArgumentTypeError, match="cannot be written"):
            new_file(str(wrong))
    assert new_file(str(tmp_path / "a.json")) == tmp_path / "a.json"


def test_benchmark_ends_in_one_line_when_stopped_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        stopped_by_hand(main)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "stopped\n"
