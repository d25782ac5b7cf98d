"""Reads events with lone surrogates by column, for producers that may write one in every event.

The steps in C refuse lone surrogates. So these records are read with a character in place of each, twice, each time
with another one. Where customer, type and id are the same in both, they have no lone surrogate, and the event is valid.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from vortex.core.decode.event_columns import Events
from vortex.core.decode.steps import Steps
from vortex.core.decode.surrogates import MARKS, masking, may_have_one

Read = Callable[[bytes, bytes, NDArray[np.int64]], Steps[tuple[Events, list[int]]]]
"""Reads the records of a text between these bounds as what the second text shows: the events, and the other records."""


def masked_events(text: bytes, bounds: NDArray[np.int64], records: Sequence[int], read: Read) -> Steps[Events]:
    """The events of those of the records `text[bounds[i]:bounds[i + 1]]` that can be read so; all of a record, or none.
    The events are lines of `text`.
    """
    begins, ends = bounds[:-1].tolist(), bounds[1:].tolist()
    some: dict[int, bytes] = {}
    for record in records:
        data = text[begins[record] : ends[record]]
        if (yield from may_have_one(data)):
            some[record] = data
    events = yield from _of(b"".join(some.values()), bounds_of(some.values()), read)
    which = np.array(list(some), dtype=np.int32)
    events.start = events.start + (bounds[which] - bounds_of(some.values())[:-1])[events.record]
    events.record = which[events.record]
    events.text = text
    return events


def _of(text: bytes, bounds: NDArray[np.int64], read: Read) -> Steps[Events]:
    found: list[Events] = []
    left: set[int] = set()
    for mark in MARKS:
        hidden = yield from masking(text, mark)
        events, others = yield from read(text, hidden, bounds)
        if hidden is text or not len(events):
            return events.rows(slice(0))
        del hidden  # perhaps ten megabytes
        found.append(events)
        left.update(others)
        yield
    one, other = (events.rows(~np.isin(events.record, list(left))) for events in found)
    differ = one.record[(one.name != other.name) | (one.keys != other.keys)]
    return one.rows(~np.isin(one.record, differ))


def bounds_of(datas: Collection[bytes]) -> NDArray[np.int64]:
    """Where each begins if one follows the other, and the end of the last."""
    bounds = np.zeros(len(datas) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, datas), np.int64, len(datas)), out=bounds[1:])
    return bounds
