"""What a stream needs: processes, memory, requests and their price, from figures that were measured.

The figures are those of docs/performance.md; each names its command there. Prices are list prices of us-east-1 in
dollars: https://aws.amazon.com/s3/pricing/, https://aws.amazon.com/dynamodb/pricing/on-demand/,
https://aws.amazon.com/kinesis/data-streams/pricing/.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MIB = 1 << 20
_MONTH_S = 730 * 3600.0

# CPU, in seconds. Measured over plain HTTP: 6.5 µs an event of 984 bytes, 2.2 µs one of 200 bytes with 100 in a record.
_EVENT_S = 1.1e-6
_EVENT_KB_S = 5.5e-6
_MARGIN = 1.5
"""TLS takes 1.1 times the CPU of plain HTTP; a backlog of ten million events on 32 shards 1.4 times that of (a)."""
_OBJECT_S = 1e-3
_POLL_S = 0.63e-3
_BUSY = 0.5
"""Share of its core that a process is planned to use; the rest is for catching up."""

# Memory, in bytes.
_PROCESS = 150 * MIB
_LIMIT = 256 * MIB
_PUBLISHING = _LIMIT
"""At the default limit: 535 MiB was the most of a process that published two million events in one plan."""
_KEY_BYTES = 20
_FILTER_BYTES = 64
_FILTER_S = 600

_COMPRESSED = 0.15
"""Size of gzip objects beside the lines in them, for clickstream events of 1 KB."""

_PUT = 5e-6
_GET = 0.4e-6
_WRITE = 0.625e-6
_READ = 0.125e-6
_STORED_GB_MONTH = 0.023
_SHARD_HOUR = 0.015
_PUT_UNIT = 0.014e-6
_UNIT_BYTES = 25_600
_LEASE_BYTES = 300
_SHARD_BYTES_S = 1_000_000
_SHARD_RECORDS_S = 1000


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
    commit_every: float = 30.0
    poll: float = 2.0
    failover: float = 10.0
    keep: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind of request or storage: how many a month, and dollars a month."""

    name: str
    count: float
    dollars: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """What the load needs. Memory is bytes of one process; `keys` is the memory.keys that holds the whole window."""

    processes: int
    cores: float
    memory: int
    limit: int
    keys: int
    objects_hour: float
    costs: Sequence[Cost]
    kinesis: float
    """Dollars a month for the stream itself, with provisioned shards."""
    warnings: Sequence[str]

    @property
    def dollars(self) -> float:
        """A month, without the containers and the stream."""
        return sum(cost.dollars for cost in self.costs)


def size(load: Load) -> Sizing:
    """What `load` needs. Partitions without an event in a period cost nothing, so few events make few objects."""
    partitions = min(load.customers * load.types, load.events * load.period)
    objects_s = partitions / load.period
    cores = _cores(load, objects_s)
    processes = max(1, math.ceil(cores / _BUSY))
    keys = max(64 * MIB, math.ceil(load.events * load.window * _KEY_BYTES / MIB) * MIB)
    filter_bytes = load.events / processes * min(load.window, _FILTER_S) * _FILTER_BYTES
    memory = _PROCESS + _PUBLISHING + _LIMIT // processes + keys + int(filter_bytes)
    return Sizing(
        processes,
        cores,
        memory,
        _LIMIT,
        keys,
        objects_s * 3600,
        _costs(load, processes, objects_s),
        load.shards * _SHARD_HOUR * 730 + _units(load) * _PUT_UNIT * _MONTH_S,
        list(_warnings(load, partitions, objects_s)),
    )


def _cores(load: Load, objects_s: float) -> float:
    an_event = (_EVENT_S + _EVENT_KB_S * load.event_bytes / 1000) * _MARGIN
    return load.events * an_event + objects_s * _OBJECT_S + load.shards / load.poll * _POLL_S


def _costs(load: Load, processes: int, objects_s: float) -> list[Cost]:
    commits_s = load.shards / min(max(load.commit_every, 1.0), load.period)
    plans_s = 1 / load.period
    manifests_s = min(load.customers * load.types, load.events * 3600) / 3600
    line_bytes_s = load.events * load.event_bytes
    found = [
        _request("PUT segments", commits_s, _PUT),
        _request("PUT objects", objects_s, _PUT),
        _request("PUT manifests", manifests_s, _PUT),
        _request("PUT plans and decisions", 3 * plans_s, _PUT),
        _request("GET segments to publish (at most)", 4 * (commits_s + plans_s * load.shards), _GET),
    ]
    if processes > 1:
        rows = math.ceil(load.shards * _LEASE_BYTES / 4096)
        found += [
            _request("lease heartbeats", load.shards * 3 / load.failover, _WRITE),
            _request("lease table reads", processes / (2 * load.failover) * rows, _READ),
        ]
    stored = line_bytes_s * _COMPRESSED * load.keep / 1e9
    month = line_bytes_s * _COMPRESSED * _MONTH_S / 1e9
    return [
        *found,
        Cost("GB of segments, kept", stored, stored * _STORED_GB_MONTH),
        Cost("GB of objects, one month of them", month, month * _STORED_GB_MONTH),
    ]


def _request(name: str, a_second: float, price: float) -> Cost:
    count = a_second * _MONTH_S
    return Cost(name, count, count * price)


def _units(load: Load) -> float:
    """PUT payload units a second, for events that are put one by one."""
    return load.events * math.ceil(load.event_bytes / _UNIT_BYTES)


def _warnings(load: Load, partitions: float, objects_s: float) -> list[str]:
    found = []
    needed = max(load.events * load.event_bytes / _SHARD_BYTES_S, load.events / _SHARD_RECORDS_S)
    if needed > load.shards:
        found.append(
            f"{load.shards} shards accept less than that: with one event in a record, {math.ceil(needed)} are needed"
        )
    events_each = load.events * load.period / partitions if partitions else 0
    if objects_s * _OBJECT_S > load.events * _EVENT_S * 10:
        found.append(
            f"an object has {events_each:.0f} events on average, and costs more than they do: "
            'publish.period = "1h" makes fewer'
        )
    if load.window > load.keep:
        found.append(
            "dedup.window is longer than commit.keep: verify proves duplicates only as long as segments are kept"
        )
    return found
