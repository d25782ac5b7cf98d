"""What a stream costs in a month: requests of the real loops, counted in virtual time, at list prices of us-east-1.

All is a thousandth: each shard gets one event of 1 kB a second, not a thousand, and a worker has a thousandth of
`memory.limit`, of `memory.keys`, and of every size of publishing. So a shard commits as often as a full one: every
`commit.every`, or earlier where the shards of a worker gather more than half of its memory. (60 MB in a minute are less
than `commit.max_bytes`.) And a plan has as many parts, ranges and objects. Only the memory for indexes is whole: a
segment has as many members as a full one. Other settings are the defaults. Each worker has a machine of its own with
8 GiB, by which `memory.limit = "auto"` goes.

Storage is added by formula for full shards: of segments, of decision files, and of the ids that workers exchange, which
the next clean-up removes. So is clean-up, which lists the kept segments of a shard 24 times in `commit.keep`. And so
are the reads of earlier keys that fingerprints do not rule out: they grow with events, of which there are a thousandth.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any, cast
from unittest.mock import patch

from benchmarks.growth.ground import CountingStore
from benchmarks.growth.publishing import Sizes, sized
from simulation import vtime
from simulation.memstream import MemoryStream
from simulation.memtable import MemoryTable
from simulation.simscratch import SimScratch
from tests.leased_fleet import FleetWorld, Link
from vortex.adapters.usable_memory import usable_of
from vortex.commands.sizing import LEASE_BYTES, SEGMENTS
from vortex.config.output import Commit, Publish
from vortex.config.settings import Dedup, Memory
from vortex.core.ingest import shard_state
from vortex.core.log import lines
from vortex.core.memory import AutoLimit, shard_bytes
from vortex.ports import LeaseTable
from vortex.publish import published_keys
from vortex.runtime.environment import Environment

MONTH_S = 730 * 3600
PUT, GET, WRITE, READ, GB = 5e-6, 4e-7, 6.25e-7, 1.25e-7, 0.023
"""Dollars: a PUT or LIST, a GET, a write and a read unit of DynamoDB on demand, a gigabyte for a month."""
SHARD_HOUR = 0.015
EVENTS_S = 1000
"""Of a full shard in a second."""
_EVENT_BYTES = 1000
BYTES_S = EVENTS_S * _EVENT_BYTES * SEGMENTS
"""Compressed, of a full shard in a second: 200 kB."""
DECISION_BYTES_S = 1e3 * 20
"""Of a full shard's decision files in a second."""
MACHINE_BYTES = 8 * 2**30
"""Memory of the machine that a worker has, with two processors: one core is busy with 50 full shards."""
SCALE = 1000
WARM_S = 900
"""Before counting begins: leases are shared out, and plans follow each other."""
_NOISE_BYTES = 160
"""Of each event, in digits: an event takes 200 compressed bytes, as BYTES_S says."""
_PAUSE_S = 2
_SIZES = Sizes(**{name: size // 10 for name, size in asdict(Sizes()).items()})
"""Those of the other curves are hundredths of the shipped ones."""


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars a month by part, and what Kinesis takes for the shards alone."""

    parts: dict[str, float]
    kinesis: float

    @property
    def percent(self) -> float:
        """All parts, in percent of what Kinesis takes."""
        return 100 * sum(self.parts.values()) / self.kinesis


class _World(FleetWorld):
    """The stream has the default settings, a partition for each of ten customers, and few events."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.stream = MemoryStream(self.clock, shards=self.shards, random=Random(1), limits=False)
        self.store = self.counted = CountingStore(self.clock, call_s=0.025)
        self.calls: Counter[str] = Counter()

        async def count(operation: str, key: str) -> None:
            self.calls[operation] += 1

        self.table = MemoryTable(before=count)

    def environment(self) -> Environment:
        found = super().environment()
        rules = replace(
            found.rules,
            target=_SIZES.target,
            range_bytes=4 * _SIZES.target,
            piece_bytes=_SIZES.target // 4,
            part_rows=found.rules.part_rows // SCALE,
            keys_bytes=Memory().keys // SCALE,
            copy_bytes=_SIZES.copy_bytes,
        )
        return replace(found, rules=rules, scratch=SimScratch(_SIZES.scratch))

    def table_of(self, owner: str) -> LeaseTable:
        return cast(LeaseTable, Link(self.table))


def bill(shards: int, workers: int, minutes: int = 30, limit: int | None = None, warm_s: int = WARM_S) -> Bill:
    """The bill of a stream of so many full shards on so many workers, from so many minutes after `warm_s` seconds.

    `limit` is `memory.limit` in bytes; None: the default, "auto", on MACHINE_BYTES.
    """
    with (
        patch.object(shard_state, "_GROUP_OVERHEAD", 1900 // SCALE),
        patch.object(lines, "_OBJECTS", 0),
        sized(_SIZES),
        patch.object(published_keys, "_NEAR", published_keys._NEAR // SCALE),
        patch.object(published_keys, "_MOST", published_keys._MOST // SCALE),
    ):
        return vtime.run(_bill(shards, workers, minutes, default_limit if limit is None else lambda _: limit, warm_s))


def false_matches(keys: int, probes: int) -> float:
    """How many of so many ids seem to be among the keys of an earlier plan, by their fingerprints. Each is a read.

    A fingerprint has 24 bits, and there are 16 to 32 in a bucket: `vortex.core.dedup.index`.
    """
    bucket = keys / 2.0 ** (keys.bit_length() - 1 - 4)
    return probes * bucket / 2**24


def _false_matches(shards: int) -> float:
    """In a month of full shards, with all earlier plans of the window as fingerprints."""
    rows, earlier = shards * EVENTS_S * Publish().period // 1000, Dedup().window // Publish().period
    return earlier * false_matches(rows, rows) * 1000 * MONTH_S / Publish().period


def default_limit(shards: int) -> int:
    """The limit of memory in bytes that a worker has with so many shards at their tip."""
    commit, publish, memory = Commit(), Publish(), Memory()
    assert memory.limit == "auto"
    gathered = shard_bytes(min(commit.every, publish.period), commit.max_bytes)
    return AutoLimit(gathered, memory.keys, usable_of(MACHINE_BYTES))(shards, shards)


async def _bill(shards: int, workers: int, minutes: int, limit: Callable[[int], int], warm_s: int) -> Bill:
    commit = Commit()
    world = _World(
        shards=shards,
        poll_s=2.0,
        keep_ms=commit.keep,
        every_s=commit.every / 1000,
        limit_of=lambda at_tip, shards: limit(at_tip) // SCALE,
    )
    for _ in range(workers):
        await world.join()
    await _traffic(world, warm_s)
    world.counted.requests.clear()
    world.calls.clear()
    await _traffic(world, 60 * minutes)
    month = MONTH_S / 60 / minutes
    requests: Counter[str] = Counter()
    for what, number in world.counted.requests.items():
        requests[what] = number
    segments, kept_s = requests["put segment"] * month, commit.keep / 1000
    cleanings = MONTH_S / (kept_s / 24)
    parts: dict[str, float] = {
        "PUT segments": segments * PUT,
        "GET segments": requests["get segment"] * month * GET,
        "LIST": shards * cleanings * -(-segments * kept_s // (MONTH_S * shards * 1000)) * PUT,
        "plans, decisions, manifests": month
        * sum(
            requests[f"put {kind}"] * PUT + requests[f"get {kind}"] * GET for kind in ("plan", "decision", "manifest")
        ),
        "exchanged ids": month * (requests["put exchange"] * PUT + requests["get exchange"] * GET)
        + bool(requests["put exchange"]) * shards * DECISION_BYTES_S * kept_s / 24 / 1e9 * GB,
        "GET earlier keys": _false_matches(shards) * GET,
        "PUT objects": requests["put object"] * month * PUT,
        "heartbeats": (world.calls["renew"] + world.calls["checkpoint"]) * month * WRITE,
        "looks": world.calls["rows"] * month * READ * -(-shards * LEASE_BYTES // 4096),
        "segments in storage": shards * BYTES_S * kept_s / 1e9 * GB,
        "decisions in storage": shards * DECISION_BYTES_S * kept_s / 1e9 * GB,
    }
    return Bill(parts, shards * SHARD_HOUR * 730)


async def _traffic(world: Any, seconds: int) -> None:
    shards = world.stream.shards()
    for second in range(0, seconds, _PAUSE_S):
        for number, shard in enumerate(shards):
            for one in range(_PAUSE_S):
                name = f"{second}-{one}-{number}-{world.clock.monotonic()}"
                noise = world.rng.randbytes(_NOISE_BYTES).hex()
                more = noise + "x" * (_EVENT_BYTES - 60 - len(name) - len(noise))
                event = {"c": f"c{(number + second + one) % 10}", "t": "v", "id": name, "more": more}
                world.stream.put("key", json.dumps(event).encode(), explicit_hash=shard.start_hash)
        await world.clock.sleep(_PAUSE_S)
