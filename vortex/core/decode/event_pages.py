"""A page's events in slices, in order of records: those of plain records, and those of records that were split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vortex.core.decode.containers import RecordParts
from vortex.core.decode.event_columns import Events
from vortex.core.decode.interning import Names
from vortex.core.decode.records import Records

_ROWS = 16_384
"""Maximum events of a slice of several records."""
STEP_PARTS, STEP_BYTES = 1000, 1 << 20
"""Maximum parts and bytes per step on the slow path; a larger part is a step by itself."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Events of the records first..upto (half-open); with `last`, the remaining ones of these records.

    `busy`: the next slices are in memory already, so no other page may be worked on before them.
    """

    events: Events
    first: int
    upto: int
    last: bool = True
    busy: bool = False


class EventPage:
    """The events of a page's plain records; the records before `done` were already returned."""

    def __init__(self, plain: Events, records: Records, last_other: int) -> None:
        """`last_other`: the last record that is not plain, or -1."""
        self.records, self.done = records, 0
        self._plain, self._last_other = plain, last_other

    def let_go(self, names: Names) -> None:
        """Drop the reference to these shared names; keep only the own ones."""
        plain = self._plain
        if plain.names is names:
            its, place = np.unique(plain.name, return_inverse=True)
            own = Names()
            plain.name, plain.names = own.number(names[name] for name in its.tolist())[place], own

    def around(self, parts: RecordParts) -> tuple[int, int]:
        """The records of a slice with these parts: with plain ones before them, and after them if the rest is plain."""
        first, upto = parts.owners[0], parts.owners[-1] + 1
        if self._rows(self.done, upto) <= _ROWS:
            first = self.done
        if upto == self._last_other + 1 and self._rows(first, len(self.records)) <= _ROWS:
            upto = len(self.records)
        return first, upto

    def _rows(self, first: int, upto: int) -> int:
        begin, end = np.searchsorted(self._plain.record, (first, upto)).tolist()
        return int(end - begin)

    def plain_up_to(self, record: int, *, busy: bool = False) -> Iterator[Slice]:
        """The events of the remaining records before this one, which are all plain."""
        while self.done < record:
            begin, end = np.searchsorted(self._plain.record, (self.done, record)).tolist()
            upto = record
            if end - begin > _ROWS:
                upto = max(self.done + 1, int(self._plain.record[begin + _ROWS]))
                end = int(np.searchsorted(self._plain.record, upto))
            whole = end - begin == len(self._plain)
            yield self.give(self._plain if whole else self._plain.rows(slice(begin, end)), self.done, upto, busy=busy)

    def give(self, events: Events, first: int, upto: int, *, last: bool = True, busy: bool = False) -> Slice:
        """Return the next slice."""
        self.done = upto
        return Slice(events, first, upto, last, busy)

    def between(self, first: int, upto: int) -> Events:
        """The events of these plain records, with a text of only these."""
        begin, end = np.searchsorted(self._plain.record, (first, upto)).tolist()
        events = self._plain.rows(slice(begin, end))
        if end > begin:
            at, behind = self.records.bounds[[first, upto]].tolist()
            events.text, events.start = events.text[at:behind], events.start - at
        return events


def batches(records: Records, odd: Sequence[int]) -> Iterator[list[int]]:
    """Runs of records of limited total size; a larger record is a run by itself."""
    sizes = np.diff(records.bounds)[odd].tolist() if odd else []
    some: list[int] = []
    size = 0
    for record, its in zip(odd, sizes, strict=True):
        if some and (size + its > STEP_BYTES or len(some) == STEP_PARTS):
            yield some
            some, size = [], 0
        some.append(record)
        size += its
    if some:
        yield some


def is_large(*datas: Sequence[bytes]) -> bool:
    """Whether the parts are more than one step processes."""
    return sum(map(len, datas)) > STEP_PARTS or sum(sum(map(len, some)) for some in datas) > STEP_BYTES
