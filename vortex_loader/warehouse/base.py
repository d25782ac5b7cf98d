"""The interface of a warehouse, and what all of them do alike. All SQL goes through one method."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from vortex_loader.model import JsonType, Kind, Partition, Path
from vortex_loader.store import Store

UNREADABLE = (
    "the address of the warehouse cannot be read (it is not shown, for it may hold a password). Write postgresql:// or "
    "redshift://, then user:password@host:port/database; in the password, write %25 for a percent sign, %40 for an @, "
    "%2F for a slash, %20 for a space"
)
STAGE = "_vortex_stage"
"""The temporary table of the hour's events, one a row in `doc`."""

TIME_PATTERN = (
    "^([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))|([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29)"
    "[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?(Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])?$"
)
"""ISO 8601 moments of the calendar's years 1000 to 9999: what every warehouse can cast. UTC where no zone is said."""

EXACT = (1 << 53) - 1
"""A number column is a double: beyond this an integer in it would be another one, or another one would be this."""
TINY = "1e-300"
"""A number closer to 0 is a misfit: Postgres refuses to make a double of it."""
LONGEST_KEY_BYTES = 512
"""Longer keys never get a column: `_names` has them in an index, where Postgres takes 2,704 bytes a row."""


@dataclass(frozen=True, slots=True)
class Staged:
    """The rows that were staged, and how many of them were changed so that the warehouse can hold them."""

    rows: int
    mended: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column for the values at `path`, of which the hour has so many of each of the `types`.

    Where it is `flattened`, objects have columns of their own, and are no misfits.
    """

    name: str
    path: Path
    kind: Kind
    flattened: bool = False
    types: Mapping[JsonType, int] | None = None


Found = dict[Path, dict[JsonType, int]]
"""How many values of each type the hour's events have at each path."""


def on_the_way(path: Path) -> list[Path]:
    """The places between the event and the path's end, from the outside in.

    Where an array lies there, it is masked as a whole: better less data than a value that ought to be hidden.
    """
    return [path[:n] for n in range(1, len(path))]


class Warehouse(ABC):
    """One connection to a warehouse; not for several threads at once."""

    types: ClassVar[Mapping[Kind, str]]
    most_columns: ClassVar[int] = 1500
    """Columns of a table, besides the loader's own, that a row can have values in."""
    moment: ClassVar[str] = "timestamptz"
    now: ClassVar[str] = "CURRENT_TIMESTAMP"
    unique_names: ClassVar[str] = ""
    unique_loads: ClassVar[str] = ""
    """What the loader's tables say of their keys, where the warehouse heeds it."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        """Schemas that are known to have the loader's tables."""
        self.owned: set[tuple[str, str]] = set()
        """Customers, with the schemas that the catalogue gives them and nobody else has."""

    @abstractmethod
    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Executes one statement. Raises Passing where the same transaction may succeed next time, else LoaderError."""

    @abstractmethod
    def shown(self, sql: str) -> tuple[list[str], list[tuple[str, ...]]]:
        """What a query answers, as text: its columns' names, and its rows. Raises as `run` does."""

    @abstractmethod
    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """All or nothing. Raises as `run` does, when it commits."""

    @abstractmethod
    def lock(self, schema: str, name: str) -> None:
        """Waits until no other transaction holds this name of the schema; held until the transaction ends."""

    @abstractmethod
    def stage(self, store: Store, partition: Partition) -> Staged:
        """Makes the staging table of the partition's events."""

    @abstractmethod
    def found(self, places: Sequence[Path], known: Sequence[Path], most: int) -> Found:
        """The keys of the objects at these places; with types where known, or among the `most` that come most often."""

    @abstractmethod
    def insert(self, table: str, partition: Partition, columns: Sequence[Column]) -> tuple[int, dict[str, int]]:
        """Moves the staged rows into the table: how many, and how many values each picky column took."""

    @abstractmethod
    def mask(self, drop: Sequence[Path], hashed: Sequence[Path], salt: str) -> None:
        """Takes away and hashes these values in the staged events; an array on the way to one, as a whole."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the connection."""

    # What is the same everywhere, or nearly.

    def literal(self, text: str) -> str:
        """The text as an SQL literal."""
        return "'" + text.replace("'", "''") + "'"

    def at(self, moment: datetime) -> str:
        """The moment as an SQL literal."""
        return f"TIMESTAMPTZ '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00'"

    def json(self, text: str) -> str:
        """The JSON text as an SQL value of the warehouse's JSON type."""
        return f"CAST({self.literal(text)} AS {self.types['json']})"

    def json_text(self, column: str) -> str:
        """SQL for a JSON column as text."""
        return f"CAST({column} AS {self.types['text']})"

    def has_schema(self, schema: str) -> bool:
        """Whether there is such a schema."""
        return bool(self.run(f"SELECT 1 FROM information_schema.schemata WHERE schema_name = {self.literal(schema)}"))

    def columns(self, schema: str, table: str) -> list[str]:
        """The columns of the table; none where there is no such table."""
        rows = self.run(
            "SELECT column_name FROM information_schema.columns "
            f"WHERE table_schema = {self.literal(schema)} AND table_name = {self.literal(table)}"
        )
        return [row[0] for row in rows]

    def create_table(self, table: str, columns: Iterable[tuple[str, Kind]]) -> None:
        """The table of an event type."""
        text, moment, json = self.types["text"], self.moment, self.types["json"]
        own = [f"_hour {moment} NOT NULL", f"_customer {text} NOT NULL", f"_event {json} NOT NULL"]
        own += [f"{quote(name)} {self.types[kind]}" for name, kind in columns]
        self.run(f"CREATE TABLE {table} ({', '.join(own)})")

    def add_column(self, table: str, name: str, kind: Kind) -> None:
        """One column more."""
        self.run(f"ALTER TABLE {table} ADD COLUMN {quote(name)} {self.types[kind]}")


def quote(identifier: str) -> str:
    """The identifier in SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def qualified(schema: str, table: str) -> str:
    """The table's full name in SQL."""
    return f"{quote(schema)}.{quote(table)}"


def fits(kind: Kind) -> tuple[JsonType, ...]:
    """The types of JSON that a column of this kind takes."""
    return _FITS[kind]


_FITS: Mapping[Kind, tuple[JsonType, ...]] = {
    "text": ("string", "number", "boolean"),
    "number": ("number",),
    "integer": ("number",),
    "boolean": ("boolean",),
    "time": ("string",),
    "json": ("string", "number", "boolean", "object", "array"),
}


def picky(kind: Kind) -> bool:
    """Whether a column of this kind may refuse a value though its type is right."""
    return kind in ("number", "integer", "time")


def line_blocks(store: Store, partition: Partition) -> Iterator[bytes]:
    """All lines of the partition, block by block."""
    for stored in store.objects(partition):
        yield from store.blocks(stored)
