"""The limit on the nesting of JSON."""

from __future__ import annotations

import json

import pytest

from vortex.core.decode.depth import MAX_DEPTH, is_too_deep


@pytest.mark.parametrize("padding", [0, 1 << 15], ids=["short", "long"])
@pytest.mark.parametrize(("brackets", "content"), [("[]", ""), (('{"a":', "}"), "1")], ids=["arrays", "objects"])
def test_is_too_deep_allows_512_levels_and_no_more(brackets: tuple[str, str], content: str, padding: int) -> None:
    """For short texts and for long ones, which are counted by array."""
    opening, closing = brackets
    for levels, expected in ((MAX_DEPTH, False), (MAX_DEPTH + 1, True), (20 * MAX_DEPTH, True)):
        text = opening * levels + content + " " * padding + closing * levels
        assert is_too_deep(text.encode()) is expected


@pytest.mark.parametrize("padding", [0, 1 << 15], ids=["short", "long"])
def test_is_too_deep_ignores_brackets_in_strings_and_in_sequence(padding: int) -> None:
    text = json.dumps(['"\\' + "[{" * 2 * MAX_DEPTH, [[]] * 2 * MAX_DEPTH, " " * padding])
    assert not is_too_deep(text.encode())
