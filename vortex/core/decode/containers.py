"""Splits a record into parts. A record contains one event, or several: as a KPL aggregate, as concatenated JSON values
(with or without line breaks), as elements of arrays, and any of these compressed (`codecs`).

A part should be one event; `core.decode.decoder` checks this. Data that cannot be split are one part that is already
refused. A record over a limit is one part, refused as a whole.
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

_STEP_TEXTS, _STEP_PACKED, _STEP_DECOMPRESSED = 500, 1 << 14, 1 << 18
"""Work per step: texts, compressed bytes (nine of them may hold a member), and decompressed bytes."""
_first, _last = itemgetter(0), itemgetter(-1)
# Where `texts` may take a text apart: behind an object comes what cannot follow it inside a value, or behind an array
# something opens. Either may also be inside a string. Two expressions: each is found by its first byte, fast.
_BEHIND_OBJECT = re.compile(rb"\}[ \t\x1e\xef\xbb\xbf]*+[^ \t\x1e\xef\xbb\xbf,}\]]").search
_BEHIND_ARRAY = re.compile(rb"\][ \t\x1e\xef\xbb\xbf]*+[{\[]").search


@dataclass(slots=True)
class RecordParts:
    """The parts of some records, in stream order. `owners[i]` is the index of the record of part i.

    `joined` is the concatenation of all parts, if it was computed.
    """

    data: list[bytes] = field(default_factory=list)
    owners: Sequence[int] = field(default_factory=list)
    refused: dict[int, Refused] = field(default_factory=dict)
    joined: bytes | None = None
    before: int = 0
    """Number of parts of the first record that come before these."""

    def sub(self, part: int) -> int:
        """The index of a part within its record."""
        begin = bisect_left(self.owners, self.owners[part])
        return part - begin if begin else part + self.before

    def refuse(self, data: bytes, refused: Refused) -> None:
        """Add a part that is refused."""
        self.refused[len(self.data)] = refused.bare()
        self.data.append(data)

    def append(self, other: RecordParts, owner: int) -> None:
        """Move the parts of one more record here; `owners` has to be a list."""
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
    """A record without its wrappers: the texts of an aggregate's user records, or its own text, decompressed.

    `plain`: each text is known to be one event.
    """

    texts: list[bytes]
    budget: Budget
    refused: dict[int, Refused] = field(default_factory=dict)
    plain: bool = False

    def split(self) -> Steps[RecordParts]:
        """Its parts; consumes the texts. Raises OverBudget."""
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
            if number % _STEP_TEXTS == 0 or size > _STEP_DECOMPRESSED:
                size = 0
                yield
        return parts


def open_record(data: bytes, limits: Limits, pot: Pot) -> Steps[Opened]:
    """Unwrap one record; `pot` is that of its page. Raises OverBudget."""
    budget = Budget(len(data), limits, pot)
    subs = (yield from user_records(data, limits.events)) if data[:4] == MAGIC else None
    if subs is not None and not subs:
        return Opened([data], budget, {0: Refused(Reason.EMPTY, "a KPL aggregate without user records")})
    if subs is not None and _plain(subs) is not None:
        return Opened(subs, budget, plain=True)
    opened, size = Opened([], budget), 0
    for number, sub in enumerate([data] if subs is None else subs):
        try:
            opened.texts.append((yield from _decompressed(sub, budget)))
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
    """The parts of a page's records, without pauses."""
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
    """The parts of records that can each only be one event on one line; None if any may be something else."""
    joined = _plain(datas)
    return None if joined is None else RecordParts(datas, owners, joined=joined)


def refused_whole(data: bytes, over: OverBudget) -> RecordParts:
    """The part of a record over a limit."""
    parts = RecordParts()
    parts.refuse(data, over)
    return parts


def one_line(data: bytes) -> bytes:
    """The event as one line. A JSON string contains no raw line break, so those between tokens can become spaces."""
    if b"\n" not in data and b"\r" not in data:
        return data
    return data.strip(WHITE).replace(b"\n", b" ").replace(b"\r", b" ")


def _plain(datas: list[bytes]) -> bytes | None:
    """The concatenated bytes if each can only be one event on one line. Checks all together, at memory speed."""
    count = len(datas)
    if not all(datas) or (bytes(map(_first, datas)), bytes(map(_last, datas))) != (b"{" * count, b"}" * count):
        return None
    joined = b"".join(datas)
    if b"\n" in joined or b"\r" in joined or any(map(_BEHIND_OBJECT, datas)) or any(map(_BEHIND_ARRAY, datas)):
        return None
    return joined


def _decompressed(data: bytes, budget: Budget) -> Steps[bytes]:
    out = Output(budget.members)
    try:
        text = yield from _noted(decompress(data, budget.room, out), budget, out)
    except Refused as refused:
        if refused.reason is Reason.TOO_LARGE:
            raise budget.too_large() from None
        budget.decompressed(out.tell(), out.members)  # broken data cost as much as valid data
        raise
    if text is None:
        return data
    budget.decompressed(out.tell(), out.members)
    return text


def _noted(steps: Steps[bytes | None], budget: Budget, out: Output) -> Steps[bytes | None]:
    """The same steps; notes how much is decompressed before each pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            text: bytes | None = end.value
            return text
        budget.decompressing(out.tell())
        yield
