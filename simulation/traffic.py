"""Random events, and the expected result for each of them, which a checker compares with the store.

Every distinct event contains a number between hashes, such as `#17#`, by which a line can be recognised anywhere.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from dataclasses import dataclass
from hashlib import md5
from random import Random
from typing import NamedTuple

from simulation.faults import Conditions
from simulation.memstream import MemoryStream
from vortex.core.model import HASH_KEYS, HOUR_MS
from vortex.ports import Clock

MARK = re.compile(rb"#(\d+)#")


@dataclass(frozen=True, slots=True)
class Truth:
    """One event or broken piece as intended. Duplicates have the same `key`; it is "" for a broken piece."""

    number: int
    data: bytes
    key: str = ""
    customer: str = ""
    kind: str = ""
    at: int | None = None
    """Its own time in epoch milliseconds; None if the arrival time is used."""

    @property
    def broken(self) -> bool:
        """Whether it must become a rejection."""
        return not self.key


class Written(NamedTuple):
    """One record; times in epoch milliseconds."""

    sequence: int
    put_ms: int
    arrival_ms: int
    truths: tuple[Truth, ...]


class Traffic:
    """Puts events; `records` has the content of every record by shard."""

    def __init__(self, stream: MemoryStream, clock: Clock, conditions: Conditions, seed: int, window_ms: int) -> None:
        self.records: dict[str, list[Written]] = {}
        self.named: dict[int, Truth] = {}
        self._stream, self._clock, self.conditions = stream, clock, conditions
        self._rng = Random(f"traffic {seed}")
        self._window_ms = window_ms
        self._sent: list[tuple[int, str, tuple[Truth, ...]]] = []
        self._many = conditions.rate("traffic.many") > 0
        self.page_bytes = 4 << 20 if self._many else 64 << 10
        """Maximum size of a page in memory, in bytes."""
        self._customers = 1500 if self._many else self._rng.randint(1, 4)
        self._idle_below = int(HASH_KEYS * conditions.rate("traffic.idle"))

    async def run(self, duration_s: float, events: int) -> None:
        """Put about `events` events over the duration: single ones, bursts, and pauses of up to hours."""
        rng = self._rng
        left, end = events, self._clock.monotonic() + duration_s
        while left > 0 and self._clock.monotonic() < end:
            number = min(left, rng.choice((1, 1, 2, 5, 20)))
            poison = self.conditions.occurs("traffic.poison", rng)
            for _ in range(number):
                if poison:
                    self._put("poison", (self._note(Truth(len(self.named), self._broken(len(self.named)))),))
                else:
                    self.put_one()
            left -= number
            mean = duration_s / events * 4
            await asyncio.sleep(rng.choice((0.0, rng.uniform(0, 2), rng.expovariate(1 / mean), 2 * mean)))

    def put_one(self) -> None:
        """Put one record: new, or sent again."""
        rng, conditions = self._rng, self.conditions
        if self._sent and conditions.occurs("traffic.duplicate", rng):
            self._again()
            return
        several = rng.randint(2, 5) if conditions.occurs("traffic.batch", rng) else 1
        several *= 10 if self._many else 1
        truths = tuple(self._make() for _ in range(several))
        self._put(self._partition_key(), truths)

    def _partition_key(self) -> str:
        rng = self._rng
        if self.conditions.occurs("traffic.hot", rng):
            return "hot"
        return f"k{rng.getrandbits(40)}"

    def _again(self) -> None:
        """Send an earlier record again, with a new partition key or the same: recent, or near the window's end."""
        rng = self._rng
        now = self._clock.now_ms()
        back = rng.choice((0, 0, 10_000, 120_000, self._window_ms, self._window_ms, 4 * self._window_ms))
        back += rng.randint(-3000, 3000) if back == self._window_ms else 0
        # The newest that is at least this old, else any recent one.
        old = [one for one in self._sent if one[0] <= now - back] or self._sent
        _, key, truths = old[max(0, len(old) - 1 - rng.randrange(4))]
        if self.conditions.occurs("traffic.altered", rng):
            truths = tuple(self._altered(truth) for truth in truths)
        self._put(self._partition_key() if rng.random() < 0.7 else key, truths)

    def _altered(self, truth: Truth) -> Truth:
        if truth.broken or truth.key.startswith("content"):
            return truth
        event = json.loads(truth.data)
        number = len(self.named)
        event["x"] = f"#{number}#"
        return self._note(Truth(number, json.dumps(event).encode(), truth.key, truth.customer, truth.kind, truth.at))

    def _make(self) -> Truth:
        rng, conditions = self._rng, self.conditions
        number = len(self.named)
        if conditions.occurs("traffic.broken", rng):
            return self._note(Truth(number, self._broken(number)))
        customer, kind = f"c{rng.randrange(self._customers)}", f"t{rng.randrange(2)}"
        at: int | None = self._own_time()
        event = {"c": customer, "t": kind, "x": f"#{number}#", "id": f"id{number}", "at": at}
        if conditions.occurs("traffic.timeless", rng):
            at = None
            event["at"] = rng.choice(("soon", None))
        key = f"{customer} id{number}"
        if conditions.occurs("traffic.no_id", rng):
            del event["id"]
            key = f"content {number}"
        return self._note(Truth(number, json.dumps(event).encode(), key, customer, kind, at))

    def _own_time(self) -> int:
        rng, now = self._rng, self._clock.now_ms()
        if self.conditions.occurs("traffic.late", rng):
            return now - int(rng.choice((0.1, 1, 3, 30)) * HOUR_MS * rng.random())
        if self.conditions.occurs("traffic.early", rng):
            return now + int(rng.choice((0.1, 1, 3, 30)) * HOUR_MS * rng.random())
        return now - rng.randint(0, 20_000)

    def _broken(self, number: int) -> bytes:
        return self._rng.choice(
            (
                b"{broken #%d#",
                b'{"t": "t0", "id": "a", "x": "#%d#"}',
                b'{"c": {}, "t": "t0", "id": "a", "x": "#%d#"}',
                b'"#%d#"',
                b'{"c": "c0", "t": "t0", "id": "a", "x": "#%d#\xff"}',
            )
        ) % (number,)

    def _note(self, truth: Truth) -> Truth:
        self.named[truth.number] = truth
        return truth

    def _put(self, key: str, truths: tuple[Truth, ...]) -> None:
        rng = self._rng
        now = self._clock.now_ms()
        arrival = now
        if self.conditions.occurs("stream.backwards", rng):
            arrival -= rng.choice((2_000, 60_000, 1_200_000)) * rng.randint(0, 1000) // 1000
        data, truths = _record(truths, rng)
        explicit = None
        if self._idle_below:
            number = int.from_bytes(Random(key).randbytes(16))
            explicit = self._idle_below + number * (HASH_KEYS - self._idle_below) // HASH_KEYS
        shard, sequence = self._stream.put(key, data, arrival, explicit)
        self.records.setdefault(shard, []).append(Written(int(sequence), now, arrival, truths))
        self._sent.append((now, key, truths))


