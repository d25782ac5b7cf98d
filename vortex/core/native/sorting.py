"""Sorting small numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def stable_order(numbers: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The indices that sort `numbers`, each from 0 to 2^32 - 1; equal numbers keep their order.

    numpy sorts 16-bit numbers by radix, in a third of the time of its ordinary sort: so sort by the lower half first,
    then by the upper half if it is not constant.
    """
    order = np.argsort((numbers & 0xFFFF).astype(np.uint16), kind="stable")
    upper = (numbers >> 16).astype(np.uint16)
    return order[np.argsort(upper[order], kind="stable")] if upper.any() else order
