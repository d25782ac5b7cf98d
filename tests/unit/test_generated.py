"""The files that are made from the code are what the code says now."""

from __future__ import annotations

import pytest

from tools.generated import ROOT, files


@pytest.mark.parametrize("name", files())
def test_generated_file_is_current(name: str) -> None:
    """What `make generated` would write lies there."""
    assert (ROOT / name).read_text("utf-8") == files()[name], f"{name} is stale: run `make generated`"
