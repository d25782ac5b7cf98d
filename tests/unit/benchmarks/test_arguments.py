"""Arguments of benchmarks."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from benchmarks.arguments import checkout, positive


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
