"""The table of all simulated faults, with their rates.

Each run draws its own conditions: which faults occur (`share` of the runs have one), and at what rate. A run with all
faults at once would test few of them well; many runs with different subsets find more (Groce et al., Swarm Testing).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple


class Fault(NamedTuple):
    """One row: it occurs in `share` of all runs, at a rate drawn from low..high, `per` call, hour, event or life."""

    name: str
    share: float
    low: float
    high: float
    per: str
    what: str


TABLE = (
    # The store.
    Fault("store.error", 0.4, 0.01, 0.15, "call", "500, 503 or a lost connection; nothing happened"),
    Fault("store.conflict", 0.3, 0.01, 0.2, "put", "409: another conditional write is in progress; nothing happened"),
    Fault("store.lost_reply", 0.5, 0.02, 0.3, "put", "the write takes effect, but its reply is lost"),
    Fault("store.late_put", 0.4, 0.01, 0.15, "put", "times out, but takes effect minutes or hours later"),
    Fault("store.slow", 0.4, 0.02, 0.3, "call", "takes seconds, up to a minute"),
    Fault("store.slow_list", 0.4, 0.1, 0.9, "list", "pages of a few keys, seconds apart"),
    Fault("store.disk_full", 0.15, 0.2, 1.0, "hour", "for minutes every write is refused"),
    Fault("store.denied", 0.1, 0.2, 1.0, "hour", "for minutes every call is denied"),
    # The stream.
    Fault("stream.error", 0.4, 0.01, 0.1, "call", "500, or a lost connection"),
    Fault("stream.slow", 0.3, 0.01, 0.1, "call", "takes seconds, sometimes longer than an iterator is valid"),
    Fault("stream.irregular", 0.4, 0.05, 0.5, "reply", "empty or short pages before the tip, lag at the tip"),
    Fault("stream.stale_list", 0.2, 0.1, 0.8, "call", "ListShards shows closed parents as open"),
    Fault("stream.short_list", 0.2, 0.02, 0.3, "call", "ListShards omits a shard"),
    Fault("stream.null_iterators", 0.3, 1, 1, "life", "no iterator for a closed shard that has been read"),
    Fault("stream.no_iterator", 0.3, 0.01, 0.2, "call", "a reply has no iterator, although records are left"),
    Fault("stream.false_end", 0.3, 0.01, 0.2, "page", "a page has no next iterator, although records are left"),
    Fault("stream.single_wrong_date", 0.3, 0.01, 0.2, "reply", "its Date is wrong by minutes or days"),
    Fault("stream.wrong_dates", 0.2, 0.3, 2.0, "hour", "every Date is wrong by the same time, for up to an hour"),
    Fault("stream.split", 0.5, 0.3, 3.0, "hour", "a shard splits"),
    Fault("stream.merge", 0.4, 0.3, 3.0, "hour", "two adjacent shards merge, perhaps children of a split"),
    Fault("stream.trim", 0.15, 1, 1, "life", "retention is half an hour: slow readers lose records, shards vanish"),
    Fault("stream.heavy", 0.15, 1000, 25000, "byte", "counts as thousands: full pages, 2 MiB a second, 5 s of refusal"),
    Fault("stream.past", 0.15, 1, 1, "life", "has records and splits before the first start, which is at `latest`"),
    Fault("stream.backwards", 0.3, 0.02, 0.3, "event", "arrival times go back by seconds or minutes"),
    # The processes.
    Fault("process.second", 0.6, 1, 1, "life", "a second process works on the same shards"),
    Fault("process.crash_call", 0.4, 0.1, 0.7, "life", "dies before or after some call of a port"),
    Fault("process.crash", 0.4, 0.5, 6.0, "hour", "dies at any moment"),
    Fault("process.stop", 0.3, 0.3, 2.0, "hour", "gets SIGTERM, and is started again"),
    Fault("process.drain", 0.2, 0.1, 0.6, "life", "is started with --drain"),
    Fault("process.pause", 0.4, 1.0, 6.0, "hour", "is paused for seconds or a minute"),
    Fault("process.zombie", 0.3, 0.3, 1.5, "hour", "is paused for 15 minutes to hours, then continues"),
    Fault("process.settings", 0.4, 0.2, 1.0, "life", "starts with a different period, lateness, window or sizes"),
    Fault("process.version", 0.1, 0.2, 0.8, "life", "is a newer version: older ones cannot read its segments"),
    Fault("process.tight", 0.15, 1, 1, "life", "has a memory limit of a few records"),
    Fault("process.slow_threads", 0.3, 0.05, 0.4, "call", "work off the event loop takes seconds"),
    Fault(
        "process.credentials",
        0.2,
        0.3,
        2.0,
        "hour",
        "a renewal fails: for minutes all calls are denied, or fail",
    ),
    Fault("clock.skew", 0.3, 1, 1, "life", "local clocks are wrong by seconds or hours"),
    # What operators and producers do.
    Fault("operator.close", 0.25, 0.3, 2.0, "hour", "an operator advances `closed_before` of a log (`vortex close`)"),
    Fault("operator.max_delay", 0.2, 1, 1, "life", "hours.max_delay is set"),
    Fault("traffic.duplicate", 0.8, 0.05, 0.5, "event", "sent again: in the page, later, or near the window's end"),
    Fault("traffic.altered", 0.3, 0.1, 0.5, "duplicate", "has the same id but different content"),
    Fault("traffic.no_id", 0.3, 0.02, 0.3, "event", "has no id, so its content identifies it"),
    Fault("traffic.late", 0.4, 0.02, 0.3, "event", "its own time is minutes to days ago"),
    Fault("traffic.early", 0.3, 0.02, 0.2, "event", "its own time is minutes to days ahead"),
    Fault("traffic.timeless", 0.2, 0.02, 0.3, "event", "its own time is missing or unreadable"),
    Fault("traffic.broken", 0.4, 0.02, 0.2, "event", "invalid JSON, no customer, or not an object: a rejection"),
    Fault("traffic.poison", 0.2, 0.02, 0.2, "burst", "whole pages of rejections only"),
    Fault("traffic.batch", 0.3, 0.05, 0.5, "event", "several events in one record: lines, an array, gzip, KPL"),
    Fault("traffic.idle", 0.3, 0.2, 0.8, "shard", "part of the hash key space gets no records"),
    Fault("traffic.hot", 0.3, 0.3, 0.9, "event", "one partition key gets most records"),
    Fault("traffic.many", 0.05, 1, 1, "life", "thousands of partitions"),
    # The lease table, where a fleet shares the shards.
    Fault("table.error", 0.4, 0.01, 0.3, "call", "500, or throttled; nothing happened"),
    Fault("table.lost_reply", 0.4, 0.01, 0.2, "call", "it takes effect, but its reply is lost"),
    Fault("table.slow", 0.3, 0.01, 0.1, "call", "takes seconds, sometimes longer than the failover time"),
    Fault("table.stale", 0.3, 0.05, 0.5, "look", "returns the rows of minutes ago"),
    Fault("table.cut", 0.4, 0.5, 4.0, "hour", "one process cannot reach it, for seconds or up to half an hour"),
    Fault("table.restore", 0.3, 0.2, 1.0, "hour", "it is restored to an hour ago"),
    # The disk of a process. New rows come last: so all seeds keep the faults that they have.
    Fault("process.scratch", 0.3, 0.02, 0.5, "call", "a scratch file cannot be made, written or read"),
    Fault("process.zstd", 0.3, 0.2, 1.0, "life", 'starts with layout.compression = "zstd"; others have gzip'),
    Fault("process.small", 0.3, 0.2, 1.0, "life", "starts with layout.small: its plans have bundles"),
    Fault("process.scratch_full", 0.3, 0.5, 4.0, "hour", "for minutes scratch files take no more bytes"),
    Fault("stream.no_arrivals", 0.3, 0.02, 0.5, "page", "its arrival times are impossible: 1970, or far ahead"),
    Fault("stream.no_lag", 0.3, 0.1, 1.0, "page", "shows no lag, although records are left, as emulators do"),
    Fault("process.outage", 0.3, 0.2, 1.5, "hour", "no process runs for about dedup.reach and dedup.window, or longer"),
)


class Conditions:
    """The faults of one run, including the `wanted` ones. `end` stops them all."""

    def __init__(self, seed: int, wanted: Sequence[str] = ()) -> None:
        rng = Random(f"weather {seed}")  # the text is part of each seed
        mood = rng.choice((0.3, 1.0, 1.0, 1.3))
        self.rates: dict[str, float] = {}
        for fault in TABLE:
            drawn, rate = rng.random() < fault.share * mood, rng.uniform(fault.low, fault.high)
            if drawn or fault.name in wanted:
                self.rates[fault.name] = rate
        self.ended = False
        self._now = _NONE | self.rates

    def rate(self, name: str) -> float:
        """The fault's rate now; 0 if this run does not have it, or faults have ended. Raises KeyError."""
        return self._now[name]

    def occurs(self, name: str, rng: Random) -> bool:
        """Whether the fault occurs this time. Raises KeyError."""
        rate = self._now[name]
        return rate > 0 and rng.random() < rate

    def end(self) -> None:
        """No fault occurs from now on."""
        self.ended = True
        self._now = _NONE


_NONE = dict.fromkeys((fault.name for fault in TABLE), 0.0)