def _record(truths: tuple[Truth, ...], rng: Random) -> tuple[bytes, tuple[Truth, ...]]:
    """The record's bytes, and the events that Vortex must find in it."""
    if len(truths) == 1:
        return truths[0].data, truths
    broken = any(truth.broken for truth in truths)
    if broken:  # a broken piece after an object that does not end counts as part of that object
        truths = tuple(sorted(truths, key=lambda truth: truth.data[:1] == b"{"))
        while len(truths) > 1 and all(truth.data.startswith(b"{broken") for truth in truths[-2:]):
            truths = truths[:-1]
    # A piece ends where its JSON ends, or at a line break if it is broken.
    data = (b"\n" if broken else (b"\n", b"", b" ")[truths[0].number % 3]).join(truth.data for truth in truths)
    if all(truth.broken for truth in truths):
        return truths[0].data, truths[:1]
    if not broken and rng.random() < 0.3:
        data = b"[" + b",".join(truth.data for truth in truths) + b"]"
    elif rng.random() < 0.3 and not any(b"\xff" in truth.data for truth in truths):
        data = gzip.compress(data, mtime=0)
    elif rng.random() < 0.5:
        data = _aggregate([truth.data for truth in truths])
    return data, truths


def _aggregate(parts: list[bytes]) -> bytes:
    """A KPL record (github.com/awslabs/amazon-kinesis-producer, aggregation-format.md): one key, the parts, an MD5."""
    body = _field(1, b"key") + b"".join(_field(3, b"\x08\x00" + _field(3, part)) for part in parts)
    return b"\xf3\x89\x9a\xc2" + body + md5(body, usedforsecurity=False).digest()


def _field(number: int, data: bytes) -> bytes:
    size, length = len(data), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes((number << 3 | 2, *length, size)) + data
