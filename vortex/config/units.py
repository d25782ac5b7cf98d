"""Durations and sizes as people write them, and back."""

from __future__ import annotations

import re
from collections.abc import Collection

from vortex.config.patterns import texts, texts_of
from vortex.config.quoting import quoted

DURATIONS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_557_600_000}
"""Milliseconds of a unit."""
SIZES = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
    "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,  # as in Kubernetes
    "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40,
}  # fmt: skip
"""Bytes of a unit, in capitals."""
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d|w|y)")
MOST_MS = 1000 * DURATIONS["y"]
MOST_BYTES = 2**50
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")

_SPELLED = {"[Bb]?": 1} | {
    f"[{name}{name.lower()}]{ending}": size
    for name in "KMGT"
    for ending, size in (("[Bb]?", SIZES[name]), ("[Ii][Bb]?", SIZES[f"{name}I"]))
}
"""Bytes of a unit, by the pattern of its spellings."""


def duration_pattern(least: int = 0, most: int | None = None, values: Collection[int] = ()) -> str:
    """For a JSON schema: the texts that `duration_ms` reads as `least` to `most` milliseconds, or as these values."""
    one = texts_of(values, DURATIONS) if values else texts(least, most, DURATIONS, MOST_MS)
    part = texts(0, None if most is None else most - 1, DURATIONS, MOST_MS)
    return rf"^\s*({one}|{part}(\s*{part})+)\s*$" if one != part else rf"^\s*({part}\s*)+$"


def size_pattern(least: int = 0, most: int | None = None) -> str:
    """For a JSON schema: the texts that `size_bytes` reads as `least` to `most` bytes."""
    return rf"^\s*{texts(least, most, _SPELLED, MOST_BYTES)}\s*$"


def duration_ms(text: object) -> int:
    """Milliseconds of `"30s"`, `"5m"`, `"1h30m"`, `"20y"` (a year has 365.25 days). Raises ValueError."""
    if not isinstance(text, str) or not re.fullmatch(rf"(?:{_PART.pattern}\s*)+", text.strip()):
        raise ValueError(f'invalid duration {quoted(text)}; write for example "30s", "5m", "1h30m" or "7d"')
    total = sum(float(number) * DURATIONS[unit] for number, unit in _PART.findall(text))
    if total > MOST_MS:
        raise ValueError(f"{quoted(text)} is too long; the longest duration is 1000 years")
    return round(total)


def duration_text(ms: int) -> str:
    """The shortest text of one unit that `duration_ms` reads as `ms`: `"30s"`, `"5m"`, `"1d"`."""
    unit = next((name for name in ("d", "h", "m", "s") if ms and not ms % DURATIONS[name]), "ms" if ms else "s")
    return f"{ms // DURATIONS[unit]}{unit}"


def size_bytes(text: object) -> int:
    """Bytes of `"128MiB"`, `"10MB"` or a plain number. Raises ValueError."""
    if isinstance(text, float) and text.is_integer():
        text = int(text)  # JSON schemas take 1.0 for a whole number
    found = _SIZE.fullmatch(str(text).strip()) if isinstance(text, str | int) and not isinstance(text, bool) else None
    if not found or found[2].upper() not in SIZES:
        raise ValueError(f'invalid size {quoted(text)}; write for example "64MiB" or "10MB"')
    total = float(found[1]) * SIZES[found[2].upper()]
    if total > MOST_BYTES:
        raise ValueError(f"{quoted(text)} is too large; the largest size is 1 PiB (1024TiB)")
    return int(total)


def size_text(size: int) -> str:
    """The shortest text of one unit that `size_bytes` reads as `size`: `"64MiB"`, `"4MB"`, `"1500"`."""
    units = {"TiB": 2**40, "TB": 10**12, "GiB": 2**30, "GB": 10**9, "MiB": 2**20, "MB": 10**6, "KiB": 2**10, "KB": 1000}
    unit = next((name for name, factor in units.items() if size and not size % factor), "")
    return f"{size // units.get(unit, 1)}{unit}"
