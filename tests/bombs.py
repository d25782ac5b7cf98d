"""Records that cost more than their size suggests, in a worker: `python -m tests.bombs [NAME ...]`.

A page of each goes through the loop of a real shard, with a limit of 64 MiB for lines, in a separate process. It prints
a line of JSON for each: the longest gap of the event loop, the peak of memory, the counts, and whether the log holds
every record, as events or as rejections with its bytes.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from random import Random

from simulation import vtime
from simulation.logchecks import parsed
from simulation.memstream import MemoryStream
from vortex import metrics
from vortex.adapters.clock import SystemClock, ThreadOffload
from vortex.adapters.disk.scratch import TemporaryScratch
from vortex.adapters.disk.store import LocalDirStore
from vortex.adapters.heap import use_one_heap
from vortex.config.settings import Settings
from vortex.core.log.segment import Counts
from vortex.core.model import HASH_KEYS
from vortex.health import Health
from vortex.retry import Retry
from vortex.runtime.assembly import loaded_state, worker_factory
from vortex.runtime.environment import Environment, publish_rules

MIB = 2**20
LIMIT = 64 * MIB
SETTINGS = Settings.model_validate(
    {
        "source": {"stream": "bombs", "poll": "250ms"},
        "event": {"customer": "customer", "type": "type", "id": "id", "time": "time"},
        "store": {"url": "file:///nowhere"},
        "commit": {"every": "200ms"},
        "memory": {"limit": LIMIT},
    }
)
_EVENT = b'{"customer":"a","type":"b","id":"%d","p":"'
_LIMIT_S = 300.0


def packed(data: bytes) -> bytes:
    """Compress with gzip."""
    return gzip.compress(data, 6, mtime=0)


def varint(number: int) -> bytes:
    """A protobuf number."""
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def aggregate(body: bytes) -> bytes:
    """A KPL aggregate of this protobuf."""
    return b"\xf3\x89\x9a\xc2" + body + md5(body).digest()


def user_record(data: bytes, extra: bytes = b"") -> bytes:
    """A record in an aggregate."""
    record = b"\x08\x00\x1a" + varint(len(data)) + data + extra
    return b"\x1a" + varint(len(record)) + record


def kpl(datas: list[bytes]) -> bytes:
    """An aggregate of these."""
    return aggregate(b"\x0a\x01a" + b"".join(map(user_record, datas)))


def large(number: int, size: int) -> bytes:
    """An event of this size."""
    head = _EVENT % number
    return head + b"x" * (size - len(head) - 2) + b'"}'


def nothing_of_10_gib() -> bytes:
    """A mebibyte of gzip that decompresses to very much."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b"\0" * (16 * MIB)) for _ in range(64))[:MIB]


def _event(rest: bytes) -> bytes:
    return b'{"customer":"a","type":"b","id":"1","p":' + rest + b"}"


