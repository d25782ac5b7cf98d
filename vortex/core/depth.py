"""How deep JSON may nest: as deep as every interpreter that this runs on can follow, and each refuses the same."""

from __future__ import annotations

import re

MAX_DEPTH = 512
"""Python allows a thousand calls within each other by default, those of the program around the decoder included."""
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|(?P<open>[\[{]++)|(?P<close>[\]}]++)', re.DOTALL)


def is_too_deep(data: bytes) -> bool:
    """Whether the text nests deeper than MAX_DEPTH anywhere; of one that is no JSON, as far as can be told."""
    if data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _TOKEN.finditer(data):
        if token["open"]:
            depth += token.end() - token.start()
            if depth > MAX_DEPTH:
                return True
        elif token["close"]:
            depth = max(0, depth - (token.end() - token.start()))
    return False
