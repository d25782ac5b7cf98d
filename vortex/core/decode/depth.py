"""The maximum nesting depth of JSON: low enough for every supported interpreter, so all refuse the same."""

from __future__ import annotations

import re

from vortex.core.decode.steps import at_once
from vortex.core.decode.structure import nests_deeper

MAX_DEPTH = 512
"""Python allows a thousand nested calls by default, including those of the program that calls the decoder."""
_LONG = 1 << 14
"""Size in bytes from which numpy is faster than matching each token."""
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|(?P<open>[\[{]++)|(?P<close>[\]}]++)', re.DOTALL)


def is_too_deep(data: bytes) -> bool:
    """Whether the text nests deeper than MAX_DEPTH anywhere. For invalid JSON, as far as brackets can be matched."""
    if data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
        return False
    if len(data) > _LONG:
        return at_once(nests_deeper(data, MAX_DEPTH))
    depth = 0
    for token in _TOKEN.finditer(data):
        if token["open"]:
            depth += token.end() - token.start()
            if depth > MAX_DEPTH:
                return True
        elif token["close"]:
            depth = max(0, depth - (token.end() - token.start()))
    return False