BOMBS: dict[str, Callable[[], list[bytes]]] = {
    "a gzip record of empty objects": lambda: [packed(b"{}\n" * (64 * MIB // 3 - 1))],
    "several of them, and good events": lambda: [
        packed(b"{}\n" * 99_000) if turn % 2 else large(turn, 300) for turn in range(40)
    ],
    "a zlib record of numbers": lambda: [zlib.compress(b"[" + b"1," * (32 * MIB - 2) + b"1]")],
    "a gzip record of events": lambda: [packed(b"\n".join(large(n, 700) for n in range(64 * MIB // 701)))],
    "a gzip record of events on several shards": lambda: [packed(b"\n".join(large(n, 700) for n in range(90_000)))] * 2,
    "packed numbers on several shards": lambda: [packed(b"[" + b"1," * (32 * MIB - 2) + b"1]")] * 4,
    "large records of several kinds on several shards": lambda: [
        packed(large(1, 64 * MIB - 100)),
        packed(large(1, 300)),
        packed(b"{}\n" * (64 * MIB // 3 - 1)),
        packed(large(2, 60 * MIB)),
    ] * 2,
    "gzip records of one event each": lambda: [packed(large(n, 64 * MIB - 100)) for n in range(16)],
    "gzip records of half a mebibyte": lambda: [packed(large(n, MIB // 2)) for n in range(3000)],
    "an array of numbers": lambda: [b"[" + b"1," * (MIB // 2 - 2) + b"1]"] * 4,
    "an array of arrays": lambda: [b"[" + b"[]," * (10 * MIB // 3 - 2) + b"[]]"],
    "an array of strings with commas": lambda: [b"[" + b'"a,b,c,d,e,f",' * (10 * MIB // 14 - 2) + b'"x"]'],
    "an array of empty objects": lambda: [b"[" + b"{}," * (MIB // 3 - 2) + b"{}]"] * 10,
    "empty objects, a line each": lambda: [b"{}\n" * (MIB // 3 - 1)] * 10,
    "empty objects in one line": lambda: [b"{}" * (5 * MIB - 1)],
    "empty lines": lambda: [b"{}" + b"\n" * (10 * MIB - 9) + b"{}"],
    "packed empty lines": lambda: [packed(large(1, 99) + b"\n \n" * (20 * MIB) + large(2, 99))],
    "nothing but zeros, of which there is no end": lambda: [nothing_of_10_gib()] * 8,
    "gzip within gzip": lambda: [packed(packed(b"{}\n" * (64 * MIB // 3 - 1)))],
    "empty gzip members": lambda: [packed(b"") * 400_000],
    "empty gzip members, with blanks between, and a long end": lambda: [
        (packed(b"") + b" ") * 32_000 + b"\x50\x2a\x4d\x18" + (9 * MIB).to_bytes(4, "little") + bytes(9 * MIB)
    ],
    "empty chunks of Snappy": lambda: [b"\xff\x06\0\0sNaPpY" + b"\xfe\0\0\0" * 2_600_000],
    "user records of empty gzip members": lambda: [kpl([packed(b"") * 500] * 1000)],
    "user records of gzip that is broken at its end": lambda: [kpl([packed(bytes(64 * MIB - 99))[:-1]] * 150)],
    "user records of gzip with halves of characters": lambda: [
        kpl([packed(_event(b'"' + b"\\ud83d" * 40_000 + b'"') + b"x")] * 260)
    ],
    "empty user records": lambda: [kpl([b""] * 1_500_000)],
    "some empty user records": lambda: [kpl([b""] * 90_000)],
    "user records of one byte": lambda: [kpl([b"x"] * 90_000)],
    "user records of gzip": lambda: [kpl([packed(b"{}\n" * (64 * MIB // 3 - 1))] * 4)],
    "user records of gzip, one event each": lambda: [kpl([packed(large(n, 64 * MIB - 100)) for n in range(16)])],
    "user records of small gzip": lambda: [kpl([packed(large(n, 60)) for n in range(80_000)])],
    "an aggregate of keys": lambda: [aggregate(b"\x0a\x00" * (5 * MIB - 20) + user_record(large(1, 99)))],
    "an aggregate of unknown fields": lambda: [aggregate(b"\x20\x05" * (5 * MIB - 99) + user_record(large(1, 99)))],
    "a user record of unknown fields": lambda: [aggregate(user_record(large(1, 99), b"\x20\x05" * (5 * MIB - 99)))],
    "an event of many keys": lambda: [_event(b"0," + b",".join(b'"k%d":1' % n for n in range(300_000)))] * 2,
    "an event of empty lists": lambda: [_event(b"[" + b"[]," * MIB + b"[]]")] * 3,
    "an event of short strings": lambda: [_event(b"[" + b'"a",' * 900_000 + b'""]')] * 2,
    "an event of floats without a customer": lambda: [b'{"p":[' + b"1.5," * 900_000 + b"1]}"] * 2,
    "a customer that is a list": lambda: [b'{"customer":[' + b"[]," * (MIB) + b"[]]}"] * 3,
    "brackets without end": lambda: [b"[" * (10 * MIB)],
    "objects within each other": lambda: [b'{"a":' * (2 * MIB)],
    "an event that nests deep": lambda: [_event(b"[" * MIB + b"]" * MIB)] * 4,
    "packed backslashes": lambda: [packed(b"\\" * (64 * MIB - 99))],
    "quotes and backslashes": lambda: [b'"\\' * (5 * MIB)],
    "control characters": lambda: [b"\x01" * (10 * MIB)],
    "packed control characters": lambda: [packed(b"\x01" * (60 * MIB))] * 16,
    "a line each of a control character": lambda: [b"\x01\n" * (5 * MIB)],
    "bytes that are no text": lambda: [b"\xff" * (10 * MIB)],
    "an event of halves of characters": lambda: [_event(b'"' + b"\\ud83d" * 600_000 + b'"')] * 2,
    "a text of halves of characters": lambda: [b'"' + b"\\ud83d" * (10 * MIB // 6 - 9) + b'"'],
    "a text of emojis": lambda: [_event(b'"' + "\U0001f600".encode() * 900_000 + b'"')] * 2,
    "broken lines": lambda: [b"{broken\n" * 99_999] * 10,
    "small records that are no events": lambda: [b"{broken %d" % n for n in range(10_000)],
    "small records of control characters": lambda: [b"\x01" * 1000] * 10_000,
    "events without a customer": lambda: [large(n, 900).replace(b"customer", b"renamed_") for n in range(10_000)],
    "small events without a customer": lambda: [b'{"id":%d}\n' % n * 90 for n in range(10_000)],
    "events whose customer is a number": lambda: [b'{"customer":1.5,"id":%d}' % n for n in range(10_000)],
    "events without an id": lambda: [b'{"customer":"a","type":"b"}\n' * 99_999] * 3,
    "events with a key twice": lambda: [b'{"customer":"a","type":"b","id":1,"id":2,"x":%d}' % n for n in range(10_000)],
    "events of a customer each": lambda: [
        b"\n".join(b'{"customer":"c%d","type":"b","id":1}' % (n * 10_000 + m) for m in range(10_000)) for n in range(28)
    ],
    "an ambiguous event of many keys": lambda: [b'{"customer":1.5,"x":1' + b',"":1' * 790_000 + b"}"] * 2,
    "customers of 60 KiB": lambda: [
        packed(b"".join(b'{"customer":"%s","type":"t","id":1}' % (b"%08d" % n * 7_500) for n in range(1000)))
    ],
    "customers of a thousand characters": lambda: [
        packed(b"".join(b'{"customer":"%s","type":"t","id":1}' % (b"%08d" % n * 125) for n in range(at, at + 60_000)))
        for at in range(0, 240_000, 60_000)
    ],
    "types of 600 characters": lambda: [
        packed(b"".join(b'{"customer":"a","type":"%d%s","id":1}' % (n, b"t" * 600) for n in range(95_000)))
    ] * 3,
    "ambiguous events of customers of 600 characters": lambda: [
        packed(b"".join(b'{"customer":"%d%s","type":"\\u00e4","id":1}' % (n, b"t" * 600) for n in range(95_000)))
    ] * 2,
    "broken lines, and arrays of nearly as many elements as there may be": lambda: [
        packed(b'{"a":1}{x' + (b"\n[" + b"[]," * 600 + b"[]]") * 20_000)
    ],
    "times that take long to read": lambda: [
        packed(
            b"".join(
                b'{"customer":"a","type":"b","id":%d,"time":"2026-11-29Z%s"}' % (n, b"[]" * 250) for n in range(95_000)
            )
        )
    ],
    "customers of pairs of halves": lambda: [
        packed(b"".join(b'{"customer":"%s%d","type":"b","id":1}' % (b"\\ud83d\\ude00" * 5_000, n) for n in range(1100)))
    ],
    "half a million customers": lambda: [
        b"\n".join(b'{"customer":"customer-%d-with-a-name","type":"t","id":1}' % n for n in range(at, at + 1000))
        for at in range(0, 500_000, 1000)
    ],
    "one record with a customer for each event": lambda: [
        b"\n".join(b'{"customer":"c%d","type":"b","id":1}' % n for n in range(99_999))
    ],
    "random bytes": lambda: [Random(1).randbytes(10 * MIB)],
}  # fmt: skip
"""Pages of records by description."""


ON_SEVERAL_SHARDS = {
    "a gzip record of events on several shards",
    "packed numbers on several shards",
    "large records of several kinds on several shards",
}
_SEVERAL = 6


def peak_mib() -> float:
    """The peak of this process's memory. `ru_maxrss` would begin with that of the process which started it."""
    return int(Path("/proc/self/status").read_text("ascii").partition("VmHWM:")[2].split()[0]) / 1024


@dataclass
class Seen:
    """The figures of one bomb: the longest gap of the loop in seconds, in wall time and in CPU time of the thread,
    which other work on the machine does not change; the peak of memory in MiB.
    """

    name: str
    gap: float = 0.0
    own_gap: float = 0.0
    peak: float = 0.0
    took: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    """The number of rejected records whose data is not in the log."""


class HastyClock(SystemClock):
    """A clock with short sleeps: otherwise a page of 10 MiB is followed by a pause of five seconds."""

    async def sleep(self, seconds: float) -> None:
        """Sleep briefly."""
        await super().sleep(min(seconds, 0.02))


class _Reasons(vtime.NullMeter):
    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def add(self, metric: metrics.CounterMetric, value: float = 1, **labels: str) -> None:
        """Count rejections by reason."""
        if metric is metrics.REJECTIONS:
            self.found[str(labels["reason"])] += int(value)


async def _gaps(seen: Seen) -> None:
    """Record the longest time in which no other task ran."""
    before, own_before = time.monotonic(), time.thread_time()
    while True:
        await asyncio.sleep(0.001)
        now, own = time.monotonic(), time.thread_time()
        seen.gap, before = max(seen.gap, now - before), now
        seen.own_gap, own_before = max(seen.own_gap, own - own_before), own


def environment(folder: Path, stream: MemoryStream, clock: SystemClock, meter: vtime.NullMeter) -> Environment:
    """A process whose store is this folder."""
    health = Health()
    return Environment(
        settings=SETTINGS,
        rules=publish_rules(SETTINGS),
        stream=stream,
        store=LocalDirStore(folder),
        clock=clock,
        trusted=clock,
        meter=meter,
        health=health,
        retry=Retry(clock, meter, health, Random(1)),
        offload=ThreadOffload(),
        owner="me",
        token=lambda: "never asked for",
        seed=5,
        scratch=TemporaryScratch(2**31),
    )


async def watched(name: str, records: list[bytes], folder: Path) -> Seen:
    """Run a page of records through the loop of a shard, or of several shards at once if the bomb is for several."""
    clock, meter, seen = HastyClock(), _Reasons(), Seen(name)
    shards = _SEVERAL if name in ON_SEVERAL_SHARDS else 1
    stream = MemoryStream(clock, limits=False, shards=shards)
    env = environment(folder, stream, clock, meter)
    state, log_store = await loaded_state(env)
    make = worker_factory(env, state, log_store, lambda shard, footer: None, lambda: False)
    workers = [make(shard) for shard in await stream.list_shards()]
    for data in records:
        for number in range(shards):
            stream.put("key", data, explicit_hash=(2 * number + 1) * HASH_KEYS // (2 * shards))
    watching, running = asyncio.ensure_future(_gaps(seen)), [asyncio.ensure_future(one.run()) for one in workers]
    begun = time.monotonic()
    while any(one.status.totals.records < len(records) for one in workers):
        await asyncio.sleep(0.02)
        for task in running:
            if task.done():
                task.result()
        if time.monotonic() - begun > _LIMIT_S:
            raise TimeoutError(name)
    for one in workers:
        one.orders.stop.set()
    await asyncio.gather(*running)
    seen.took = time.monotonic() - begun
    watching.cancel()
    seen.peak = peak_mib()
    totals = Counts()
    for one in workers:
        totals.add(one.status.totals)
    seen.counts = {each: getattr(totals, each) for each in ("records", "events", "accepted", "filtered", "rejected")}
    seen.reasons = dict(meter.found)
    seen.lost = _lost(folder, stream)
    return seen


def _lost(folder: Path, stream: MemoryStream) -> int:
    """The number of wholly rejected records whose bytes are not in the log."""
    sent = {put.sequence: put.data for put in stream.puts}
    wanted, found = set(), set()
    for path in sorted(folder.rglob("*.seg")):
        body = path.read_bytes()
        for (where, _), lines in parsed(path.name, body).lines.items():
            if not where.startswith("_rejected/"):
                continue
            for line in map(json.loads, lines):
                if line.get("whole"):
                    wanted.add(line["sequence"])
                if "data" in line:
                    data = line["data"].encode()
                elif "data_base64" in line:
                    data = base64.b64decode(line["data_base64"])
                else:
                    continue
                if sent[line["sequence"]] == data:
                    found.add(line["sequence"])
                assert len(line) <= 16 * MIB
    return len(wanted - found)


def run(name: str) -> None:
    """Run one bomb in this process."""
    records = BOMBS[name]()
    with tempfile.TemporaryDirectory(prefix="vortex-bombs-") as folder:
        seen = asyncio.run(watched(name, records, Path(folder)))
    print(json.dumps(seen.__dict__), flush=True)


def main() -> int:
    """Run the bombs of these names, or all, each in a separate process."""
    names = sys.argv[1:] or list(BOMBS)
    failed = 0
    use_one_heap()
    for name in names:
        child = os.fork()
        if not child:
            try:
                run(name)
            except BaseException as problem:  # noqa: BLE001  the child must end after any error
                print(json.dumps({"name": name, "failed": repr(problem)}), flush=True)
                os._exit(1)
            os._exit(0)
        failed += os.waitpid(child, 0)[1] != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
