"""Removes secrets (secret keys, tokens, signatures) from texts that people read, whatever their source.

Credentials are registered here when they are found. `hidden` filters every log line and every message of a service: a
service may repeat the request (JSON services answer a wrong signature with all signed text, including the session
token).
"""

from __future__ import annotations

import re

_SHORTEST = 8
"""Shorter values are not registered: emulators use them ("test"), and they are parts of ordinary words."""
_MOST = 64
_HIDDEN = "[hidden]"
_SHAPES = re.compile(
    r"(?i)((?:signature|credential|security[-_]?token|session[-_]?token|secret[-_]?(?:access[-_]?)?key|authorization)"
    r"[\"']?\s*[=:]\s*[\"']?)(?:AWS4-HMAC-SHA256\s+|Bearer\s+|Basic\s+)?[^\s,;&\"'<>]+"
)
_SIGNATURE = re.compile(r"\b[0-9a-fA-F]{64}\b")

_known: dict[str, None] = {}
"""Secrets of this process, as keys in order; only the newest `_MOST`, since temporary credentials change."""


def keep(*secrets: str | None) -> None:
    """Register secrets. `hidden` removes them from now on."""
    for secret in secrets:
        if secret and len(secret) >= _SHORTEST:
            _known.pop(secret, None)
            _known[secret] = None
    while len(_known) > _MOST:
        del _known[next(iter(_known))]


def hidden(text: str) -> str:
    """The text without registered secrets and without text that looks like a secret."""
    for secret in tuple(_known):  # a copy: other threads register secrets
        if secret in text:
            text = text.replace(secret, _HIDDEN)
    return _SHAPES.sub(rf"\1{_HIDDEN}", text)


def without_signatures(text: str) -> str:
    """`hidden`, and without 64-digit hex numbers: in a service's message they are signatures, elsewhere digests."""
    return hidden(_SIGNATURE.sub(_HIDDEN, text))
