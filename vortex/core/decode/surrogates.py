r"""Lone surrogates: escapes such as `\ud83d` without their other half, produced by clients that cut a text in two.

They are legal in JSON (RFC 8259, section 8.2, calls the behaviour of readers unpredictable), but are not characters,
and msgspec refuses them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vortex.core.decode.steps import Steps, at_once
from vortex.core.decode.structure import behind_backslashes, table

MARKS = (rb"\ufffd", rb"\ufffe")
"""Replacements for a lone surrogate, of the same length as its escape, so that all positions stay the same."""
_PIECE = 1 << 20
_HEX, _UPPER, _LOWER = table(b"0123456789abcdefABCDEF"), table(b"89abAB"), table(b"cdefCDEF")


def masked(data: bytes, mark: bytes = MARKS[0]) -> bytes:
    """The text with `mark` for each lone surrogate; the same object if it has none."""
    return at_once(masking(data, mark))


def masking(data: bytes, mark: bytes = MARKS[0]) -> Steps[bytes]:
    """As `masked`, in steps."""
    if rb"\ud" not in data and rb"\uD" not in data:
        return data
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
