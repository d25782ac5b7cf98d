"""A model of commits that several shards share, for docs/decisions/0018-a-commit-belongs-to-one-shard.md.

A worker writes one log, its group log: entry m holds segments of every shard it has. Putting entry m if it is absent
commits all of them. A worker that takes over a shard puts a fence into the log where the shard is, under that log's
next number: after the fence the shard's segments no longer count there. The shard continues in the worker's own log.

    python -m tests.models.group_log --seeds 2000            # the protocol: no violation
    python -m tests.models.group_log --seeds 300 --bug NAME  # a planted bug: found
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

BUGS = ("no_fence", "fence_not_read", "join_without_fence", "pending_join_ignored", "stale_end")
_SHARDS, _WORKERS, _STEPS, _SETTLE = 3, 3, 600, 2000


class Violation(Exception):
    """What must never happen."""


@dataclass
class Entry:
    """One entry of a group log. A segment is (n, first event, last event).

    A fence names a shard, its next log, from which entry on it may stand there, and the fence that brought the shard
    to the log where it is now (None: it began there). A fence put by somebody who looked long ago names an older one,
    and moves nothing.
    """

    owner: str
    segments: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    joins: dict[int, tuple[str, int]] = field(default_factory=dict)
    fence: tuple[int, str, int, tuple[str, int] | None] | None = None


@dataclass
class Place:
    """Where a shard stands: in which log, from which entry on it counts there, the next n and event."""

    log: str
    since: int
    n: int = 0
    event: int = 0
    came_by: tuple[str, int] | None = None
    """The fence that brought it to this log; None in its first."""
    pending: bool = False
    """Whether this log has not taken it up yet."""


class Unknown(Exception):
    """The put may have taken effect, or may later."""


class Store:
    """Put if absent, with replies that are lost and writes that come late."""

    def __init__(self, rng: Random) -> None:
        self.entries: dict[tuple[str, int], Entry] = {}
        self.late: list[tuple[int, tuple[str, int], Entry]] = []
        self.rng, self.step, self.calm = rng, 0, False

    def put(self, key: tuple[str, int], entry: Entry) -> bool:
        """Whether it was absent. Raises Unknown."""
        chance = 1.0 if self.calm else self.rng.random()
        if chance < 0.05:
            self.entries.setdefault(key, entry)
        elif chance < 0.10:
            self.late.append((self.step + self.rng.choice((3, 40, 200)), key, entry))
        if chance < 0.12:
            raise Unknown
        return self.entries.setdefault(key, entry) is entry

    def tick(self) -> None:
        """Late writes land."""
        self.step += 1
        for row in [row for row in self.late if row[0] <= self.step]:
            self.late.remove(row)
            self.entries.setdefault(row[1], row[2])

    def end(self, log: str) -> int:
        """The first number that is free."""
        m = 0
        while (log, m) in self.entries:
            m += 1
        return m


def walk(store: Store, shard: int) -> Place:
    """Follow a shard from log to log, to where it stands now. Every reader finds the same."""
    at = Place("w0", 0)
    m = 0
    while (entry := store.entries.get((at.log, m))) is not None:
        if at.pending and entry.joins.get(shard) == at.came_by:
            at.pending, at.since = False, m
        if not at.pending and shard in entry.segments:
            n, first, last = entry.segments[shard]
            if (n, first) != (at.n, at.event):
                raise Violation(f"shard {shard}: segment {n} from {first} where {at.n} from {at.event} is due")
            at.n, at.event = n + 1, last
        if entry.fence is not None and entry.fence[0] == shard and (entry.fence[3] == at.came_by):
            at = Place(entry.fence[1], entry.fence[2], at.n, at.event, (at.log, m), pending=True)
            m = entry.fence[2]
            continue
        m += 1
    return at


class Worker:
    """One process. It reads its shards, commits them together, and takes others' over."""

    def __init__(self, name: str, store: Store, stream: list[int], rng: Random, bug: str, fleet: list[Worker]) -> None:
        self.name, self.store, self.stream, self.rng, self.bug, self.fleet = name, store, stream, rng, bug, fleet
        self.m = store.end(name)
        self.held: dict[int, Place] = {}
        self.joins: dict[int, tuple[str, int]] = {}

    def life(self) -> Iterator[None]:
        """Commits and takeovers, in any order, with pauses between any two looks at the store."""
        while True:
            yield
            shard = self.rng.randrange(_SHARDS)
            # Once faults have stopped, leases are right: a shard is taken only where nobody works on it.
            if self.rng.random() < 0.15 and not (self.store.calm and any(shard in one.held for one in self.fleet)):
                yield from self.take(shard)
            elif self.held:
                yield from self.commit()

    def commit(self) -> Iterator[None]:
        """One entry for all shards held. Its number is taken: read what stands there, and try the next one."""
        segments = {s: (p.n, p.event, min(self.stream[s], p.event + 3)) for s, p in self.held.items()}
        if not self.joins:
            segments = {s: row for s, row in segments.items() if row[2] > row[1]}
        if not segments:
            return
        entry = Entry(self.name, segments, dict(self.joins))
        while True:
            yield
            try:
                mine = self.store.put((self.name, self.m), entry) or self.store.entries[self.name, self.m] is entry
            except Unknown:
                continue  # the same bytes again, under the same number
            there = self.store.entries[self.name, self.m]
            self.m += 1
            if mine:
                break
            yield
            if there.fence is not None and self.bug != "fence_not_read":
                gone = there.fence[0]
                self.held.pop(gone, None)
                self.joins.pop(gone, None)
                rest = {s: row for s, row in entry.segments.items() if s != gone}
                entry = Entry(self.name, rest, dict(self.joins))
            if not entry.segments:
                return
        for shard, (n, _, last) in entry.segments.items():
            if shard in self.held:
                self.held[shard].n, self.held[shard].event = n + 1, last
        self.joins = {s: at for s, at in self.joins.items() if s not in entry.joins}

    def take(self, shard: int) -> Iterator[None]:
        """Fence the shard where it stands, then take it up from there."""
        if shard in self.held:
            return
        while True:
            at = walk(self.store, shard)
            yield
            if at.log == self.name:
                if self.name != "w0" or at.n or at.since:
                    return  # fenced for this worker in an earlier life: another one moves it on
                self.held[shard] = at
                return
            if self.bug == "no_fence":
                break
            if at.pending and at.came_by and self.bug == "pending_join_ignored":
                self.held[shard], self.joins[shard] = Place(self.name, self.m, at.n, at.event), at.came_by
                return
            m = self.store.end(at.log)
            if self.bug == "stale_end":
                m = max(0, m - 1)
            yield
            fence = Entry(self.name, fence=(shard, self.name, self.m, at.came_by))
            key = (at.log, m)
            try:
                won = self.store.put(key, fence) or self.store.entries[key] is fence
            except Unknown:
                won = self.store.entries.get(key) is fence
            if self.bug == "stale_end":
                won = True
            if won:
                # What was committed between the look and the fence counts, so the log is read once more.
                after = at if self.bug == "join_without_fence" else walk(self.store, shard)
                if self.bug not in ("join_without_fence", "stale_end") and after.came_by != key:
                    continue
                self.held[shard] = Place(self.name, self.m, after.n, after.event)
                self.joins[shard] = key
                return
        self.held[shard] = Place(self.name, self.m, at.n, at.event)


