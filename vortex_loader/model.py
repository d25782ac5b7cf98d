"""The data types of the loader: hours, partitions, paths into events; and errors by what the caller must do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from vortex_loader.wording import limited, quoted, shortened

HOUR = timedelta(hours=1)

Path = tuple[str, ...]
"""The keys that lead to a value of an event, from the outside in."""

Kind = Literal["text", "number", "integer", "boolean", "time", "json"]
"""What a column holds. It never changes."""

JsonType = Literal["string", "number", "boolean", "object", "array", "null"]


class LoaderError(Exception):
    """An error that needs operator action; the message says what to do, and where. It is shortened where it is long."""

    def __init__(self, message: str) -> None:
        super().__init__(limited(message))


class NotClosed(LoaderError):
    """The hour has no manifest yet: come again later."""


class Missing(LoaderError):
    """There is no object of this name."""


class Passing(LoaderError):
    """A failure that may pass by itself: the same call may be made again."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A folder of the store, and the key of the manifest that lists its objects; or, where some of its lines are in
    bundles, its `files`, and no manifest ("").
    """

    folder: str
    manifest: str
    files: tuple[StoredObject, ...] = ()


@dataclass(frozen=True, slots=True)
class Partition:
    """One event type of one customer in one closed hour, as the hour's manifest lists it.

    It has several folders where the store's layout was changed within the hour.
    """

    customer: str
    event_type: str
    hour: datetime
    rows: int
    folders: tuple[Listed, ...]
    objects: int = 0
    compression: str = "gzip"

    @property
    def manifest(self) -> str:
        """The keys of its manifests, or the names of its files in bundles: an hour's partition is what they say."""
        return " ".join(one.manifest or " ".join(file.name for file in one.files) for one in self.folders)

    @property
    def name(self) -> str:
        """For messages."""
        return f"{shortened(self.customer)} / {shortened(self.event_type)} / {hour_text(self.hour)}"


@dataclass(frozen=True, slots=True)
class ClosedHour:
    """What a closed hour holds."""

    hour: datetime
    partitions: tuple[Partition, ...]
    rejected: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A file of a partition, gzip or Zstandard by its name, and how many bytes it has.

    With an `offset` it is so many bytes of an object, which are a complete file by themselves.
    """

    key: str
    length: int
    offset: int | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return self.key if self.offset is None else f"{self.key} bytes {self.offset}+{self.length}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a partition.

    `rows` are those of the hour in the table; `misfits` says of each column how many values are NULL there because
    they do not fit; `unmapped` is how many keys have no column, `mended` how many events hold something that the
    warehouse cannot (U+0000, half a character, a number of thousands of digits).
    """

    partition: Partition
    schema: str
    table: str
    rows: int
    changed: bool
    misfits: dict[str, int] = field(default_factory=dict)
    unmapped: int = 0
    mended: int = 0
    seconds: float = 0.0


def parse_hour(text: str) -> datetime:
    """The start of an hour from `2026-11-29T09`, with or without minutes and a zone; UTC where none is said.

    Raises LoaderError for what is not an hour.
    """
    try:
        at = datetime.fromisoformat(text.strip() + (":00" if len(text.strip()) == 13 else ""))
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise LoaderError(f"{quoted(text)} is not an hour; write 2026-11-29T09") from None
    if (at.minute, at.second, at.microsecond) != (0, 0, 0):
        raise LoaderError(f"{quoted(text)} is not a whole hour; write 2026-11-29T09")
    return at


def hour_text(hour: datetime) -> str:
    """`2026-11-29T09`."""
    return hour.astimezone(UTC).strftime("%Y-%m-%dT%H")


def spans_text(hours: list[datetime]) -> str:
    """`2026-11-29T07, 2026-11-29T09 to 2026-11-29T11`: ascending hours, those in a row summed up."""
    spans: list[list[datetime]] = []
    for hour in hours:
        if spans and hour - spans[-1][-1] == HOUR:
            spans[-1][1:] = [hour]
        else:
            spans.append([hour])
    return ", ".join(" to ".join(map(hour_text, span)) for span in spans)


def hours_between(first: datetime, end: datetime) -> list[datetime]:
    """Every hour from `first` on, before `end`."""
    count = max(0, -((first - end) // HOUR))
    return [first + HOUR * n for n in range(count)]
