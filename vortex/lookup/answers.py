"""The answers of `vortex explain`: where an event is, or why it is not there."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """The answer in a word."""

    PUBLISHED = "published"
    PUBLISHING = "publishing"
    WAITING = "waiting"
    REJECTED = "rejected"
    NOT_SEEN = "not seen"


class Fate(StrEnum):
    """What became of one send of an event."""

    PUBLISHED = "published"
    DUPLICATE = "duplicate"
    """Accepted by a log and left out at publication, as a duplicate of a published line."""
    FILTERED = "filtered"
    """Dropped before the log: a repeated send on the same shard."""
    PUBLISHING = "publishing"
    """Part of a plan that is not done yet."""
    WAITING = "waiting"
    """Committed; its period is still open."""


@dataclass(slots=True)
class Copy:
    """One send of the event that was accepted or dropped. Times are epoch milliseconds.

    `segment` and `row` are its place in the log of the shard, as far as that still exists. It arrived within
    `arrived`, with a sequence number above `after` and up to `upto`; `sequence` is the exact one if the stream still
    has it. `placed` says why its period differs from that of its own time. `of` is the object and line of which a
    duplicate is a copy.
    """

    fate: Fate
    period: int | None = None
    shard: str = ""
    segment: int | None = None
    row: int | None = None
    arrived: tuple[int, int] | None = None
    after: str = ""
    upto: str = ""
    sequence: str = ""
    arrival: int | None = None
    folder: str = ""
    placed: str = ""
    plan: int | None = None
    object: str = ""
    line: int | None = None
    of: str = ""


@dataclass(frozen=True, slots=True)
class FoundRejection:
    """A rejection whose bytes are those of the event, or have its customer and id. `where` is an object and line, or a
    segment.
    """

    reason: str
    detail: str
    shard: str
    sequence: str
    sub: int
    arrival: int
    where: str
    exact: bool


@dataclass(frozen=True, slots=True)
class ReadUpTo:
    """How far a shard has been read: everything that arrived before `watermark` (epoch milliseconds)."""

    shard: str
    state: str
    watermark: int | None
    position: str
    gap: str = ""


@dataclass(slots=True)
class Answer:
    """Everything that was found. `would_be` is what the current settings make of the given event, if it is rejected."""

    customer: str
    id: str
    verdict: Verdict
    copies: list[Copy] = field(default_factory=list)
    rejections: list[FoundRejection] = field(default_factory=list)
    shards: list[ReadUpTo] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    would_be: str = ""
