"""The interface of a module of steps. `native/` has them in C, `pure` in Python; mypy checks both against it.

Both give the same results, byte for byte (tests/unit/core/native, `make fuzz`); docs/performance.md has their cost. The
four that read external data (`events`, `records`, `cbor_records`, `aggregate`) may leave any input to their caller: C
leaves unusual input, Python all. All arrays are contiguous, little-endian, and of the named types.
"""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Buffer: TypeAlias = bytes | bytearray | memoryview | NDArray[Any]
Paths: TypeAlias = Any
"""The result of `paths`, for `events` of the same module."""
Numbers: TypeAlias = Any
"""The result of `numbers`, for `events` or `group` of the same module."""
EventColumns: TypeAlias = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, list[tuple[str, str]], list[int]]

DEFERRED = np.dtype(
    [("row", "<i4"), ("id_at", "<i4"), ("id_size", "<i4"), ("time_at", "<i4"), ("time_size", "<i4"), ("what", "<u4")]
)
"""The part of one event that is left to Python, as in `native/events.c`: `row` is the event's row; id and time (as
JSON) are in its line, and `what` says which of them are left.
"""
DEFER_KEY, DEFER_TIME, NO_ID = 1, 2, 4
NO_PERIOD = int(np.iinfo(np.int64).min)
"""The period of an event without a readable time."""
KEY_BYTES = 16


class KeyTable(Protocol):
    """A growing set of keys of sixteen bytes."""

    @property
    def held(self) -> int:
        """The number of keys."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        ...

    def claim(self, keys: bytes, older: Self) -> NDArray[np.bool_]:
        """Add the keys that neither this table nor `older` has. Returns for each whether it was new."""
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
        With `formats`, times as texts are left to Python; events over `max_bytes` always are. Raises ValueError for
        too many paths.
        """
        ...

    def numbers(self, seed: int, /) -> Numbers:
        """An empty table of numbers in order of appearance. `seed` is the key of its hashes."""
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

        Nine values: the offsets of lines (int64), their sizes (int32), their records (int32), the numbers of their
        names (int32), their keys (16 bytes), their periods (int64); the parts of some events that are left to Python
        (`DEFERRED`), the pairs of customer and type that got a number since the last call, and the records that are
        left. `aggregate` has one byte per record, 1 for a KPL aggregate with a matching MD5 (`kpl.aggregates`).
        A record of more than `most` events is left.
        """
        ...

    def group(self, numbers: Numbers, name: Buffer, period: Buffer, /) -> tuple[bytes, list[tuple[int, int]]]:
        """A number (int32) for each row's name (int32) and period (int64), and the pairs that got one."""
        ...

    def records(self, body: Buffer, /) -> tuple[bytes, bytes, bytes, bytes, bytes] | None:
        """A GetRecords reply as columns; None if it is left to the JSON decoder.

        All data, their bounds (int64), arrivals (seconds, float64), sequence numbers (a line each), and the reply
        without its records.
        """
        ...

    def cbor_records(self, body: Buffer, /) -> tuple[bytes, bytes, bytes, bytes, bytes] | None:
        """As `records`, of a reply in CBOR. None for one of an unusual form: the caller asks for it in JSON."""
        ...

    def rising(self, lines: Buffer, width: int, /) -> bool:
        """Whether these lines of `width` bytes each, with their line break, are numbers, each greater than the last."""
        ...

    def aggregate(self, data: Buffer, begin: int, end: int, most: int, /) -> list[bytes] | None:
        """The user records in the protobuf of a KPL aggregate, between these offsets.

        At most `most` + 1. None if it is left to `kpl`: C reads only the encoding that the KPL writes.
        """
        ...

    def lines(self, texts: list[bytes], page: Buffer, start: Buffer, size: Buffer, chosen: Buffer, /) -> bytes:
        """The chosen rows' lines, each with its line break.

        Line i is `size[i]` bytes from `start[i]` on in `texts[page[i]]`.
        """
        ...

    def key_table(self, expected: int, /) -> KeyTable:
        """An empty table with an initial capacity."""
        ...

    def order(self, high: Buffer, low: Buffer, places: NDArray[np.int64], /) -> None:
        """The indices that sort keys, two columns of uint64; equal keys keep their order."""
        ...

    def find(
        self, high: Buffer, low: Buffer, probe_high: Buffer, probe_low: Buffer, places: NDArray[np.int64], /
    ) -> None:
        """The index of the first equal key for each probe, or -1. Keys and probes are two sorted columns of uint64."""
        ...

    def maybe(self, begins: Buffer, prints: Buffer, probes: Buffer, places: NDArray[np.int64], /) -> None:
        """As `find`, by fingerprints (`core.dedup.index`).

        Bucket b has the prints (3 bytes each) from `begins[b]` (uint32); a probe (uint64) is a bucket and a print.
        """
        ...
