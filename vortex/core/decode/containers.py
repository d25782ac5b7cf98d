"""What a record holds: one event, or many, as a KPL aggregate, as JSON values one after another (with or without line
breaks), as elements of arrays, and any of these compressed (`codecs`).

A part is what should be one event; whether it is, `core.decode.decoder` finds out. What cannot be taken apart is a part
of its own, refused already. A record that goes beyond a limit is one part, refused as a whole.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from vortex.core.decode.codecs import Output, decompress
from vortex.core.decode.kpl import MAGIC, user_records
from vortex.core.decode.limits import DEFAULT, Budget, Limits, Pot
from vortex.core.decode.reasons import OverBudget, Reason, Refused
from vortex.core.decode.steps import Steps, at_once
from vortex.core.decode.texts import WHITE, values_of

_STEP_TEXTS, _STEP_PACKED, _STEP_UNFOLDED = 500, 1 << 14, 1 << 18
"""What is taken apart in one step: texts, bytes as they came, which may hold a member in nine of them, and bytes."""
_first, _last = itemgetter(0), itemgetter(-1)
# Two objects, one behind the other; or so it seems, for they may stand in a string.
_SEVERAL = re.compile(rb"\}[ \t\x1e\xef\xbb\xbf]*+\{").search


@dataclass(slots=True)
class RecordParts:
    """The parts of some records, in stream order. `owners[i]` is the index of the record that part i came from.

    `joined` is all of them in one, where that was needed anyhow.
    """

    data: list[bytes] = field(default_factory=list)
    owners: Sequence[int] = field(default_factory=list)
    refused: dict[int, Refused] = field(default_factory=dict)
    joined: bytes | None = None
    before: int = 0
    """Parts that the first record has before these."""

    def sub(self, part: int) -> int:
        """The place of a part within its record."""
        begin = bisect_left(self.owners, self.owners[part])
        return part - begin if begin else part + self.before

    def refuse(self, data: bytes, refused: Refused) -> None:
        """Add a part that is none."""
        self.refused[len(self.data)] = refused.bare()
        self.data.append(data)

    def append(self, other: RecordParts, owner: int) -> None:
        """Add the parts of one record more, which are gone from there; `owners` has to be a list."""
        self.refused.update({len(self.data) + part: refused for part, refused in other.refused.items()})
        self.owners += [owner] * len(other.data)  # type: ignore[operator]
        self.data += other.data
        other.data.clear()

    def several(self, most: int, most_bytes: int) -> Iterator[RecordParts]:
        """Runs of at most so many parts, and of at most so many bytes, if they are not one part; empty afterwards."""
        begin = size = 0
        for at, data in enumerate(self.data):
            if at > begin and (size + len(data) > most_bytes or at - begin == most):
                yield self._run(begin, at)
                self.data[begin:at] = [b""] * (at - begin)  # what is made of them takes as much memory
                begin, size = at, 0
            size += len(data)
        yield self._run(begin, len(self.data))
        self.data[begin:] = [b""] * (len(self.data) - begin)

    def _run(self, begin: int, end: int) -> RecordParts:
        if end - begin == len(self.data):
            return self
        refused = {part - begin: why for part, why in self.refused.items() if begin <= part < end}
        return RecordParts(self.data[begin:end], self.owners[begin:end], refused, before=self.sub(begin))


@dataclass(slots=True)
class Opened:
    """A record without its wrappers: the texts of an aggregate's user records, else its own, unfolded.

    `plain`: the texts are known to be one event each.
    """

    texts: list[bytes]
    budget: Budget
    refused: dict[int, Refused] = field(default_factory=dict)
    plain: bool = False

    def split(self) -> Steps[RecordParts]:
        """Its parts; the texts are gone then. Raises OverBudget."""
        if self.plain:
            return RecordParts(self.texts)
        parts, size = RecordParts(), 0
        self.texts.reverse()
        for number in range(len(self.texts)):
            text = self.texts.pop()
            if number in self.refused:
                self.budget.split(1)
                parts.refuse(text, self.refused[number])
                continue
            parts.data += yield from values_of(text, self.budget)
            size += len(text)
            if number % _STEP_TEXTS == 0 or size > _STEP_UNFOLDED:
                size = 0
                yield
        return parts


def open_record(data: bytes, limits: Limits, pot: Pot) -> Steps[Opened]:
    """One record of the page that the pot belongs to. Raises OverBudget."""
    budget = Budget(len(data), limits, pot)
    subs = (yield from user_records(data, limits.events)) if data[:4] == MAGIC else None
    if subs is not None and _plain(subs) is not None:
        return Opened(subs, budget, plain=True)
    opened, size = Opened([], budget), 0
    for number, sub in enumerate([data] if subs is None else subs):
        try:
            opened.texts.append((yield from _unfolded(sub, budget)))
        except OverBudget:
            raise
        except Refused as refused:
            opened.refused[number] = refused.bare()
            opened.texts.append(sub)
        size += len(sub)
        if number % _STEP_TEXTS == 0 or size > _STEP_PACKED:
            size = 0
            yield
    return opened


def parts_of(datas: list[bytes], limits: Limits = DEFAULT) -> RecordParts:
    """The parts of a page's records, at once."""
    if (parts := plain_parts(datas, range(len(datas)))) is not None:
        return parts
    parts, pot = RecordParts(owners=[]), Pot(limits)
    for index, data in enumerate(datas):
        try:
            one = at_once(at_once(open_record(data, limits, pot)).split())
        except OverBudget as over:
            one = refused_whole(data, over)
        parts.append(one, index)
    return parts


def plain_parts(datas: list[bytes], owners: Sequence[int]) -> RecordParts | None:
    """The parts of records of which each can only be one event on one line; None where one is not."""
    joined = _plain(datas)
    return None if joined is None else RecordParts(datas, owners, joined=joined)


def refused_whole(data: bytes, over: OverBudget) -> RecordParts:
    """A record that a limit stopped."""
    parts = RecordParts()
    parts.refuse(data, over)
    return parts


def one_line(data: bytes) -> bytes:
    """The event as a line: a JSON string can hold no raw line break, so those between tokens may become spaces."""
    if b"\n" not in data and b"\r" not in data:
        return data
    return data.strip(WHITE).replace(b"\n", b" ").replace(b"\r", b" ")


def _plain(datas: list[bytes]) -> bytes | None:
    """The bytes in one, if each can only be one event on one line: asked of all at once, at the speed of memory."""
    count = len(datas)
    if not all(datas) or (bytes(map(_first, datas)), bytes(map(_last, datas))) != (b"{" * count, b"}" * count):
        return None
    joined = b"".join(datas)
    if b"\n" in joined or b"\r" in joined or any(map(_SEVERAL, datas)):
        return None
    return joined


def _unfolded(data: bytes, budget: Budget) -> Steps[bytes]:
    out = Output(budget.members)
    try:
        text = yield from decompress(data, budget.room, out)
    except Refused as refused:
        if refused.reason is Reason.TOO_LARGE:
            raise budget.unfolds_further() from None
        budget.unfolded(out.tell(), out.members)  # what is broken costs as much as what is not
        raise
    if text is None:
        return data
    budget.unfolded(len(text), out.members)
    return text
