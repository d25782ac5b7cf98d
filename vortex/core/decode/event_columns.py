"""The events of a page by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from vortex.core.decode.interning import Names
from vortex.core.decode.rejections import Rejected
from vortex.core.native.sorting import stable_order

Keys = NDArray[np.void]


@dataclass(slots=True)
class Events:
    """The events of a page, in stream order.

    Event i is the line `text[start[i]:start[i] + size[i]]` of record `record[i]`; its customer and type are
    `names[name[i]]`. `keys` has sixteen bytes for each. `period` is NO_PERIOD where the time is missing or unreadable.
    """

    text: bytes
    start: NDArray[np.int64]
    size: NDArray[np.int32]
    record: NDArray[np.int32]
    name: NDArray[np.int32]
    names: Names
    keys: Keys
    period: NDArray[np.int64]
    rejected: list[Rejected] = field(default_factory=list)
    unidentified: NDArray[np.bool_] | None = None
    """Which events have no id, so that their whole line counts; None if all have one, as in most pages."""

    def __len__(self) -> int:
        return len(self.start)

    def rows(self, which: slice | NDArray[np.bool_]) -> Events:
        """These of the events, in the same text; without rejections."""
        return Events(
            self.text,
            self.start[which],
            self.size[which],
            self.record[which],
            self.name[which],
            self.names,
            self.keys[which],
            self.period[which],
            unidentified=None if self.unidentified is None else self.unidentified[which],
        )


def in_one(several: Sequence[Events]) -> Events:
    """Events that follow each other."""
    if len(several) == 1:
        return several[0]
    befores = accumulate((len(each.text) for each in several), initial=0)
    starts = [each.start + before for each, before in zip(several, befores, strict=False)]
    return Events(
        b"".join(each.text for each in several),
        np.concatenate(starts),
        np.concatenate([each.size for each in several]),
        np.concatenate([each.record for each in several]),
        np.concatenate([each.name for each in several]),
        several[0].names,
        np.concatenate([each.keys for each in several]),
        np.concatenate([each.period for each in several]),
        [one for each in several for one in each.rejected],
        _unidentified(several),
    )


def merged(one: Events, other: Events) -> Events:
    """Both, in order of their records, none of which is in both."""
    if not len(one):
        other.rejected = one.rejected + other.rejected
        return other
    return in_order(one.text + other.text, one, replace(other, start=other.start + len(one.text)))


def in_order(text: bytes, one: Events, other: Events) -> Events:
    """Both, whose lines are in `text`, in order of their records, none of which is in both."""
    record = np.concatenate((one.record, other.record))
    order = stable_order(record)
    return Events(
        text,
        np.concatenate((one.start, other.start))[order],
        np.concatenate((one.size, other.size))[order],
        record[order],
        np.concatenate((one.name, other.name))[order],
        one.names,
        np.concatenate((one.keys, other.keys))[order],
        np.concatenate((one.period, other.period))[order],
        one.rejected + other.rejected,
        None if (flags := _unidentified((one, other))) is None else flags[order],
    )


def _unidentified(several: Sequence[Events]) -> NDArray[np.bool_] | None:
    """Of all, one after another."""
    if all(each.unidentified is None for each in several):
        return None
    return np.concatenate(
        [np.zeros(len(each), np.bool_) if each.unidentified is None else each.unidentified for each in several]
    )
