"""A page's events in slices: what is plain of its records, and what had to be taken apart, in the order of records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vortex.core.decode.containers import RecordParts
from vortex.core.decode.event_columns import Events
from vortex.core.decode.interning import Names
from vortex.core.decode.records import Records

_ROWS = 16_384
"""Events of a slice, if they are of several records."""
STEP_PARTS, STEP_BYTES = 1000, 1 << 20
"""What the long way takes in one step, if it is not one part."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Events of the records from `first` to before `upto`; all that are left of them, if it is the `last`."""

    events: Events
    first: int
    upto: int
    last: bool = True


class EventPage:
    """What is plain of a page; its records before `done` have been given out."""

    def __init__(self, plain: Events, records: Records, last_odd: int) -> None:
        """`last_odd`: the last record that is not plain, or -1."""
        self.records, self.done = records, 0
        self._plain, self._last_odd = plain, last_odd

    def let_go(self, names: Names) -> None:
        """Keep of these names none but one's own."""
        plain = self._plain
        if plain.names is names:
            its, place = np.unique(plain.name, return_inverse=True)
            own = Names()
            plain.name, plain.names = own.number(names[name] for name in its.tolist())[place], own

    def around(self, parts: RecordParts) -> tuple[int, int]:
        """The records that a slice with these parts may be of: with plain ones before, and behind where none is odd."""
        first, upto = parts.owners[0], parts.owners[-1] + 1
        if self._rows(self.done, upto) <= _ROWS:
            first = self.done
        if upto == self._last_odd + 1 and self._rows(first, len(self.records)) <= _ROWS:
            upto = len(self.records)
        return first, upto

    def _rows(self, first: int, upto: int) -> int:
        begin, end = np.searchsorted(self._plain.record, (first, upto)).tolist()
        return int(end - begin)

    def plain_up_to(self, record: int) -> Iterator[Slice]:
        """What is plain of the records that are left before this one, which have nothing else."""
        while self.done < record:
            begin, end = np.searchsorted(self._plain.record, (self.done, record)).tolist()
            upto = record
            if end - begin > _ROWS:
                upto = max(self.done + 1, int(self._plain.record[begin + _ROWS]))
                end = int(np.searchsorted(self._plain.record, upto))
            whole = end - begin == len(self._plain)
            yield self.give(self._plain if whole else self._plain.rows(slice(begin, end)), self.done, upto)

    def give(self, events: Events, first: int, upto: int, *, last: bool = True) -> Slice:
        """The next slice."""
        self.done = upto
        return Slice(events, first, upto, last)

    def between(self, first: int, upto: int) -> Events:
        """What is plain of these records, in a text that is theirs."""
        begin, end = np.searchsorted(self._plain.record, (first, upto)).tolist()
        events = self._plain.rows(slice(begin, end))
        if end > begin:
            at, behind = self.records.bounds[[first, upto]].tolist()
            events.text, events.start = events.text[at:behind], events.start - at
        return events


def batches(records: Records, odd: Sequence[int]) -> Iterator[list[int]]:
    """Runs of records that are not much together, if they are not one."""
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
    """Whether that is more than one step takes."""
    return sum(map(len, datas)) > STEP_PARTS or sum(sum(map(len, some)) for some in datas) > STEP_BYTES
