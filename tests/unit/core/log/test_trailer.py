"""The end that segments and decision files share."""

from __future__ import annotations

import pytest

from vortex.core.log.trailer import CorruptSegment, OtherVersion, Trailer

TRAILER = Trailer("segment", b"VORTEXSG", 2, 3)
PART = b"the footer"


def test_trailer_returns_the_part_and_its_digest_when_the_tail_has_more_before_it() -> None:
    whole = b"blobs" + PART + TRAILER.of(PART, 3)
    assert TRAILER.length(whole, "x") == len(PART) + TRAILER.size == len(PART) + 32
    assert TRAILER.body(whole, "x") == (PART, TRAILER.digest(PART, 3))
    assert TRAILER.version(whole) == 3


@pytest.mark.parametrize("at", range(len(PART) + 32))
def test_trailer_refuses_the_object_when_any_bit_of_its_end_is_changed(at: int) -> None:
    """Whether it then names another kind, another version or a wrong digest."""
    whole = bytearray(PART + TRAILER.of(PART, 2))
    whole[at] ^= 1
    with pytest.raises((CorruptSegment, OtherVersion), match=r"^x: "):
        TRAILER.body(bytes(whole), "x")


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (b"short", "x: 5 bytes are too few for a segment"),
        (b"." * 40, "x: is not a segment: wrong trailer"),
        ((PART + TRAILER.of(PART, 3))[1:], "x: its end is truncated"),
        (b"." + PART[1:] + TRAILER.of(PART, 3), "x: its end does not match its digest"),
    ],
)
def test_trailer_names_the_object_and_the_fault_when_it_is_damaged(tail: bytes, message: str) -> None:
    with pytest.raises(CorruptSegment) as caught:
        TRAILER.body(tail, "x")
    assert str(caught.value) == message


@pytest.mark.parametrize(("version", "words"), [(1, "reads 2 and later"), (4, "knows up to 3; run the newer one")])
def test_trailer_says_what_to_do_when_the_version_is_not_supported(version: int, words: str) -> None:
    with pytest.raises(OtherVersion, match=f"^x: format version {version}; .*{words}"):
        TRAILER.length(PART + TRAILER.of(PART, version), "x")
