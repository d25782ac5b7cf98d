"""The window against a plain dict: same answers, whatever comes, goes, grows and splits."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import nullcontext
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.native import without_native
from vortex.core import window as module
from vortex.core.window import Window


@pytest.fixture(autouse=True, scope="module", params=["in C", "in Python"])
def _either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    with nullcontext() if request.param == "in C" else without_native():
        yield


@pytest.mark.parametrize("young", [1, 50, 8192])
@given(seed=st.integers(0, 2**32), rounds=st.integers(1, 60))
def test_answers_as_a_dict_would(young: int, seed: int, rounds: int) -> None:
    """New, seen, repeated within a call, forgotten and seen again."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_YOUNG", young)
        _live(Random(seed), rounds)


def _live(rng: Random, rounds: int) -> None:
    window, model, tags = Window(), {}, []
    pool = [rng.randbytes(16) for _ in range(200)]
    for _ in range(rounds):
        tag = window.open_segment()
        tags.append(tag)
        keys = [rng.choice(pool) if rng.random() < 0.7 else rng.randbytes(16) for _ in range(rng.randint(1, 120))]
        expected = [model.setdefault(key, (tag, number)) == (tag, number) for number, key in enumerate(keys)]
        assert window.claim(tag, b"".join(keys)).tolist() == expected
        while len(tags) > 4 and rng.random() < 0.5:
            old = tags.pop(0)
            window.forget([old])
            model = {key: value for key, value in model.items() if value[0] != old}
        assert len(window) == len(model)
        assert window.contains(pool) == [key in model for key in pool]


def test_growth_and_splits_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves that split many times over still know every key, and know no other."""
    monkeypatch.setattr(module, "_LEAF_LIMIT", 2048)
    monkeypatch.setattr(module, "_SMALL", 0)
    monkeypatch.setattr(module, "_YOUNG", 1000)
    rng = Random(7)
    window = Window()
    keys = [rng.randbytes(16) for _ in range(30_000)]
    tag = window.open_segment()
    for begin in range(0, len(keys), 250):
        assert all(window.claim(tag, b"".join(keys[begin : begin + 250])))
    assert window._bits >= 4
    assert all(leaf.slots <= 2048 for leaf in window._directory), "a leaf that would be larger is split instead"
    assert all(window.contains(keys))
    assert not any(window.contains([rng.randbytes(16) for _ in range(5000)]))
    assert not any(window.claim(tag, b"".join(keys)))


@pytest.mark.parametrize("refused", [False, True])
def test_memory_is_zeroed_and_begins_with_a_huge_page(refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the kernel refuses to give huge pages, as it does for advice that it does not know."""
    if refused:
        monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 9999, raising=False)
    memory = module._zeroed(5 << 20)
    assert len(memory) == 5 << 20 and not memory.any()
    assert memory.ctypes.data % (2 << 20) == 0
    memory[:] = 1


@pytest.mark.parametrize("limit", [1 << 20, 1024])
def test_keys_that_share_a_home_stay_apart(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal first words put many keys into one bucket, and splits part none; the rest of the key tells them apart."""
    monkeypatch.setattr(module, "_LEAF_LIMIT", limit)
    window = Window()
    tag = window.open_segment()
    keys = [b"\x00" * 8 + number.to_bytes(8, "big") for number in range(500)]
    assert all(window.claim(tag, b"".join(keys)))
    assert not any(window.claim(tag, b"".join(keys)))


def test_a_key_of_two_parents_is_remembered_as_long_as_the_younger() -> None:
    """Loaded youngest first, the key stays until the segment that expires last is forgotten."""
    window = Window()
    young = window.load(b"k" * 16)
    old = window.load(b"k" * 16)
    window.forget([old])
    assert window.contains([b"k" * 16]) == [True]
    window.forget([young])
    assert window.contains([b"k" * 16]) == [False]


def test_forgotten_places_are_used_again() -> None:
    """A window of steady size does not grow for ever."""
    window = Window()
    rng = Random(3)
    tags: list[int] = []
    sizes = []
    for _ in range(300):
        tags.append(window.open_segment())
        window.claim(tags[-1], rng.randbytes(16 * 500))
        if len(tags) > 10:
            window.forget([tags.pop(0)])
        sizes.append(window.nbytes)
    assert max(sizes[150:]) <= 2 * max(sizes[:100])
    assert window.nbytes / len(window) < 80, "a small table has room to spare"


def test_of_equal_keys_the_first_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many leaves a page's keys are shared out to."""
    monkeypatch.setattr(module, "_LEAF_LIMIT", 2048)
    rng = Random(5)
    window = Window()
    tag = window.open_segment()
    for _ in range(20):
        window.claim(tag, rng.randbytes(16 * 1000))
    assert window._bits >= 2
    distinct = [rng.randbytes(16) for _ in range(500)]
    new = window.claim(tag, b"".join(distinct * 3))
    assert [number for number, first in enumerate(new) if first] == list(range(500))
