"""Words of messages for people."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """The number and its noun: "1 shard", "2,000 shards"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