def run(seed: int, bug: str = "") -> int:
    """One schedule; how many segments were committed. Raises Violation."""
    rng = Random(f"{bug} {seed}")
    store, stream = Store(rng), [0] * _SHARDS
    fleet: list[Worker] = []
    lives: list[Iterator[None]] = []
    names = iter(range(10_000))
    for step in range(_STEPS + _SETTLE):
        store.calm = step >= _STEPS
        store.tick()
        if not store.calm and rng.random() < 0.3:
            stream[rng.randrange(_SHARDS)] += 1
        if not store.calm and lives and rng.random() < 0.01:
            killed = rng.randrange(len(lives))
            del lives[killed], fleet[killed]  # its log stays
        while len(lives) < _WORKERS:
            fleet.append(Worker(f"w{next(names)}", store, stream, rng, bug, fleet))
            lives.append(fleet[-1].life())
        next(rng.choice(lives))
        if step % 25 == 0:
            for shard in range(_SHARDS):
                walk(store, shard)
    for shard in range(_SHARDS):
        at = walk(store, shard)
        if at.event != stream[shard]:
            raise Violation(f"shard {shard}: {at.event} of {stream[shard]} events committed")
    counted = [row for entry in store.entries.values() for row in entry.segments.items()]
    return len(counted)


def main() -> None:
    """Run schedules; print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--bug", choices=BUGS, default="")
    arguments = parser.parse_args()
    segments = violations = 0
    first = ""
    for seed in range(arguments.seeds):
        try:
            segments += run(seed, arguments.bug)
        except Violation as problem:
            violations += 1
            first = first or f"seed {seed}: {problem}"
    print(f"{arguments.seeds} schedules, {segments} segments, {violations} with a violation. {first}")


if __name__ == "__main__":
    main()
