r"""Replaces values in lines that a warehouse cannot store.

JSON allows U+0000, half a character (`\ud83d` alone), and numbers of any size. Postgres's jsonb refuses all of these,
DuckDB half characters. Only such values are changed, and changed lines are counted.
"""

from __future__ import annotations

import re

_ESCAPES = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ODD = re.compile(rb"u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})\Z")
_REPLACEMENT = rb"\ufffd"
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?', re.DOTALL)
_MOST_DIGITS, _GREATEST_EXPONENT = 1000, 1000


def suspicious(block: bytes, nul: bool) -> bool:
    """Whether a line of the block may have to be mended; nearly always no, and cheap."""
    return (nul and rb"\u0000" in block) or rb"\ud" in block or rb"\uD" in block


def mend(block: bytes, nul: bool) -> tuple[bytes, int]:
    """The block with U+FFFD for each half character, and each U+0000 where `nul`; and how many lines were changed."""

    def one(found: re.Match[bytes]) -> bytes:
        escape = found[0]
        odd = len(escape) == 6 and _ODD.match(escape, 1)
        return _REPLACEMENT if odd and (nul or not escape.endswith(b"u0000")) else escape

    changed = 0
    lines = block.split(b"\n")
    for at, line in enumerate(lines):
        if suspicious(line, nul):
            lines[at] = _ESCAPES.sub(one, line)
            changed += lines[at] != line
    return b"\n".join(lines), changed


def shorten_numbers(block: bytes) -> tuple[bytes, int]:
    """The block with numbers of thousands of digits as strings; and how many lines were changed."""

    def one(found: re.Match[bytes]) -> bytes:
        token = found[0]
        if token[:1] == b'"':
            return token
        digits, _, exponent = token.lower().partition(b"e")
        wide = len(digits) > _MOST_DIGITS or len(exponent) > 5 or abs(int(exponent or b"0")) > _GREATEST_EXPONENT
        return b'"' + token + b'"' if wide else token

    changed = 0
    lines = block.split(b"\n")
    for at, line in enumerate(lines):
        mended = _TOKENS.sub(one, line)
        if mended != line:
            lines[at] = mended
            changed += 1
    return b"\n".join(lines), changed
