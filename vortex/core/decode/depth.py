"""How deep JSON may nest: as deep as every interpreter that this runs on can follow, and each refuses the same."""

from __future__ import annotations

import re

from vortex.core.decode.steps import at_once
from vortex.core.decode.structure import nests_deeper

MAX_DEPTH = 512
"""Python allows a thousand calls within each other by default, those of the program around the decoder included."""
_LONG = 1 << 14
"""Bytes from which numpy is quicker than a look at each token."""
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|(?P<open>[\[{]++)|(?P<close>[\]}]++)', re.DOTALL)


def is_too_deep(data: bytes) -> bool:
    """Whether the text nests deeper than MAX_DEPTH anywhere; of one that is no JSON, as far as can be told."""
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
