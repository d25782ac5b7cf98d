"""What one record may cost: memory, time, and space for rejections.

A record over a limit becomes one rejection with the record's own bytes. A limit is checked before the work that it
saves: output is limited during decompression, and parts are counted during splitting.
"""

from __future__ import annotations

from dataclasses import dataclass

from vortex.core.decode.reasons import OverBudget, Reason

_SHARE = 32
"""A record may always decompress to this many times its own size, whatever the other records of its page use."""
_LEAST_SHARE = 16 * 1024
MEMBERS = 32_768
"""Compressed members per record, not counting the first of each text: a record could contain a million empty ones.
"""
TOKENS = 2**23
"""Tokens per record in broken texts, which are searched for valid values: half a second of CPU. Strings and closing
brackets count as one each, backslashes as a half.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings `[limits]`; sizes in bytes.

    `record`: the decompressed size of a record's compressed parts. `page`: the decompressed size of all records of a
    page beyond their shares. `events`: events per record, and user records per KPL aggregate. `rejections`: the
    rejection lines of one record, or twice the record's own size if that is more.
    """

    record: int = 64 * 2**20
    page: int = 256 * 2**20
    events: int = 100_000
    rejections: int = 4_000_000


DEFAULT = Limits()


class Pot:
    """The decompressed bytes that the records of one page may use beyond their shares, first come, first served.

    A share is 32 times a record's own size, so events of usual compression never depend on other records of the page.
    """

    def __init__(self, limits: Limits) -> None:
        self.left = limits.page
        self.decompressed = 0
        """Bytes that the record at hand has decompressed to."""


class Budget:
    """The remaining limits of one record during decoding. Methods raise OverBudget when a limit is exceeded."""

    def __init__(self, size: int, limits: Limits, pot: Pot) -> None:
        """`size`: bytes of the record as received."""
        self._limits, self._pot = limits, pot
        pot.decompressed = 0
        self._record = limits.record
        self._share = max(_LEAST_SHARE, _SHARE * size)
        self.parts = limits.events
        """Parts that the record may still have."""
        self.members = MEMBERS
        """Compressed members that it may still have, not counting the first of each text."""
        self.lines = limits.events
        """Lines of broken texts that may still be tried one by one."""
        self.tokens = TOKENS

    @property
    def room(self) -> int:
        """Bytes that may still be decompressed."""
        return max(0, min(self._record, self._share + self._pot.left))

    def decompressing(self, size: int) -> None:
        """Note that `size` more bytes are decompressed so far; `decompressed` counts them."""
        self._pot.decompressed = self._limits.record - self._record + size

    def decompressed(self, size: int, members: int | None = None) -> None:
        """Count `size` decompressed bytes; `members` is the new number of remaining compressed members."""
        self.members = self.members if members is None else max(0, members)
        self._record -= size
        self.decompressing(0)
        self._pot.left -= max(0, size - max(0, self._share))
        self._share -= size

    def too_large(self) -> OverBudget:
        """The error for data that exceed `room`; counts `room` bytes, which were decompressed in vain."""
        room, own = self.room, self._record
        self.decompressed(room)
        if room == own:
            return OverBudget(Reason.TOO_LARGE, f"expands to more than {self._limits.record} bytes (limits.record)")
        return OverBudget(
            Reason.PAGE_TOO_LARGE,
            f"expands to more than {_SHARE} times its size, and its page has used up the {self._limits.page} bytes "
            "beyond that (limits.page)",
        )

    def split(self, number: int) -> None:
        """Count `number` more parts. Raises OverBudget if they are too many."""
        if number > self.parts:
            raise self.too_many()
        self.parts -= number

    def tried(self) -> None:
        """Count one more line of a broken text. Raises OverBudget if they are too many."""
        self.lines -= 1
        if self.lines < 0:
            raise self.too_many("lines of broken JSON")

    def searched(self, tokens: int) -> None:
        """Count tokens of a broken text. Raises OverBudget if they are too many."""
        self.tokens -= tokens
        if self.tokens < 0:
            detail = f"not only JSON values, and more than {TOKENS} strings, closing brackets and pairs of backslashes"
            raise OverBudget(Reason.TOO_MANY_TOKENS, detail)

    def too_many(self, what: str = "events") -> OverBudget:
        """The error for too many parts."""
        return OverBudget(Reason.TOO_MANY_EVENTS, f"contains more than {self._limits.events} {what} (limits.events)")
