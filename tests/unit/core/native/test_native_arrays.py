"""The steps in C on arrays: inconsistent arguments are refused."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from tests.native import installed, native
from vortex.core.native import pure


@installed
def test_native_lines_refuses_rows_outside_their_pages() -> None:
    assert native
    one = np.zeros(1, dtype=np.int64)
    for page, start, size, chosen in (
        (1, 0, 1, 0),
        (-1, 0, 1, 0),
        (0, -1, 1, 0),
        (0, 2, 2, 0),
        (0, 0, -1, 0),
        (0, 0, 1, 1),
    ):
        with pytest.raises(ValueError, match="rows"):
            native.lines([b"abc"], np.full(1, page, np.int32), one + start, np.full(1, size, np.int32), one + chosen)


@installed
def test_native_rising_agrees_with_python() -> None:
    assert native
    good, rng = b"1009\n1010\n2000\n", Random(1)
    assert native.rising(good, 5) and pure.rising(good, 5)
    found = []
    for _ in range(2000):
        lines = bytearray(
            b"".join(b"%04d\n" % number for number in sorted(rng.choices(range(10_000), k=rng.randrange(5))))
        )
        if lines and rng.random() < 0.5:
            lines[rng.randrange(len(lines))] = rng.choice(b"/0129:\n\xff")
        found.append(native.rising(lines, 5))
        assert found[-1] == pure.rising(lines, 5), lines
    assert {True, False} == set(found)
    for width in (0, -5, 4):
        with pytest.raises(ValueError, match="width"):
            native.rising(good, width)


@installed
def test_native_claim_refuses_a_full_table_and_arrays_of_other_lengths() -> None:
    assert native
    old, young, new = _table(1), _table(16), np.zeros(16, np.bool_)
    keys = Random(1).randbytes(16 * 17)
    assert native.claim(keys[:256], old, young, new) == 16 and new.all()
    with pytest.raises(ValueError, match="full"):
        native.claim(keys[256:], old, young, new[:1])
    for some, one, other, answers in (
        (keys[:255], old, young, new[:15]),
        (keys[:256], old, young, new[:15]),
        (keys[:256], old[:0], young, new),
        (keys[:256], old, young[:0], new),
        (keys[:256], old.reshape(-1)[:15], young, new),
    ):
        with pytest.raises(ValueError, match="inconsistent"):
            native.claim(some, one, other, answers)
    with pytest.raises((BufferError, TypeError)):
        native.claim(keys[:256], old, b"0" * 16, new)


@installed
def test_native_refill_refuses_a_table_that_is_too_small() -> None:
    assert native
    full, keys, new = _table(32), Random(1).randbytes(16 * 32), np.zeros(32, np.bool_)
    native.claim(keys, _table(1), full, new)
    with pytest.raises(ValueError, match="too small"):
        native.refill(full, _table(16))
    to = _table(40)
    assert native.refill(full, to) == 32
    assert native.claim(keys, to, _table(1), new) == 0
    assert not new.any()


def _table(slots: int) -> Any:
    return np.zeros((slots, 16), np.uint8)
