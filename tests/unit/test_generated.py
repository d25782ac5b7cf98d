"""The generated files are up to date."""

from __future__ import annotations

import pytest

from tools.generated import ROOT, files


@pytest.mark.parametrize("name", files())
def test_generated_file_is_up_to_date(name: str) -> None:
    """It equals what `make generated` would write."""
    assert (ROOT / name).read_text("utf-8") == files()[name], f"{name} is stale: run `make generated`"
