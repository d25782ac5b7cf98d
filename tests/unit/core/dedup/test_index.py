"""Lookup of keys among sorted keys, against a search by hand, in C and in Python."""

from __future__ import annotations

import contextlib
from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import installed, native, without_native
from vortex.core.dedup.index import Fingerprints, Words, find, in_order

BOTH = (contextlib.nullcontext, without_native)
Key = tuple[int, int]
KEYS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2**24, 2**63, 2**64 - 1]), st.integers(0, 3))
    | st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
    max_size=40,
)


def columns(keys: list[Key]) -> tuple[Words, Words]:
    return np.array([key[0] for key in keys], dtype=np.uint64), np.array([key[1] for key in keys], dtype=np.uint64)


def many(count: int, seed: int) -> Words:
    return np.sort(np.random.default_rng(seed).integers(0, 2**64 - 1, count, dtype=np.uint64, endpoint=True))


@settings(max_examples=200, deadline=None)
@given(KEYS)
def test_in_order_sorts_keys_stably(keys: list[Key]) -> None:
    wanted = sorted(range(len(keys)), key=keys.__getitem__)
    for way in BOTH:
        with way():
            assert in_order(*columns(keys)).tolist() == wanted


@pytest.mark.parametrize("different", [1, 2, 300])
def test_in_order_sorts_many_keys_stably_even_if_they_lie_close_together(different: int) -> None:
    rng = np.random.default_rng(different)
    close, low = np.uint64(2**63) + rng.integers(0, different, 3000, dtype=np.uint64), rng.integers(0, 3, 3000)
    for high in (close, np.concatenate((close[:-2], np.array([0, 2**64 - 1], dtype=np.uint64)))):
        keys = list(zip(high.tolist(), low.tolist(), strict=True))
        wanted = sorted(range(len(keys)), key=keys.__getitem__)
        for way in BOTH:
            with way():
                assert in_order(high, low.astype(np.uint64)).tolist() == wanted


@settings(max_examples=200, deadline=None)
@given(KEYS, KEYS)
def test_find_returns_the_first_index_of_each_probe_or_minus_one(keys: list[Key], others: list[Key]) -> None:
    keys, probes = sorted(keys), sorted(others + keys[::2])
    at = [bisect_left(keys, probe) for probe in probes]
    wanted = [place if keys[place : place + 1] == [probe] else -1 for place, probe in zip(at, probes, strict=True)]
    for way in BOTH:
        with way():
            assert find(*columns(keys), *columns(probes)).tolist() == wanted


@pytest.mark.parametrize(("keys", "probes"), [(4000, 100), (4000, 4000), (100, 4000)])
def test_find_is_equal_in_c_and_python_for_few_and_many_probes(keys: int, probes: int) -> None:
    rng = np.random.default_rng(keys + probes)
    pool = list(zip(many(6000, 3).tolist(), rng.integers(0, 2, 6000).tolist(), strict=True))
    some, others = (columns(sorted(pool[at] for at in rng.integers(0, 6000, count))) for count in (keys, probes))
    answers = []
    for way in BOTH:
        with way():
            answers.append(find(*some, *others).tolist())
    assert answers[0] == answers[1]
    assert any(place >= 0 for place in answers[0])
    assert -1 in answers[0]


@settings(max_examples=200, deadline=None)
@given(KEYS, KEYS)
def test_fingerprints_have_no_false_negatives_and_are_equal_in_c_and_python(keys: list[Key], others: list[Key]) -> None:
    high = np.sort(columns(keys)[0])
    probes = np.sort(np.concatenate((high, columns(others)[0])))
    answers = []
    for way in BOTH:
        with way():
            answers.append(Fingerprints(high).may_have(probes).tolist())
    assert answers[0] == answers[1]
    assert all(may or probe not in high for may, probe in zip(answers[0], probes, strict=True))


@pytest.mark.parametrize(("part", "parts"), [(0, 1), (5, 8)])
def test_fingerprints_take_less_than_four_bytes_a_key_with_few_false_positives(part: int, parts: int) -> None:
    bits = parts.bit_length() - 1
    mine, absent = (
        keys[keys >> np.uint64(64 - bits) == part] if bits else keys
        for keys in (many(100_000 * parts, 1), many(100_000 * parts, 2))
    )
    index = Fingerprints(mine, part, parts)
    assert index.nbytes / len(mine) < 3.4
    assert index.may_have(mine).all()
    assert np.count_nonzero(index.may_have(absent)) <= 5


def test_find_returns_minus_one_when_there_are_no_keys() -> None:
    none = columns([])
    for way in BOTH:
        with way():
            assert find(*none, *columns([(1, 2), (3, 4)])).tolist() == [-1, -1]
            assert find(*columns([(1, 2)]), *none).tolist() == []
            assert Fingerprints(none[0]).may_have(many(3, 1)).tolist() == [False] * 3
            assert Fingerprints(many(9, 1)).may_have(none[0]).tolist() == []


@installed
def test_native_find_order_and_fingerprints_refuse_inconsistent_arrays() -> None:
    assert native
    one, two, places = np.zeros(1, np.uint64), np.zeros(2, np.uint64), np.zeros(1, np.int64)
    for wrong in ((one, two, one, one), (one, one, two, one), (one, one, two, two)):
        with pytest.raises(ValueError, match="find"):
            native.find(*wrong, places)
    for high, low in ((one, two), (two, two)):
        with pytest.raises(ValueError, match="order"):
            native.order(high, low, places)
    begins = np.array([0, 1], dtype=np.uint32)
    for its, prints, probes in (
        (begins, bytes(6), one),
        (np.array([1, 0], np.uint32), bytes(0), one),
        (begins, bytes(3), one + np.uint64(2**24)),
        (begins[:0], bytes(0), one),
    ):
        with pytest.raises(ValueError, match="maybe"):
            native.maybe(its, prints, probes, places)
