"""Values in error messages, shortened: a setting may have a whole file for its value."""

from __future__ import annotations

_MOST = 100
"""Characters of a value."""


def shortened(text: str, most: int = _MOST) -> str:
    """The text, or its begin and its end."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]}…{text[-(most // 3) :]}"


def quoted(value: object) -> str:
    """The value as Python writes it, shortened."""
    return shortened(repr(value))
