"""Words of messages for people."""

from __future__ import annotations

_MOST = 100
"""Characters of a value."""
_LINE, _LINES = 500, 20
"""Characters of a line of an error, and its lines."""


def shortened(text: str, most: int = _MOST) -> str:
    """The text, or its begin and its end: a name may be as long as an event."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]}…{text[-(most // 3) :]}"


def quoted(value: object) -> str:
    """The value as Python writes it, shortened."""
    return shortened(repr(value))


def limited(text: str) -> str:
    """An error's text: its long lines shortened, and the first of many."""
    lines = text.split("\n", _LINES)
    more = lines[_LINES:]
    return "\n".join([*(shortened(line, _LINE) for line in lines[:_LINES]), *(["and more lines"] if more else [])])


def counted(number: int, noun: str) -> str:
    """The number and its noun: "1 shard", "2,000 shards"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
