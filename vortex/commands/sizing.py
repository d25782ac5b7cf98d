"""What a stream needs: processes, memory, requests and their price, from figures that were measured.

The figures are those of docs/performance.md; each names its command there. Prices are list prices of us-east-1 in
dollars: https://aws.amazon.com/s3/pricing/, https://aws.amazon.com/dynamodb/pricing/on-demand/,
https://aws.amazon.com/kinesis/data-streams/pricing/.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vortex.config.example import as_written
from vortex.config.output import Commit, Publish
from vortex.config.settings import LEAST_MEMORY, Dedup, sections
from vortex.config.units import duration_text
from vortex.core.fleet.balance import BEATS, ROUND
from vortex.core.memory import LEAST_AUTO, MIB, SUPERVISOR_BYTES, process_bytes, room_bytes, shard_bytes
from vortex.core.publish.plan import PLAN_BYTES, PLAN_ROWS
from vortex.core.wording import counted

_MONTH_S = 730 * 3600.0

# CPU, in seconds. An event of 1 KB takes 9.3 µs, as in a backlog of ten million events on 32 shards. One of 200 bytes
# with 100 in a record takes a third of that, as in the shorter runs of (a) and (c).
_EVENT_S = 1.55e-6
_EVENT_KB_S = 7.75e-6
_OBJECT_S = 0.6e-3
"""Beside its lines."""
_POLL_S = 0.63e-3
_PROCESS_BYTES_S = 57e6
"""Of events that one process read of a backlog."""
_BUSY = 0.5
"""Share of its core, and of that rate, that a process is planned to use; the rest is for catching up."""

# Memory, in bytes, beside vortex/core/memory.py.
_PEAK = 1.5
"""Lines that a process has memory for, beside those of average traffic."""
_GATHERED = shard_bytes(min(Commit().every, Publish().period), Commit().max_bytes)
_KEY_BYTES = 20
_FINGERPRINT_BYTES = 3.3
_LEAST_KEYS, _MOST_WHOLE_KEYS = 64 * MIB, 1024 * MIB
"""Above the most, keys of older plans are planned as fingerprints, which the workers share out."""
_ROW_BYTES, _EXCHANGED_ROW_BYTES = 80, 208
"""Of an event of a plan while it is deduplicated, by one worker for all, or by several that exchange ids."""
_ROWS_WITHIN = 160e6
"""Bytes of that which the formula has room for: two million events by one worker."""
_FINGERPRINT_S = 16e-9
"""For an event and a plan of the window: a day of 288 plans took 4.65 µs an event."""
_FINGERPRINT_GETS = 1.4e-6
"""For an event and a plan of the window: a day of 288 plans took 559 ranged GETs for 1.39 million events."""
_READ_KEY_S, _READ_FINGERPRINT_S = 0.04e-6, 0.06e-6
"""For an id of the window at a start: kept whole; made a fingerprint."""

COMPRESSED = 0.15
"""Size of gzip objects beside the lines in them, for clickstream events of 1 KB."""
SEGMENTS = 0.2
"""The same of segments, with 16 bytes for an id: 0.17 to 0.22 in a minute of a full shard with 8 to 1,900 partitions
(`benchmarks.growth --what stored`). Their members are smaller than objects.
"""
_TARGET, _SCRATCH = Publish().target_object_size, Publish().scratch
_COPIED_WITHIN = 64 * MIB
"""Copies of a plan that lie in memory, or a quarter of the room for large work if that is less."""
_RETENTION_S = 86_400.0
"""For which a stream keeps records by default: how much may wait after a stop."""
_SEGMENT_GETS = 4
"""For each plan that reads it; three to four were measured. A segment in which a period ends is read for two."""

_PUT = 5e-6
_GET = 0.4e-6
_WRITE = 0.625e-6
_READ = 0.125e-6
_STORED_GB_MONTH = 0.023
_SHARD_HOUR = 0.015
_PUT_UNIT = 0.014e-6
_UNIT_BYTES = 25_600
LEASE_BYTES = 400
"""Of a row of the lease table."""
_EXCLUDED = (
    "the stream",
    "compute and memory",
    "calls to KMS",
    "traffic through NAT gateways and VPC endpoints",
    "logs and metrics",
    "the requests of what loads the files",
)
_SHARD_BYTES_S = MIB
_SHARD_RECORDS_S = 1000
_MOST_RECORD_BYTES = 10 * MIB
"""Of a stream whose limit is raised (UpdateMaxRecordSize); it is 1 MiB otherwise."""
_MOST_RETENTION_S = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives, and how Vortex is set. Times are seconds."""

    events: float
    """Events a second, on average."""
    event_bytes: int
    shards: int
    customers: int
    types: int
    """Event types of one customer."""
    window: float = 3600.0
    period: float = 300.0
    commit_every: float = 60.0
    poll: float = 2.0
    failover: float = 10.0
    keep: float = 43_200.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind of request or storage: how many a month, and dollars a month."""

    name: str
    count: float
    dollars: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """What the load needs. `memory`, and `limit` and `keys` (of [memory]), are bytes of one process. `settings` are as
    written in a file, by section and key: those of [coordination] and [memory], and what differs from the defaults.
    """

    processes: int
    shards_each: int
    """Shards of one process."""
    cores: float
    memory: int
    limit: int
    keys: int
    settings: Mapping[str, Mapping[str, str]]
    restart_bytes: float
    """What the first plan after a start reads at most: the ids of the window."""
    restart_cpu: float
    """Seconds for that."""
    disk: float
    """Bytes of copies that a process holds on disk while it publishes, at most."""
    objects_hour: float
    costs: Sequence[Cost]
    kinesis: float
    """Dollars a month for the stream itself, with provisioned shards and one event in a record."""
    excluded: Sequence[str]
    """What `dollars` does not hold."""
    warnings: Sequence[str]

    @property
    def dollars(self) -> float:
        """A month, without what is `excluded`."""
        return sum(cost.dollars for cost in self.costs)


def impossible(load: Load) -> tuple[str, str] | None:
    """What no stream of Kinesis can do: the option, and a sentence about its value. None if it can be."""
    if load.event_bytes > _MOST_RECORD_BYTES:
        return "--bytes", f"{load.event_bytes:,}: Kinesis takes records of at most {_MOST_RECORD_BYTES:,} bytes"
    if load.window > _MOST_RETENTION_S:
        return "--window", "it is longer than a stream keeps records, which is 365 days at most"
    needed = math.ceil(load.events * load.event_bytes / _SHARD_BYTES_S)
    if needed > load.shards:
        return "--shards", (
            f"{counted(load.shards, 'shard')} cannot take {load.events * load.event_bytes / 1e6:,.1f} MB a second: "
            f"each takes 1 MiB; {needed:,} are needed"
        )
    return None


def size(load: Load) -> Sizing:
    """What `load` needs, if it is not `impossible`. A shard is read by one process.

    Partitions without an event in a period cost nothing, so few events make few objects. One with more bytes than
    publish.target_object_size has several.
    """
    partitions = _with_events(load.customers * load.types, load.events * load.period)
    target_s = load.events * load.event_bytes * COMPRESSED / _TARGET
    objects_s = max(partitions / load.period, target_s)
    cores = _cores(load, objects_s)
    needed = max(cores, load.events * load.event_bytes / _PROCESS_BYTES_S)
    wanted = max(1, math.ceil(needed / _BUSY))
    processes = min(wanted, load.shards)
    shards_each = math.ceil(load.shards / processes)
    limit, keys = _limit(load, processes, shards_each), _keys(load, processes)
    return Sizing(
        processes,
        shards_each,
        cores,
        process_bytes(limit, keys, shards_each),
        limit,
        keys,
        _settings(load, processes, limit, keys),
        load.events * load.window * _KEY_BYTES,
        load.events * load.window * (_READ_FINGERPRINT_S if _has_fingerprints(load) else _READ_KEY_S),
        _disk(load, limit),
        objects_s * 3600,
        _costs(load, processes, objects_s),
        load.shards * _SHARD_HOUR * 730 + _units(load) * _PUT_UNIT * _MONTH_S,
        _EXCLUDED,
        _warnings(load, processes, wanted, cores, objects_s),
    )


def _with_events(places: int, events: float) -> float:
    """How many of the partitions, or of the shards, have one, if each event is in any of them by chance."""
    return -places * math.expm1(-events / places)


def _disk(load: Load, limit: int) -> float:
    """A plan has one period; after a stop, as much of the backlog as one plan takes. One process may copy it all."""
    an_event = load.event_bytes * SEGMENTS
    backlog = min(PLAN_BYTES, an_event * min(PLAN_ROWS, load.events * _RETENTION_S))
    copied = max(backlog, an_event * load.events * load.period)
    return 0.0 if copied <= min(_COPIED_WITHIN, room_bytes(limit) // 4) else min(copied, _SCRATCH)


def _settings(load: Load, processes: int, limit: int, keys: int) -> dict[str, dict[str, str]]:
    found = {
        "coordination": {"mode": "dynamodb" if processes > 1 else "local"},
        "memory": {"limit": f"{limit // MIB}MiB", "keys": f"{keys // MIB}MiB"},
    }
    for name, key, seconds in (
        ("source", "poll", load.poll),
        ("dedup", "window", load.window),
        ("commit", "every", load.commit_every),
        ("commit", "keep", load.keep),
        ("publish", "period", load.period),
        ("coordination", "failover", load.failover),
    ):
        field = sections()[name].model_fields[key]
        if (value := round(seconds * 1000)) != field.default:
            found.setdefault(name, {})[key] = str(as_written(field, value))
    accepted = sections()["event"].model_fields["max_bytes"]
    if load.event_bytes > accepted.default:
        found["event"] = {"max_bytes": str(as_written(accepted, _MOST_RECORD_BYTES))}
    return {name: found[name] for name in sections() if name in found}


def pod_memory(processes: int, limit: int | Literal["auto"], keys: int, shards: int, gathered: int = _GATHERED) -> int:
    """Bytes of `vortex run --processes`, which shares out a memory.limit in bytes; each process reads so many shards.

    "auto" is planned for full shards, each of which gathers so much between two commits.
    """
    each = max(LEAST_AUTO, shards * gathered) if limit == "auto" else max(LEAST_MEMORY, limit // processes)
    supervisor = SUPERVISOR_BYTES if processes > 1 else 0
    return processes * process_bytes(each, keys, shards) + supervisor


def _limit(load: Load, processes: int, shards_each: int) -> int:
    """The memory.limit of each process: what its shards gather between two commits, with room for peaks; at most what
    they gather at their full rate, and at least that of "auto".
    """
    due = min(load.commit_every, load.period)
    full = shards_each * shard_bytes(round(due * 1000), Commit().max_bytes)
    gathered = _PEAK * load.events * load.event_bytes * due / processes
    return max(LEAST_AUTO, min(full, math.ceil(gathered / MIB) * MIB))


def _keys(load: Load, processes: int) -> int:
    """The memory.keys of each process: the ids of the whole window, or its share of their fingerprints.

    Without a window no id is kept.
    """
    if not load.window:
        return LEAST_MEMORY
    whole = _whole_keys(load)
    if _has_fingerprints(load):
        whole = max(_MOST_WHOLE_KEYS, load.events * load.window * _FINGERPRINT_BYTES / processes)
    return max(_LEAST_KEYS, math.ceil(whole / MIB) * MIB)


def _rows_bytes(load: Load, processes: int) -> float:
    """What the events of one plan take in each process while they are deduplicated."""
    if not load.window:
        return 0.0
    return load.events * load.period / processes * (_EXCHANGED_ROW_BYTES if processes > 1 else _ROW_BYTES)


def _whole_keys(load: Load) -> float:
    return load.events * load.window * _KEY_BYTES


def _has_fingerprints(load: Load) -> bool:
    return _whole_keys(load) > _MOST_WHOLE_KEYS


def _event_s(load: Load) -> float:
    return _EVENT_S + _EVENT_KB_S * load.event_bytes / 1000


def _cores(load: Load, objects_s: float) -> float:
    an_event = _event_s(load)
    if _has_fingerprints(load):
        an_event += load.window / load.period * _FINGERPRINT_S
    return load.events * an_event + objects_s * _OBJECT_S + load.shards / load.poll * _POLL_S


def _costs(load: Load, processes: int, objects_s: float) -> list[Cost]:
    commits_s = _commits(load)
    plans_s = 1 / load.period
    read_s = plans_s * _with_events(load.shards, load.events * load.period)
    cleaned_s = max(load.period, load.keep / 24)
    listed = math.ceil(commits_s / load.shards * load.keep / 1000)
    manifests_s = _with_events(load.customers * load.types, load.events * 3600) / 3600
    line_bytes_s = load.events * load.event_bytes
    found = [
        _request("PUT segments", commits_s, _PUT),
        _request("PUT objects", objects_s, _PUT),
        _request("PUT manifests", manifests_s, _PUT),
        _request("PUT plans and decisions", (3 if load.window else 2) * plans_s, _PUT),
        _request("LIST to clean up", load.shards * listed / cleaned_s, _PUT),
        _request("GET segments to publish (at most)", _SEGMENT_GETS * (commits_s + read_s), _GET),
    ]
    if _has_fingerprints(load):
        looked_up_s = load.events * load.window / load.period
        found.append(_request("GET ids of the window", looked_up_s * _FINGERPRINT_GETS, _GET))
    if processes > 1:
        a_beat = math.ceil(load.shards / processes / (ROUND * BEATS))
        rows = math.ceil(load.shards * LEASE_BYTES / 4096)
        found += [
            _request("lease heartbeats", processes * a_beat * BEATS / load.failover, _WRITE),
            _request("lease table reads", processes / (2 * load.failover) * rows, _READ),
        ]
    stored = line_bytes_s * SEGMENTS * load.keep / 1e9
    decided = load.events * _KEY_BYTES * max(load.keep, load.window) / 1e9 if load.window else 0.0
    month = line_bytes_s * COMPRESSED * _MONTH_S / 1e9
    return [
        *found,
        Cost("GB of segments, kept", stored, stored * _STORED_GB_MONTH),
        Cost("GB of decisions, kept", decided, decided * _STORED_GB_MONTH),
        Cost("GB of objects, of the first month", month, month * _STORED_GB_MONTH),
    ]


def _commits(load: Load) -> float:
    """Segments a second: each shard puts one at the end of a period, and those with events more in between."""
    due = max(1.0, min(load.commit_every, load.period))
    between = load.period / due - 1
    return (load.shards + between * _with_events(load.shards, load.events * due)) / load.period


def _request(name: str, a_second: float, price: float) -> Cost:
    count = a_second * _MONTH_S
    return Cost(name, count, count * price)


def _units(load: Load) -> float:
    """PUT payload units a second, for events that are put one by one."""
    return load.events * math.ceil(load.event_bytes / _UNIT_BYTES)


def _warnings(load: Load, processes: int, wanted: int, cores: float, objects_s: float) -> list[str]:
    found = []
    shards, needed = counted(load.shards, "shard"), load.events / _SHARD_RECORDS_S
    if needed > load.shards:
        found.append(f"{shards} cannot take that: with one event in a record, {math.ceil(needed)} are needed")
    if wanted > processes:
        found.append(
            f"{wanted:,} processes would be right, but a shard is read by one process. Each of these is planned to use "
            f"{cores / processes:.0%} of a core; above {_BUSY:.0%} little is left to catch up: use {wanted:,} shards"
        )
    if load.event_bytes > sections()["event"].model_fields["max_bytes"].default:
        found.append("events above event.max_bytes are rejected, and its default is below these: the settings raise it")
    if objects_s * _OBJECT_S > load.events * _event_s(load):
        events_each = counted(round(load.events / objects_s), "event")
        found.append(
            f"an object has {events_each} on average, and takes more CPU than they do: "
            'publish.period = "1h" makes fewer, and layout.small puts small ones together'
        )
    if (beside := _rows_bytes(load, processes) - _ROWS_WITHIN) > 0:
        found.append(
            f"to deduplicate {load.events * load.period / processes / 1e6:,.1f} million events of a plan takes up to "
            f"{math.ceil(beside / MIB):,} MiB beside the memory above, for each process: give it that in resources, or "
            "set a shorter publish.period"
        )
    if load.window > load.keep:
        found.append(
            "dedup.window is longer than commit.keep: verify proves duplicates only as long as segments are kept"
        )
    if load.window * 1000 > (reach := Dedup().reach):
        found.append(
            f"dedup.reach stays at {duration_text(reach)}: an event that arrived longer than that before the end of "
            "the last published period, as of a shard that lags by days, is not compared with what was published before"
        )
    if processes == 1:
        found.append(
            'one worker with mode = "local" has no standby: while it is down, nothing is read or published. '
            'Two workers with mode = "dynamodb" take over from each other'
        )
    return found
