"""Which time may be trusted where clocks disagree: the local one, those of several replies, and a record's own.

What moves a bound cannot be taken back, so it goes no further than two clocks agree on:

- An idle shard is told by the service's replies and by the local clock: the earlier of the two counts, and no later
  than the Date of the very reply that showed it empty (`earliest`).
- A record brings a clock of its own, the time at which the service stored it. It counts where one of the two others has
  reached it (`latest`). So records go to their right hours though the local clock, or every Date, is hours behind.

One reply proves nothing: a proxy may answer from its cache, or have a clock of its own. The service's time is the
median of what several replies told, each as its distance from the monotonic clock, which no operator and no NTP sets.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TOLERANCE_MS = 5 * 60_000
"""Clocks that are less apart agree. AWS refuses what is signed by a clock that is further off, a reply may take half a
minute, and its Date has whole seconds."""
OLDEST_MS = 366 * 86_400_000
"""No record is older than this: streams keep them for 365 days at most."""
LEAST = 3
"""So many replies are asked for before anything is closed: two outvote one."""
_KEPT = 9
_EVERY_S = 1.0
"""Seconds between two Dates that are kept, so that those kept are not of one burst of wrong ones."""
_ODD_S = 60.0
"""For so many seconds an odd Date is told of."""
_UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))


class Times(NamedTuple):
    """Epoch milliseconds. `earliest` is what every clock has reached, `latest` what at least one has."""

    earliest: int
    latest: int


class Clocks:
    """What one process has seen of clocks. Wall times are epoch milliseconds, `mono_s` is its monotonic clock."""

    def __init__(self) -> None:
        self._offsets: deque[float] = deque(maxlen=_KEPT)
        """Of the replies kept: Date less monotonic clock, in milliseconds."""
        self._median = 0.0
        self._kept_at = 0.0
        self._odd: tuple[float, float] | None = None
        """The last Date that others contradict: when it came, and how far it is off."""

    @property
    def sure(self) -> bool:
        """Whether enough replies were heard to outvote a wrong one."""
        return len(self._offsets) >= LEAST

    @property
    def odd_at(self) -> float | None:
        """When the last Date came that others contradict, by the monotonic clock."""
        return self._odd[0] if self._odd else None

    def heard(self, date_ms: int, mono_s: float) -> None:
        """A reply that bears this Date has come."""
        offset = date_ms - mono_s * 1000
        if self._offsets and abs(offset - self._median) > TOLERANCE_MS:
            self._odd = mono_s, offset - self._median
        if not self.sure or mono_s - self._kept_at >= _EVERY_S:
            self._offsets.append(offset)
            self._kept_at = mono_s
            self._median = sorted(self._offsets)[(len(self._offsets) - 1) // 2]

    def times(self, wall_ms: int, mono_s: float, date_ms: int | None = None) -> Times:
        """What may be trusted at this moment; `date_ms` is the Date of the reply in question, if there is one."""
        service = wall_ms if not self._offsets else int(self._median + mono_s * 1000)
        earliest = min(wall_ms, service)
        return Times(earliest if date_ms is None else min(earliest, date_ms), max(wall_ms, service))

    def ahead_ms(self, wall_ms: int, mono_s: float) -> int:
        """How far the local clock is ahead of the service's; 0 before any reply."""
        return wall_ms - int(self._median + mono_s * 1000) if self._offsets else 0

    def trouble(self, wall_ms: int, mono_s: float) -> str:
        """Which clock is how far off; empty while they agree."""
        ahead = self.ahead_ms(wall_ms, mono_s)
        if self.sure and abs(ahead) > TOLERANCE_MS:
            return (
                f"the local clock is {_span(ahead)} the Dates of the service's last {len(self._offsets)} replies: "
                "nothing closes beyond the earlier of the two; set the clock right"
            )
        if self._odd is not None and mono_s - self._odd[0] < _ODD_S:
            return f"a reply's Date is {_span(self._odd[1])} those of other replies; it is not believed"
        return ""


def _span(ms: float) -> str:
    seconds = abs(ms) / 1000
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), _UNITS[-1])
    return f"{seconds / size:.0f} {unit} {'ahead of' if ms > 0 else 'behind'}"


def arrived(arrivals: NDArray[np.float64], latest_ms: int, since: int) -> NDArray[np.int64]:
    """When each record of a page arrived, epoch milliseconds, from what they say (`arrivals`, in seconds).

    Kinesis promises neither accuracy nor order. What no other clock has reached yet counts as `latest_ms`; what is
    impossible (no number, older than any record can be, more than the tolerance ahead) says nothing: the record then
    arrived with those before it, and not before `since`, or (where that is 0) with those after it.
    """
    with np.errstate(over="ignore"):
        ms = arrivals * 1000
    plausible = (ms >= latest_ms - OLDEST_MS) & (ms <= latest_ms + TOLERANCE_MS)
    if plausible.all():
        return np.minimum(ms.astype(np.int64), latest_ms)
    told = np.where(plausible, np.minimum(ms, latest_ms), 0).astype(np.int64)
    first = since if since or not plausible.any() else int(told[plausible][0])
    return np.where(plausible, told, np.maximum(np.maximum.accumulate(told), first))
