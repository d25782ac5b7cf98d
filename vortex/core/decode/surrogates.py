r"""Lone surrogates: escapes such as `\ud83d` without their other half, produced by clients that cut a text in two.

They are legal in JSON (RFC 8259, section 8.2, calls the behaviour of readers unpredictable), but are not characters,
and msgspec refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vortex.core.decode.steps import Steps, at_once
from vortex.core.decode.structure import behind_backslashes, table

MARKS = (rb"\ufffd", rb"\ufffe")
"""Replacements for a lone surrogate, of the same length as its escape, so that all positions stay the same."""
_PIECE = 1 << 20
_BEGINS = rb"\ud", rb"\uD"
_SHORT = 1 << 12
"""Size in bytes up to which an expression is faster than numpy, whose calls take 40 us for the shortest text."""
_DIGITS = rb"[0-9a-fA-F]{2}"
_UPPER_HALF, _LOWER_HALF = rb"u[dD][89abAB]" + _DIGITS, rb"u[dD][c-fC-F]" + _DIGITS
_KEPT_OR_LONE = re.compile(
    rb"(?:[^\\]++|\\(?:[^u]|%b\\%b|u(?![dD][89a-fA-F]%b)))++|(?P<lone>\\u[dD][89a-fA-F]%b)"
    % (_UPPER_HALF, _LOWER_HALF, _DIGITS, _DIGITS)
)
"""As much text as has no lone surrogate, or one lone surrogate."""
_HEX, _UPPER, _LOWER = table(b"0123456789abcdefABCDEF"), table(b"89abAB"), table(b"cdefCDEF")


def may_have_one(data: bytes) -> Steps[bool]:
    """Whether the text has an escape that begins like that of a surrogate. 64 MiB of backslashes take half a second."""
    for at in range(0, len(data), _PIECE):
        if any(data.find(begin, at, at + _PIECE + len(begin) - 1) >= 0 for begin in _BEGINS):
            return True
        if at + _PIECE < len(data):
            yield
    return False


def masked(data: bytes, mark: bytes = MARKS[0]) -> bytes:
    """The text with `mark` for each lone surrogate; the same object if it has none."""
    return at_once(masking(data, mark))


def masking(data: bytes, mark: bytes = MARKS[0]) -> Steps[bytes]:
    """As `masked`, in steps."""
    if not (yield from may_have_one(data)):
        return data
    if len(data) <= _SHORT:
        kept = _KEPT_OR_LONE.sub(lambda found: mark if found["lone"] else found[0], data)
        return data if kept == data else kept
    octets = np.frombuffer(data, dtype=np.uint8)
    hidden: bytearray | None = None
    for lone in _lone(octets):
        if len(lone):
            hidden = bytearray(data) if hidden is None else hidden
            written = np.frombuffer(hidden, dtype=np.uint8)
            for at in range(1, 5):
                written[lone + at] = mark[at + 1]
        yield
    return data if hidden is None else bytes(hidden)


def _lone(octets: NDArray[np.uint8]) -> Iterator[NDArray[np.int64]]:
    """The positions of the letter u in lone surrogates."""
    backs, before = 0, -6  # position of the last surrogate, if it was an upper half
    for at in range(0, len(octets), _PIECE):
        piece = octets[at : at + _PIECE]
        escaped, backs = behind_backslashes(piece, backs)
        behind = np.concatenate((octets[at : at + _PIECE + 12], np.zeros(12, dtype=np.uint8)))
        place = np.flatnonzero(escaped & (piece == ord("u")))
        place = place[_is_half(behind, place, _UPPER | _LOWER)]
        upper = _UPPER[behind[place + 2]]
        follows = np.concatenate(([before - at], np.where(upper, place, -100)[:-1])) == place - 6
        paired = (~upper & follows) | (
            upper
            & (behind[place + 5] == ord("\\"))
            & (behind[place + 6] == ord("u"))
            & _is_half(behind, place + 6, _LOWER)
        )
        if len(place):
            before = at + int(place[-1]) if upper[-1] else -6
        yield at + place[~paired]


def _is_half(octets: NDArray[np.uint8], place: NDArray[np.int64], halves: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the digits after these letters are those of a surrogate."""
    first: NDArray[np.bool_] = (octets[place + 1] | 0x20) == ord("d")
    return first & halves[octets[place + 2]] & _HEX[octets[place + 3]] & _HEX[octets[place + 4]]
