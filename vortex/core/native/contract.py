"""What a module of steps has to offer. `native/` has them in C, `pure` in Python; mypy holds both to this.

Both give the same answers, byte for byte (tests/unit/core/native, `make fuzz`); docs/performance.md has what they cost.
The three that read what comes from outside (`events`, `records`, `aggregate`) may leave anything to their caller: C
leaves whatever is not plain, and Python all. All arrays are contiguous, little-endian, and of the types that are named.
"""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Buffer: TypeAlias = bytes | bytearray | memoryview | NDArray[Any]
Paths: TypeAlias = Any
"""What `paths` makes, for `events` of the same module."""
Numbers: TypeAlias = Any
"""What `numbers` makes, for `events` or `group` of the same module."""
EventColumns: TypeAlias = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, list[tuple[str, str]], list[int]]

DEFERRED = np.dtype(
    [("row", "<i4"), ("id_at", "<i4"), ("id_size", "<i4"), ("time_at", "<i4"), ("time_size", "<i4"), ("what", "<u4")]
)
"""What is left to Python of one event, as `native/events.c` writes it: `row` tells which; the id and the time (as JSON)
lie within its line, `what` says which of them are meant.
"""
DEFER_KEY, DEFER_TIME, NO_ID = 1, 2, 4
NO_PERIOD = int(np.iinfo(np.int64).min)
"""Stands for the period of an event without a readable time."""
KEY_BYTES = 16


class KeyTable(Protocol):
    """A set of keys of sixteen bytes, that grows."""

    @property
    def held(self) -> int:
        """How many keys."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        ...

    def claim(self, keys: bytes, older: Self) -> NDArray[np.bool_]:
        """Enter those of the keys that neither this table nor `older` has; for each, whether it was new."""
        ...


class Steps(Protocol):
    """A module of steps."""

    def paths(
        self,
        nodes: list[list[tuple[bytes, int, int]]],
        fields: list[list[int]],
        hash_missing: bool,
        formats: bool = False,
        max_bytes: int = ...,
        /,
    ) -> Paths:
        """The paths to the fields of an event, as a trie.

        A node is a list of (key, node below or -1, path or -1); `fields` has the paths of customer, type, id and time.
        With `formats` the texts of times are left to Python; events over `max_bytes` always are. Raises ValueError for
        more paths than there is room for.
        """
        ...

    def numbers(self, seed: int, /) -> Numbers:
        """An empty table of numbers, given in order of appearance. `seed` keys its hashes."""
        ...

    def events(
        self,
        paths: Paths,
        names: Numbers,
        text: Buffer,
        bounds: Buffer,
        aggregate: Buffer,
        period_ms: int,
        seed: int,
        most: int,
        /,
    ) -> EventColumns:
        """The events of the records `text[bounds[i]:bounds[i + 1]]` by column, and which records are left to Python.

        Nine things: where lines begin (int64), their sizes (int32), their records (int32), the numbers of their names
        (int32), their keys (16 bytes), their periods (int64); then what is left to Python of some of them (`DEFERRED`),
        the pairs of customer and type that got a number since the last call, and the records that are left. `aggregate`
        has a byte for each record, 1 for a KPL aggregate whose MD5 fits (`kpl.aggregates`). A record of more than
        `most` events is left.
        """
        ...

    def group(self, numbers: Numbers, name: Buffer, period: Buffer, /) -> tuple[bytes, list[tuple[int, int]]]:
        """A number (int32) for each row's name (int32) and period (int64), and the pairs that got one."""
        ...

    def records(self, body: Buffer, /) -> tuple[bytes, bytes, bytes, bytes, bytes] | None:
        """A GetRecords reply as columns; None where it is left to the JSON decoder.

        All data, their bounds (int64), arrivals (seconds, float64), sequence numbers (a line each), and the reply
        without its records.
        """
        ...

    def aggregate(self, data: Buffer, begin: int, end: int, most: int, /) -> list[bytes] | None:
        """The user records in the protobuf of a KPL aggregate, which lies between these places.

        No more than one above `most`. None where it is left to `kpl`: C takes the shape that the library writes.
        """
        ...

    def lines(self, texts: list[bytes], page: Buffer, start: Buffer, size: Buffer, chosen: Buffer, /) -> bytes:
        """The chosen rows' lines, each with its line break.

        Line i is `size[i]` bytes from `start[i]` on in `texts[page[i]]`.
        """
        ...

    def key_table(self, expected: int, /) -> KeyTable:
        """An empty table, with room for so many keys at first."""
        ...

    def find(
        self, high: Buffer, low: Buffer, probe_high: Buffer, probe_low: Buffer, places: NDArray[np.int64], /
    ) -> None:
        """Of each probe the first place among keys, or -1; both are two columns of words (uint64), and sorted."""
        ...

    def maybe(self, begins: Buffer, prints: Buffer, probes: Buffer, places: NDArray[np.int64], /) -> None:
        """As `find`, by fingerprints (`core.dedup.index`).

        Bucket b has the prints (3 bytes each) from `begins[b]` (uint32); a probe (uint64) is a bucket and a print.
        """
        ...
