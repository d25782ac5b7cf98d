"""Decides which time can be trusted if clocks disagree: the local clock, the clock of the service, and a record's own.

Advancing a bound cannot be undone, so it advances only as far as two clocks agree:

- For an idle shard, the service's replies and the local clock count: the earlier of the two, and no later than the Date
  of the reply that showed the shard empty (`earliest`).
- A record has its own clock, the time when the service stored it. It counts if one of the two other clocks has reached
  it (`latest`). So records go to the right hours even if the local clock, or every Date, is hours behind.

One reply proves nothing: a proxy may answer from its cache, or have a wrong clock. The service's time is the median of
several replies, each as the difference to the monotonic clock, which neither operators nor NTP change.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TOLERANCE_MS = 5 * 60_000
"""Clocks with a smaller difference agree. AWS refuses signatures with a larger one; a reply may take half a minute, and
its Date has whole seconds."""
OLDEST_MS = 366 * 86_400_000
"""Maximum age of a record: streams keep records for at most 365 days."""
LEAST = 3
"""Replies required before anything is closed: two outvote one."""
_KEPT = 9
_EVERY_S = 1.0
"""Minimum seconds between two stored Dates, so that a short burst of wrong ones is not the majority."""
_WRONG_S = 60.0
"""Seconds for which a wrong Date is reported."""
_UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))


class Times(NamedTuple):
    """Epoch milliseconds. Every clock has reached `earliest`; at least one has reached `latest`."""

    earliest: int
    latest: int


class Clocks:
    """The clocks as seen by one process. Wall times are epoch milliseconds; `mono_s` is its monotonic clock."""

    def __init__(self) -> None:
        self._offsets: deque[float] = deque(maxlen=_KEPT)
        """For each stored reply, Date minus monotonic clock, in milliseconds."""
        self._median = 0.0
        self._kept_at = 0.0
        self._wrong: tuple[float, float] | None = None
        """The last Date that others contradict: when it arrived, and its error."""

    @property
    def sure(self) -> bool:
        """Whether enough replies were received to outvote a wrong one."""
        return len(self._offsets) >= LEAST

    @property
    def wrong_at(self) -> float | None:
        """When the last Date arrived that others contradict, by the monotonic clock."""
        return self._wrong[0] if self._wrong else None

    def heard(self, date_ms: int, mono_s: float) -> None:
        """Process the Date of a reply."""
        offset = date_ms - mono_s * 1000
        if self._offsets and abs(offset - self._median) > TOLERANCE_MS:
            self._wrong = mono_s, offset - self._median
        if not self.sure or mono_s - self._kept_at >= _EVERY_S:
            self._offsets.append(offset)
            self._kept_at = mono_s
            self._median = sorted(self._offsets)[(len(self._offsets) - 1) // 2]

    def times(self, wall_ms: int, mono_s: float, date_ms: int | None = None) -> Times:
        """The times that can be trusted now; `date_ms` is the Date of the current reply, if there is one."""
        service = wall_ms if not self._offsets else int(self._median + mono_s * 1000)
        earliest = min(wall_ms, service)
        return Times(earliest if date_ms is None else min(earliest, date_ms), max(wall_ms, service))

    def ahead_ms(self, wall_ms: int, mono_s: float) -> int:
        """How far the local clock is ahead of the service's, in milliseconds; 0 before any reply."""
        return wall_ms - int(self._median + mono_s * 1000) if self._offsets else 0

    def trouble(self, wall_ms: int, mono_s: float) -> str:
        """A message about clocks that disagree; empty while they agree."""
        ahead = self.ahead_ms(wall_ms, mono_s)
        if self.sure and abs(ahead) > TOLERANCE_MS:
            return (
                f"the local clock is {_span(ahead)} the Dates of the service's last {len(self._offsets)} replies: "
                "nothing closes beyond the earlier of the two; set the clock right"
            )
        if self._wrong is not None and mono_s - self._wrong[0] < _WRONG_S:
            return f"a reply's Date is {_span(self._wrong[1])} those of other replies; it is not believed"
        return ""


def _span(ms: float) -> str:
    seconds = abs(ms) / 1000
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), _UNITS[-1])
    return f"{seconds / size:.0f} {unit} {'ahead of' if ms > 0 else 'behind'}"


def arrived(arrivals: NDArray[np.float64], latest_ms: int, since: int, unknown_ms: int) -> NDArray[np.int64]:
    """The arrival time of each record of a page, epoch milliseconds, from `arrivals` (in seconds).

    Kinesis promises neither accuracy nor order. A time that no other clock has reached counts as `latest_ms`. An
    impossible time (not a number, older than any record can be, more than the tolerance ahead) is ignored: the record
    then arrived with the records before it, or with the first one after it that has a possible time, but not before
    `since`. If no time of the page is possible, its records arrived at `unknown_ms`.
    """
    with np.errstate(over="ignore"):
        ms = arrivals * 1000
    plausible = (ms >= latest_ms - OLDEST_MS) & (ms <= latest_ms + TOLERANCE_MS)
    if plausible.all():
        return np.minimum(ms.astype(np.int64), latest_ms)
    if not plausible.any():
        return np.full(len(ms), max(since, unknown_ms), dtype=np.int64)
    believed = np.where(plausible, np.minimum(ms, latest_ms), 0).astype(np.int64)
    first = max(since, int(believed[plausible][0]))
    return np.where(plausible, believed, np.maximum(np.maximum.accumulate(believed), first))
