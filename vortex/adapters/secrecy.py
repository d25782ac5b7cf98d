"""What must never be read by people: secret keys, tokens and signatures, wherever a text comes from.

Credentials are noted here as they are found. Messages of services, which may repeat a request (the JSON services answer
a wrong signature with all that was signed, the session token included), and every line of the log go through `hidden`.
"""

from __future__ import annotations

import re

_SHORTEST = 8
"""Shorter ones are of emulators ("test"), and parts of ordinary words."""
_MOST = 64
_HIDDEN = "[hidden]"
_SHAPES = re.compile(
    r"(?i)((?:signature|credential|security[-_]?token|session[-_]?token|secret[-_]?(?:access[-_]?)?key|authorization)"
    r"[\"']?\s*[=:]\s*[\"']?)(?:AWS4-HMAC-SHA256\s+|Bearer\s+|Basic\s+)?[^\s,;&\"'<>]+"
)
_SIGNATURE = re.compile(r"\b[0-9a-fA-F]{64}\b")

_known: dict[str, None] = {}
"""Of this process, as is its log; the last ones: temporary credentials come and go."""


def keep(*secrets: str | None) -> None:
    """These are secrets from now on."""
    for secret in secrets:
        if secret and len(secret) >= _SHORTEST:
            _known.pop(secret, None)
            _known[secret] = None
    while len(_known) > _MOST:
        del _known[next(iter(_known))]


def hidden(text: str) -> str:
    """The text without what is known to be secret, or looks like it."""
    for secret in tuple(_known):  # sources are asked in other threads
        if secret in text:
            text = text.replace(secret, _HIDDEN)
    return _SHAPES.sub(rf"\1{_HIDDEN}", text)


def without_signatures(text: str) -> str:
    """The message of a service, in which what looks like a signature is one; elsewhere it is a digest."""
    return hidden(_SIGNATURE.sub(_HIDDEN, text))
