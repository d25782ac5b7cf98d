"""The stable order of small numbers, as numpy's sort gives it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.native.sorting import stable_order


@pytest.mark.parametrize(("dtype", "most"), [("u2", 2**16 - 1), ("i4", 2**31 - 1), ("i8", 2**32 - 1)])
@given(data=st.data())
def test_stable_order_equals_numpys_stable_argsort(dtype: str, most: int, data: st.DataObject) -> None:
    """For numbers above and below 16 bits, few and often equal."""
    below = data.draw(st.sampled_from([1, 3, 2**16 - 1, most]))
    numbers = np.array(data.draw(st.lists(st.integers(0, below))), dtype=dtype)
    assert stable_order(numbers).tolist() == np.argsort(numbers, kind="stable").tolist()
