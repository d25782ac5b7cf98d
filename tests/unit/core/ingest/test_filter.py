"""The filter against a plain dict: what it knows was accepted within the horizon, and it forgets in good time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native import without_native
from vortex.core.ingest.filter import Filter
from vortex.core.native import native

MINUTE = 60_000


@pytest.fixture(autouse=True, scope="module", params=["in C", "in Python"])
def _either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    with nullcontext() if request.param == "in C" else without_native():
        yield


def lived(seed: int, rounds: int) -> list[list[bool]]:
    """Answers of a filter of ten minutes, each held against when its key was accepted."""
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
def test_it_knows_what_was_accepted_lately(seed: int, rounds: int) -> None:
    """Surely for half of the horizon, never beyond it, and nothing else; of equal keys the first is new."""
    lived(seed, rounds)


@given(seed=st.integers(0, 2**32))
def test_both_ways_answer_alike(seed: int) -> None:
    """In C and in Python."""
    answers = lived(seed, 20)
    with without_native():
        assert lived(seed, 20) == answers


def test_memory_does_not_grow_with_time() -> None:
    """Two generations, of which the older one goes."""
    rng, found, sizes = Random(3), Filter(10 * MINUTE), []
    for minute in range(60):
        found.claim(rng.randbytes(16 * 5000), minute * MINUTE, minute * MINUTE)
        sizes.append(found.nbytes)
    assert max(sizes[30:]) <= 1.3 * max(sizes[:30])
    assert len(found) <= 5000 * 11
    if native is not None:
        assert found.nbytes / len(found) <= 140, "in Python a set; in C a table with room to spare"


def test_keys_that_share_a_home_stay_apart() -> None:
    """Equal first words put many keys into one place; the rest of the key tells them apart."""
    found = Filter(MINUTE)
    keys = b"".join(b"\x00" * 8 + number.to_bytes(8, "big") for number in range(1, 500))
    assert found.claim(keys, 0, 0).all()
    assert not found.claim(keys, 0, 0).any()


def test_without_a_horizon_everything_is_new() -> None:
    """A window of nothing: no key is kept."""
    found = Filter(0)
    assert np.all([found.claim(b"k" * 16, 5, 5) for _ in range(3)])
    assert len(found) == 0
