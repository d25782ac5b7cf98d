"""Examines the brackets of JSON texts with numpy, piece by piece: how deep they nest, and how many values they contain.

This is checked before decoding: a mebibyte may contain half a million values, and each takes a hundred bytes decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vortex.core.decode.steps import Steps

_PIECE = 1 << 17
"""Bytes examined at a time. The columns of a piece take fifty times its size."""
_HOPELESS = 1 << 20
"""Levels for which no decoder has enough stack."""
_QUOTE, _COMMA, _ARRAY = b'",['


def table(chars: bytes) -> NDArray[np.bool_]:
    """For each byte value, whether it is one of these characters."""
    table = np.zeros(256, dtype=np.bool_)
    table[list(chars)] = True
    return table


_COLON = b":"[0]
_KEYS = table(b'":')
_BRACKETS, _TOKENS = table(b'"[]{}'), table(b'"[]{},')
_SCALARS = table(b"-+.0123456789eEnultrfas")
_OTHERS = ~(_SCALARS | table(b" \t\r\n"))
_DEEPER = np.zeros(256, dtype=np.int32)
_DEEPER[list(b"[{")] = 1
_DEEPER[list(b"]}")] = -1


class _Piece(NamedTuple):
    """The brackets and quotes of a piece, and perhaps commas: their positions, and `depth` and `within` (inside a
    string) after each. Before the first of them, both are as after the last of the previous piece.
    """

    octets: NDArray[np.uint8]
    place: NDArray[np.int64]
    kind: NDArray[np.uint8]
    depth: NDArray[np.int32]
    within: NDArray[np.bool_]


def nests_deeper(text: bytes, most: int) -> Steps[bool]:
    """Whether brackets nest more than `most` deep."""
    for piece in _pieces(text, _BRACKETS):
        if len(piece.depth) and int(piece.depth.max()) > most:
            return True
        yield
    return False


def is_deeper_value(text: bytes, most: int) -> Steps[bool]:
    """Whether the text may be one object or array, by its brackets alone, and nests more than `most` deep."""
    deepest, last = 0, 1
    if text[:1] not in (b"{", b"[") or text[-1:] not in (b"}", b"]"):
        return False
    for piece in _pieces(text, _BRACKETS):
        if len(piece.depth):
            if last < 1 or (piece.depth[:-1] < 1).any():
                return False  # the first bracket closes before the end
            deepest, last = max(deepest, int(piece.depth.max())), int(piece.depth[-1])
        yield
    return last == 0 and deepest > most


def has_more_keys(text: bytes, most: int) -> Steps[bool]:
    """Whether the objects of valid JSON have more than `most` keys: colons outside strings."""
    if text.count(b":") <= most:
        return False
    found = 0
    for piece in _pieces(text, _KEYS):
        found += int(np.count_nonzero(piece.kind == _COLON))
        if found > most:
            return True
        yield
    return False


def has_more_values(text: bytes, most: int) -> Steps[bool]:
    """Whether a decoder of concatenated values, and of the elements of arrays among them, might find more than `most`
    values before it finds an error. Never False if it would.
    """
    if len(text) < 2 * most:  # a value takes two bytes at least: itself and a separator
        return False
    found, container = 0, np.uint8(0)
    depth, within = np.int32(0), np.bool_(False)
    for piece in _pieces(text, _TOKENS):
        octets, place, kind, deep, inside = piece
        before = np.concatenate(([depth], deep))[:-1]
        # Only tokens at the top level make a difference, and commas directly inside an array there.
        near = (deep < 1) | (before < 1)
        if container == _ARRAY or (kind[near] == _ARRAY).any():
            near |= (kind == _COMMA) & (deep == 1)
        place, kind, deep, inside, before = place[near], kind[near], deep[near], inside[near], before[near]
        top = (deep == 1) & (before == 0)
        # The kind of the container at the top level, after each token.
        last = np.maximum.accumulate(np.where(top, np.arange(len(place)), -1))
        around = np.where(last < 0, container, kind[last])
        counts = top | ((kind == _COMMA) & (deep == 1) & (around == _ARRAY))
        counts |= (kind == _QUOTE) & inside & (deep == 0)
        wrong = (deep < 0) | ((kind == _COMMA) & (deep == 0))
        stop = int(np.argmax(wrong)) if wrong.any() else len(place)
        # Scalars at the top level, byte by byte: words need no separator.
        begins, ends = np.concatenate(([0], place + 1)), np.concatenate((place, [len(octets)]))
        free = (np.concatenate(([depth], deep)) == 0) & ~np.concatenate(([within], inside)) & (begins < ends)
        free[stop + 1 :] = False
        if free.any():
            invalid = _first_within(np.flatnonzero(_OTHERS[octets]), begins[free], ends[free])
            if invalid < len(octets):
                stop = min(stop, int(np.searchsorted(place, invalid)))
            sums = np.concatenate(([0], np.cumsum(_SCALARS[octets], dtype=np.int32)))
            found += int((sums[np.minimum(ends[free], invalid)] - sums[np.minimum(begins[free], invalid)]).sum())
        else:
            invalid = len(octets)
        found += int(np.count_nonzero(counts[:stop]))
        if found > most:
            return True
        if stop < len(place) or invalid < len(octets):
            return False
        if len(piece.depth):
            depth, within = piece.depth[-1], piece.within[-1]
            if depth > _HOPELESS:
                return False
        if len(place):
            container = around[-1]
        yield
    return False


def _first_within(places: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> int:
    """The first of `places` inside any of the ranges; a large number if there is none."""
    at = np.searchsorted(places, begins)
    some = at < len(places)
    inside = places[at[some]] < ends[some]
    return int(places[at[some]][inside][0]) if inside.any() else 1 << 62


def _pieces(text: bytes, tokens: NDArray[np.bool_]) -> Iterator[_Piece]:
    depth, inside, backs = 0, 0, 0
    for at in range(0, len(text), _PIECE):
        octets = np.frombuffer(text, dtype=np.uint8, count=min(_PIECE, len(text) - at), offset=at)
        place = np.flatnonzero(tokens[octets])
        if backs or text.find(b"\\", at, at + len(octets)) >= 0:
            escaped, backs = behind_backslashes(octets, backs)
            place = place[~(escaped[place] & (octets[place] == _QUOTE))]
        kind = octets[place]
        quotes = kind == _QUOTE
        within = ((np.cumsum(quotes, dtype=np.int32) + inside) & 1).astype(np.bool_)
        real = quotes | ~within  # ignore brackets and commas inside strings
        place, kind, within, quotes = place[real], kind[real], within[real], quotes[real]
        deep = np.cumsum(np.where(quotes, 0, _DEEPER[kind]), dtype=np.int32) + np.int32(depth)
        if len(place):
            depth, inside = int(deep[-1]), int(within[-1])
        yield _Piece(octets, place, kind, deep, within)


def behind_backslashes(octets: NDArray[np.uint8], before: int) -> tuple[NDArray[np.bool_], int]:
    """Which bytes are escaped: they follow a backslash that is not escaped itself. `before`: whether the first one is.
    Also returns whether the byte behind the last one is. Escaped backslashes do not count.
    """
    text = octets.tobytes()
    if before:
        text = b"\0" + text[1:]
    single = np.frombuffer(text.replace(b"\\\\", b"\0\0"), dtype=np.uint8) == ord("\\")
    escaped = np.concatenate(([bool(before)], single))
    return escaped[:-1], int(escaped[-1])
