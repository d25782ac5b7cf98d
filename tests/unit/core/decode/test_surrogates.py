"""Masking of lone surrogates."""

from __future__ import annotations

from random import Random

import pytest

from vortex.core.decode import surrogates
from vortex.core.decode.steps import at_once
from vortex.core.decode.surrogates import masked, masking, may_have_one


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


def test_masking_takes_several_steps_to_find_no_surrogate_in_a_long_text() -> None:
    """64 MiB of backslashes took 0.3 s in one step."""
    text = b"\\" * (8 << 20)
    assert sum(1 for _ in masking(text)) >= 7


@pytest.mark.parametrize("begin", [rb"\ud", rb"\uD"])
@pytest.mark.parametrize("at", [0, (1 << 20) - 3, (1 << 20) - 2, (1 << 20) - 1, 1 << 20, (1 << 21) - 3])
def test_may_have_one_finds_the_begin_of_a_surrogate_wherever_it_is(at: int, begin: bytes) -> None:
    text = bytearray(b"x" * (1 << 21))
    text[at : at + 3] = begin
    assert at_once(may_have_one(bytes(text)))
    text[at + 1 : at + 2] = b"x"
    assert not at_once(may_have_one(bytes(text)))


def test_masked_is_the_same_by_an_expression_and_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(5)
    tokens = rb"\ \\ u \u \ud83d \ude00 \uD8 \udC0G x \n \" \uDFFF".split()
    texts = [b"".join(rng.choices(tokens, k=rng.randrange(14))) for _ in range(3000)]
    short = list(map(masked, texts))
    monkeypatch.setattr(surrogates, "_SHORT", -1)
    assert list(map(masked, texts)) == short
    assert short != texts
