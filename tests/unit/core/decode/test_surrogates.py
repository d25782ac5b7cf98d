"""Masking of lone surrogates."""

from __future__ import annotations

import pytest

from vortex.core.decode.surrogates import masked, masking


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\uDC00\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\ud800\ud800\udc00"', rb'"\ufffd\ud800\udc00"'),
        (rb'"\ud83d\\ude00"', rb'"\ufffd\\ude00"'),
    ],
)
def test_masked_replaces_lone_surrogates(text: bytes, expected: bytes) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text", [rb'"\\ud83d"', rb'"\ud83d\ude00"', rb'"\ud8"', rb'"\u00e9\ud83d\ude00"', rb'"\\\\ud800\\"']
)
def test_masked_returns_the_text_itself_without_lone_surrogates(text: bytes) -> None:
    assert masked(text) is text


def test_masking_takes_several_steps_for_a_long_text() -> None:
    assert sum(1 for _ in masking(rb"\ud83d" * 1_000_000)) >= 5
