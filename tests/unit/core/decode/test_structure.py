"""The brackets of JSON texts, counted by array in pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.decode import structure
from vortex.core.decode.steps import at_once
from vortex.core.decode.structure import has_more_keys, has_more_values, is_deeper_value, nests_deeper

_VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('"\\[]{},a'), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=10,
)


def depth_of(value: object) -> int:
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@given(_VALUES, st.sampled_from([3, 7, 1 << 16]))
def test_nests_deeper_compares_the_depth_of_a_value(value: object, piece: int) -> None:
    """Whatever the size of the pieces."""
    text = json.dumps(value).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "_PIECE", piece)
        for most in range(4):
            assert at_once(nests_deeper(text, most)) is (depth_of(value) > most)
            assert at_once(is_deeper_value(text, most)) is (depth_of(value) > most)
            assert not at_once(is_deeper_value(b"[" + text + b"],[]", most))


def keys_of(value: object) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(keys_of, value.values()))
    return sum(map(keys_of, value)) if isinstance(value, list) else 0


@given(
    st.recursive(
        st.none() | st.text(st.sampled_from('"\\:a'), max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(st.sampled_from('"\\:'), max_size=2), inner, max_size=3)
        ),
        max_leaves=10,
    ),
    st.sampled_from([3, 7, 1 << 16]),
)
def test_has_more_keys_compares_the_keys_of_all_objects_without_colons_in_strings(value: object, piece: int) -> None:
    """Whatever the size of the pieces."""
    text, keys = json.dumps(value).encode(), keys_of(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "_PIECE", piece)
        for most in range(keys + 3):
            assert at_once(has_more_keys(text, most)) is (keys > most)


@given(st.lists(_VALUES, max_size=8), st.sampled_from([3, 7, 1 << 16]), st.booleans())
def test_has_more_values_never_misses_one(values: list[object], piece: int, array: bool) -> None:
    """Of values after one another, or of an array; an estimate that is too high is allowed."""
    text = json.dumps(values) if array else "\n".join(map(json.dumps, values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "_PIECE", piece)
        for most in range(len(values)):
            assert at_once(has_more_values(text.encode(), most))


def test_has_more_values_ignores_what_is_nested_in_objects() -> None:
    text = json.dumps({"a": [1, 2, 3], "b": {"c": [{}] * 50}}).encode() * 9
    assert not at_once(has_more_values(text, 9))
    assert at_once(has_more_values(text, 8))
