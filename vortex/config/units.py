"""Durations and sizes as people write them."""

from __future__ import annotations

import re

_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_557_600_000}
_BYTES = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|y)")
_MOST_MS = 1000 * _MS["y"]
_MOST_BYTES = 2**50
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def duration_ms(text: object) -> int:
    """Milliseconds of `"30s"`, `"5m"`, `"1h30m"`, `"20y"` (a year has 365.25 days). Raises ValueError."""
    if not isinstance(text, str) or not re.fullmatch(rf"(?:{_PART.pattern}\s*)+", text.strip()):
        raise ValueError(f'{text!r} is no duration; write for example "30s", "5m", "1h30m" or "7d"')
    total = sum(float(number) * _MS[unit] for number, unit in _PART.findall(text))
    if total > _MOST_MS:
        raise ValueError(f"{text!r} is too long: a thousand years at most")
    return round(total)


def size_bytes(text: object) -> int:
    """Bytes of `"128MiB"`, `"10MB"` or a plain number. Raises ValueError."""
    found = _SIZE.fullmatch(str(text).strip()) if isinstance(text, str | int) and not isinstance(text, bool) else None
    if not found or found[2].upper() not in _BYTES:
        raise ValueError(f'{text!r} is no size; write for example "64MiB" or "10MB"')
    total = float(found[1]) * _BYTES[found[2].upper()]
    if total > _MOST_BYTES:
        raise ValueError(f"{text!r} is too much: a pebibyte at most")
    return int(total)
