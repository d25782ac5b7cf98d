"""The duplicate filter against a plain dict: which keys it knows, and when it forgets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native import native, without_native
from vortex.core.ingest.filter import MOST_KEYS, Filter

MINUTE = 60_000


@pytest.fixture(autouse=True, scope="module", params=["in C", "in Python"])
def _either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    with nullcontext() if request.param == "in C" else without_native():
        yield


def answers_of_a_filter(seed: int, rounds: int) -> list[list[bool]]:
    """The answers of a filter with a horizon of ten minutes, each checked against the time its key was accepted."""
    rng, found = Random(seed), Filter(10 * MINUTE)
    pool = [rng.randbytes(16) for _ in range(60)]
    accepted: dict[bytes, int] = {}
    at, answers = 10**12, []
    for _ in range(rounds):
        first = at = at + rng.choice((0, 1000, MINUTE, 4 * MINUTE, 30 * MINUTE))
        at += rng.choice((0, 0, 1000, MINUTE, 11 * MINUTE))
        keys = [rng.choice(pool) if rng.random() < 0.6 else rng.randbytes(16) for _ in range(rng.randint(1, 2000))]
        answers.append(found.claim(b"".join(keys), first, at).tolist())
        for key, new in zip(keys, answers[-1], strict=True):
            if not new:
                assert at - accepted[key] <= 10 * MINUTE
            elif key in accepted and at - first < 10 * MINUTE:
                assert at - accepted[key] > 5 * MINUTE
            if new:
                accepted[key] = first
    return answers


@given(seed=st.integers(0, 2**32), rounds=st.integers(1, 40))
def test_filter_knows_keys_accepted_within_half_its_horizon_and_none_beyond_it(seed: int, rounds: int) -> None:
    """Of equal keys in one claim the first is new."""
    answers_of_a_filter(seed, rounds)


@given(seed=st.integers(0, 2**32))
def test_filter_answers_the_same_in_c_and_in_python(seed: int) -> None:
    answers = answers_of_a_filter(seed, 20)
    with without_native():
        assert answers_of_a_filter(seed, 20) == answers


def test_filter_memory_does_not_grow_with_time() -> None:
    """There are two generations, and the older one is dropped."""
    rng, found, sizes = Random(3), Filter(10 * MINUTE), []
    for minute in range(60):
        found.claim(rng.randbytes(16 * 5000), minute * MINUTE, minute * MINUTE)
        sizes.append(found.nbytes)
    assert max(sizes[30:]) <= 1.3 * max(sizes[:30])
    assert len(found) <= 2 * MOST_KEYS
    if native is not None:
        assert found.nbytes / len(found) <= 140, "a set in Python, a table with spare slots in C"


def test_filter_memory_does_not_grow_with_the_rate_of_a_shard() -> None:
    """Of many keys within a minute the last ones are known, the others are forgotten."""
    rng, found, last = Random(4), Filter(10 * MINUTE), b""
    for _ in range(40):
        last = rng.randbytes(16 * 5000)
        assert found.claim(last, MINUTE, MINUTE).all()
        assert len(found) <= 2 * MOST_KEYS
        assert found.nbytes <= 8 * 2**20
    assert not found.claim(last, MINUTE, MINUTE).any()
    assert len(found) > MOST_KEYS // 2


@pytest.mark.parametrize("count", [MOST_KEYS // 2, MOST_KEYS // 2 + 1, MOST_KEYS + 1])
def test_filter_knows_all_keys_of_the_last_call_when_they_are_many(count: int) -> None:
    """Of equal keys in one call the first is new, however many there are."""
    found = Filter(10 * MINUTE)
    for seed in range(2):
        keys = Random(seed).randbytes(16 * count)
        assert np.array_equal(found.claim(keys + keys, 0, 0), np.arange(2 * count) < count)
        assert not found.claim(keys[-16 * 100 :], 0, 0).any()
        assert len(found) <= 2 * max(MOST_KEYS, count)


def test_filter_distinguishes_keys_with_equal_first_words() -> None:
    """They hash to the same slot; the rest of the key differs."""
    found = Filter(MINUTE)
    keys = b"".join(b"\x00" * 8 + number.to_bytes(8, "big") for number in range(1, 500))
    assert found.claim(keys, 0, 0).all()
    assert not found.claim(keys, 0, 0).any()


def test_filter_without_a_horizon_answers_that_every_key_is_new() -> None:
    """It keeps no key."""
    found = Filter(0)
    assert np.all([found.claim(b"k" * 16, 5, 5) for _ in range(3)])
    assert len(found) == 0
