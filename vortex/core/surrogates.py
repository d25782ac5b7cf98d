r"""Lone surrogates: escapes such as `\ud83d` without their other half, which clients leave that cut a text in two.

They are legal in JSON (RFC 8259, section 8.2, says that what a reader makes of them cannot be told), but stand for no
character, and the decoder refuses them.
"""

from __future__ import annotations

import re

MARKS = (rb"\ufffd", rb"\ufffe")
"""What can stand for a lone surrogate; as long as its escape, so that all else keeps its place."""
_RUN = re.compile(
    rb"(?P<run>(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])|"
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})++)|"
    rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def masked(data: bytes, mark: bytes = MARKS[0]) -> bytes:
    """The text with the mark for each lone surrogate; itself, the same object, where it has none."""
    if rb"\ud" not in data and rb"\uD" not in data:
        return data
    hidden = _RUN.sub(lambda match: match[0] if match["run"] else mark, data)
    return data if hidden == data else hidden
