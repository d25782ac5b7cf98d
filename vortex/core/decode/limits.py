"""What one record may cost: of memory, of time, and of room among the rejections.

A record that goes beyond a limit becomes one rejection, whole, with its own bytes. Every limit is found out before the
work that it spares: output is bounded while it is unfolded, parts are counted while they are split off.
"""

from __future__ import annotations

from dataclasses import dataclass

from vortex.core.decode.reasons import OverBudget, Reason

_SHARE = 32
"""How many times its own size a record may unfold to, whatever else is in its page."""
_LEAST_SHARE = 16 * 1024
MEMBERS = 32_768
"""Compressed members that a record may have, beside the first of each text in it: of empty ones, which take no room,
it could hold a million.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings `[limits]`; sizes in bytes.

    `record`: what the compressed parts of a record unfold to. `page`: what all records of a page unfold to beyond their
    shares. `events`: events in a record, and user records in a KPL aggregate. `rejections`: the rejection lines of one
    record, where twice the record's own size is not more.
    """

    record: int = 64 * 2**20
    page: int = 256 * 2**20
    events: int = 100_000
    rejections: int = 4_000_000


DEFAULT = Limits()


class Pot:
    """What the records of one page may unfold to beyond their shares; who comes first takes first.

    A share is 32 times a record's own size: what is compressed as events usually are never depends on its neighbours.
    """

    def __init__(self, limits: Limits) -> None:
        self.left = limits.page


class Budget:
    """What is left to one record while it is taken apart. Every method raises OverBudget where that is not enough."""

    def __init__(self, size: int, limits: Limits, pot: Pot) -> None:
        """`size`: of the record as it came."""
        self._limits, self._pot = limits, pot
        self._record = limits.record
        self._share = max(_LEAST_SHARE, _SHARE * size)
        self.parts = limits.events
        """Parts that the record may still have."""
        self.members = MEMBERS
        """Compressed members that it may still have, beside the first of each text."""

    @property
    def room(self) -> int:
        """Bytes that may still be unfolded."""
        return max(0, min(self._record, self._share + self._pot.left))

    def unfolded(self, size: int, members: int | None = None) -> None:
        """So much was unfolded, after which so many compressed members may still come."""
        self.members = self.members if members is None else max(0, members)
        self._record -= size
        self._pot.left -= max(0, size - max(0, self._share))
        self._share -= size

    def unfolds_further(self) -> OverBudget:
        """What to raise for what does not fit in `room`; that much was unfolded in vain."""
        room, own = self.room, self._record
        self.unfolded(room)
        if room == own:
            return OverBudget(Reason.TOO_LARGE, f"unfolds to more than {self._limits.record} bytes (limits.record)")
        return OverBudget(
            Reason.PAGE_TOO_LARGE,
            f"unfolds to more than {_SHARE} times its size, and its page's {self._limits.page} bytes for that "
            "are used up (limits.page)",
        )

    def split(self, number: int) -> None:
        """So many parts more."""
        if number > self.parts:
            raise self.too_many()
        self.parts -= number

    def too_many(self) -> OverBudget:
        """What to raise for more parts than it may have."""
        return OverBudget(Reason.TOO_MANY_EVENTS, f"holds more than {self._limits.events} events (limits.events)")
