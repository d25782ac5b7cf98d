"""Checks the invariants of the design on store, stream and leases: at every write, and at the end.

Only effects count: a check looks at what reached the store, whatever a process intended.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

import msgspec
import numpy as np
import xxhash

from simulation.allowance import CALLS_PER_SECOND, FULL_PAGE_PENALTY_S
from simulation.draincheck import Drains
from simulation.logchecks import LogModel, Segment, parsed
from simulation.memstream import MemoryStream
from simulation.plancheck import PlanModel, text_of
from simulation.process import FOLLOWS, Process, following
from simulation.simstore import SimStore, StoreView
from simulation.traffic import Traffic
from simulation.vtime import VirtualClock
from vortex.config.settings import Settings
from vortex.core.dedup.keys import Keys
from vortex.core.fleet.lease import Lease
from vortex.core.invariants import Invariant
from vortex.core.layout import hour_of, moment
from vortex.core.log.rules import LEAST_KEEP_MS, StreamState
from vortex.core.log.segment import Footer
from vortex.core.log.trailer import CorruptSegment
from vortex.verify.store import verify_store

_SEGMENT = re.compile(r"_vortex/[^/]+/shards/([^/]+)/(\d{12})\.seg$")
_PLAN = re.compile(r"_vortex/[^/]+/plans/(\d{10})/(plan|done)(?:-(\d+))?\.json$")
_DECIDED = re.compile(r"_vortex/[^/]+/dedup/(\d{10})-(\d+)$")
_GROUP = re.compile(r"_vortex/[^/]+/dedup/(\d{10})-\d+-ids$")

_CLEANED_WITHIN_MS = 1_800_000


class Checker:
    """Checks a run. `failed` is set at the first violation; `violations` describes it."""

    def __init__(
        self,
        store: SimStore,
        stream: MemoryStream,
        traffic: Traffic,
        clock: VirtualClock,
        say: Callable[[str, str], None],
    ) -> None:
        self.violations: list[str] = []
        self.failed = asyncio.Event()
        self.late_segments = 0
        self._store, self._stream, self._traffic, self._clock, self._say = store, stream, traffic, clock, say
        self._logs = LogModel(traffic.records, self.violated, clock.now_ms, stream.retention_ms)
        self._plans = PlanModel(store, self._logs, self.violated, stream.listed)
        self._digests: dict[str, str] = {}
        self._sample = Random(0)
        self._delayed: dict[str, Process] = {}
        self._drains = Drains(traffic.records, self._logs)
        self._done_at: dict[int, int] = {}
        self.faults_ended_at = 0
        """When faults stopped."""
        self._behind_ms = 0
        """How far the slowest local clock of any process is behind: nothing is old by it before."""
        rates = traffic.conditions.rates
        self._logs.wrong_dates = any(rates.get(name) for name in ("stream.single_wrong_date", "stream.wrong_dates"))

    @property
    def logs(self) -> dict[str, list[Segment]]:
        """All logs as committed, including cleaned-up segments."""
        return self._logs.logs

    @property
    def settings(self) -> dict[str, Settings]:
        """The settings of every process so far, by owner."""
        return self._logs.settings

    def head(self, shard: str) -> Segment | None:
        """The newest segment of a log."""
        return self.logs[shard][-1] if self.logs.get(shard) else None

    def begins(self) -> None:
        """Check every write from now on."""
        self._store.on_write, self._store.on_delete = self._written, self._deleted

    def violated(self, invariant: Invariant, what: str) -> None:
        """Record a violation; it ends the run."""
        self.violations.append(f"{invariant}: {what}")
        self._say("VIOLATION", f"{invariant}: {what}")
        self.failed.set()

    # At every write.

    def _written(self, key: str, body: bytes) -> None:
        digest, again = xxhash.xxh3_128_hexdigest(body), key in self._digests
        if (found := _SEGMENT.match(key)) is not None:
            self._segment(found[1], int(found[2]), key, body)
            return
        if self._digests.setdefault(key, digest) != digest:
            kept = Invariant.DECISIONS_NEVER_CHANGE if _DECIDED.match(key) else Invariant.WRITTEN_ONCE
            self.violated(kept, f"{key}: was written before with different content")
        if (found := _DECIDED.match(key)) is not None:
            if not again:
                self._plans.decided(int(found[1]), int(found[2]), body)
                self._check_memory()
            return
        if _GROUP.match(key):
            return  # what is in it shows in the decisions
        if (found := _PLAN.match(key)) is not None:
            if found[2] == "plan":
                self._plans.plan(int(found[1]), body)
            elif found[3]:
                self._plans.part(int(found[1]), int(found[3]), body)
            else:
                self._plans.finished(int(found[1]), body)
                self._done_at.setdefault(int(found[1]), self._clock.now_ms())
        elif key.startswith("_hours/"):
            self._plans.hour(key, body)
        elif key.endswith("/stream.json"):
            self._plans.begins(json.loads(body))
            self._logs.begins(msgspec.json.decode(body, type=StreamState), self._stream.shards())
        elif key.startswith("_bundles/"):
            self._plans.bundle(key, body)
        elif not key.startswith("_manifests/"):
            self._plans.object(key, text_of(key, body).split(b"\n")[:-1])

    def _segment(self, shard: str, n: int, key: str, body: bytes) -> None:
        log = self.logs.get(shard, [])
        if n < len(log):
            self.late_segments += 1  # a late write to a cleaned-up number: it is never read
            return
        if n > len(log):
            self.violated(Invariant.WHOLE_LOGS, f"{key}: was written when the log had {len(log)} segments, a hole")
            return
        try:
            segment = parsed(key, body)
        except CorruptSegment as problem:
            self.violated(Invariant.WHOLE_LOGS, str(problem))
            return
        if self._plans.plans and any(period < self._plans.upto for period in segment.footer.periods):
            self.violated(
                Invariant.CLOSED_HOURS, f"{key}: has rows before {moment(self._plans.upto)}, which a plan has closed"
            )
        self._logs.add(shard, segment)
        if self._plans.plans:
            self._plans.walks.came(self._plans.plans[-1]["arrived"][0], segment.rows)

    def _deleted(self, key: str) -> None:
        if (found := _SEGMENT.match(key)) is not None:
            self._plans.deleted(found[1], int(found[2]))
        elif (found := _DECIDED.match(key)) is not None:
            self._plans.deleted_decision(int(found[1]), int(found[2]))
        elif (found := _GROUP.match(key)) is not None:
            self._plans.deleted_ids(int(found[1]))
        else:
            self.violated(Invariant.WRITTEN_ONCE, f"{key}: was deleted; nothing but segments and decisions may be")

    # Reported by processes.

    def began(self, process: Process) -> None:
        """A process starts."""
        self.settings[process.owner] = process.settings
        self._behind_ms = max(self._behind_ms, -process.skew_ms)
        self._delayed[process.owner] = process
        if process.drain:
            self._drains.began(process.owner)

    def drained(self, process: Process) -> None:
        """A drain has ended: every record that was put before it began must be committed, or have expired."""
        if left := self._drains.left(process.owner, self._clock.now_ms() - self._stream.retention_ms):
            self.violated(Invariant.COMPLETE_AND_ONCE, f"{process.owner} drained, but left {left}")

    def read(self, process: Process, shard: str) -> None:
        """A shard is about to be read: the logs of its parents must have ended."""
        early = [parent for parent in self._logs.parents.get(shard, ()) if not self._logs.ended(parent)]
        if early:
            self.violated(
                Invariant.PARENTS_FIRST, f"{process.owner} reads {shard}, whose parents {early} have not ended"
            )

    def untimed(self, shard: str, sequences: Iterable[int]) -> None:
        """A reply had impossible arrival times for these records."""
        self._logs.untimed.update((shard, sequence) for sequence in sequences)

    def lease_removed(self, shard: str) -> None:
        """A worker has removed a row of the lease table."""
        self._plans.forgets.row_removed(shard)

    def lease_written(self, row: Lease) -> None:
        """A lease was written: it must not be ahead of the log, since a KCL application may continue from it."""
        shard, checkpoint = row.key, row.checkpoint
        if checkpoint.ended and not self._logs.ended(shard):
            self.violated(Invariant.LEASES_TRAIL_LOGS, f"the lease of {shard} is at SHARD_END, its log has not ended")
        if checkpoint.numbered and int(checkpoint.sequence) > (covered := self._logs.covered(shard)):
            self.violated(
                Invariant.LEASES_TRAIL_LOGS,
                f"the lease of {shard} is at {checkpoint.sequence}, but its log ends at {covered}",
            )

    def committed(self, process: Process, shard: str, footer: Footer) -> None:
        """A worker reports a commit: it must be in the log, and the worker's memory must be within the limit."""
        log = self.logs.get(shard, [])
        if (shard, footer.n) in self._plans.cleaned:
            return  # it paused while others continued and cleaned up: this segment is never read
        if footer.n >= len(log) or log[footer.n].footer.owner != footer.owner:
            self.violated(
                Invariant.WHOLE_LOGS,
                f"{process.owner} reports a commit of segment {footer.n} of {shard}, which is not its own",
            )
            return
        assert process.app is not None
        worker = process.app.fleet.workers.get(shard)
        if worker is None or not hasattr(worker, "_ingest"):
            return
        memory = worker._ports.memory
        # Where bytes count as thousands, pages do not have the size that they state.
        used = memory.lines if self._traffic.conditions.rates.get("stream.heavy") else memory.used
        shards = len(process.app.fleet.workers)
        if process.settings.memory.limit == FOLLOWS and memory.limit > following(shards):
            self.violated(
                Invariant.LIMITS_KEPT, f"{process.owner} has a limit of {memory.limit} bytes with {shards} shards"
            )
        pages = self._traffic.page_bytes * shards
        if used <= memory.limit + pages:
            process.allowed = memory.limit
        elif used > process.allowed + pages:  # a limit that has fallen takes nothing back
            self.violated(Invariant.LIMITS_KEPT, f"{process.owner} uses {used} bytes, but the limit is {memory.limit}")
        pending = worker._ingest.pending
        if pending.events != pending.accepted + pending.filtered + pending.rejected:
            self.violated(Invariant.SUMS_AGREE, f"{process.owner}, {shard}: pending {pending}")

    def _check_memory(self) -> None:
        """The published keys in a process's memory must equal those of their files."""
        for process in self._delayed.values():
            if process.dead or process.app is None or self._sample.random() > 0.3:
                continue
            for k, (part, of), keys in process.app.publisher.dedup.keys.held():
                parts = self._plans.plans[k]["parts"]
                files = [key for one in range(parts) for key in self._plans.walks.files.get((k, one), ())]
                mine = [key for key in files if int.from_bytes(key[:8]) * of >> 64 == part]
                if isinstance(keys, Keys):
                    pairs = zip(keys.high.tolist(), keys.low.tolist(), strict=True)
                    right = [high.to_bytes(8) + low.to_bytes(8) for high, low in pairs] == mine
                else:
                    right = all(keys.may_have(np.array([int.from_bytes(key[:8]) for key in mine], dtype=np.uint64)))
                if not right:
                    self.violated(
                        Invariant.KEYS_IN_MEMORY_MATCH,
                        f"{process.owner}: its keys of plan {k} in memory differ from the files",
                    )

    # At the end.

    def unsettled(self, slowest_ms: int) -> str | None:
        """What is still missing after faults have ended, or None."""
        for shard in self._traffic.records:
            if waiting := self._waiting(shard):
                return f"{waiting} records of {shard} are not committed"
        plans, now = self._plans, self._clock.now_ms()
        if plans.done < len(plans.plans) - 1:
            return f"plan {plans.done + 1} is not done"
        last = max((p for log in self.logs.values() for one in log for p in one.footer.periods), default=0)
        if last >= plans.published and last:
            return f"period {moment(last)} is not published; the last plan ends at {moment(plans.published)}"
        if hour_of(now - slowest_ms - 600_000) > plans.published:
            return f"hours are open from {moment(plans.published)} on"
        return None

    def uncommitted(self) -> int:
        """The number of records that no log has yet."""
        return sum(map(self._waiting, self._traffic.records))

    def _waiting(self, shard: str) -> int:
        covered, lost = self._logs.covered(shard), self._logs.lost
        return sum(one.sequence > covered and not lost(shard, one) for one in self._logs.covers(shard))

    async def finish(self) -> None:
        """Check all records and all calls; `vortex verify` must find no fault either."""
        segments = [one for log in self.logs.values() for one in log]
        accepted = Counter(line for one in segments for lines in one.lines.values() for line in lines)
        accepted -= self._plans.walks.dropped_lines(self._plans.done)
        published: Counter[bytes] = Counter()
        for key, body in self._store.objects.items():
            if not key.startswith(("_vortex/", "_hours/", "_manifests/")):
                published.update(text_of(key, body).split(b"\n")[:-1])
        if accepted != published:
            lost, more = accepted - published, published - accepted
            self.violated(
                Invariant.COMPLETE_AND_ONCE,
                f"{lost.total()} lines not published, {more.total()} too many: {[*lost, *more][:2]}",
            )
        self._plans.finish()
        self._check_cleaned()
        self._check_calls()
        report = await verify_store(_Plain(self._store))
        for fault in report.faults:
            self.violated(fault.invariant, f"vortex verify: {fault.key}: {fault.what}")

    def _check_cleaned(self) -> None:
        """Decisions that no plan needs any more must be deleted, and ids of done plans, even if they were put late."""
        keep = max((settings.commit.keep for settings in self.settings.values()), default=0)
        keep = max(keep, LEAST_KEEP_MS)
        every = max((settings.publish.period for settings in self.settings.values()), default=0)
        if self._clock.now_ms() - self.faults_ended_at < 2 * max(every, keep // 24) + 600_000:
            return  # a process that was paused, or had a wrong clock, cleans up later
        rows = self._store.page("_vortex/", "", 10**6)
        latest = self._clock.now_ms() - max(every, keep // 24) - _CLEANED_WITHIN_MS - self._behind_ms
        # Nothing is old by the store's time before the logs show that time.
        shown = (row.modified_ms for row in rows if _SEGMENT.match(row.key) and row.modified_ms <= latest)
        oldest = max(shown, default=0) - keep
        since = max((self._plans.plans[k]["since"] for k, at in self._done_at.items() if at < oldest), default=0)
        for row in rows:
            group = _GROUP.match(row.key)
            if group and max(row.modified_ms, self._done_at.get(int(group[1]), latest)) < latest:
                self.violated(Invariant.KEYS_IN_MEMORY_MATCH, f"{row.key}: still exists, but its plan is done")
            found = _DECIDED.match(row.key) or group
            if found and int(found[1]) < since and row.modified_ms < oldest:
                self.violated(
                    Invariant.KEYS_IN_MEMORY_MATCH,
                    f"{row.key}: still exists, but plans need only {since} and later ones",
                )

    def _check_calls(self) -> None:
        for shard, calls in self._stream.calls.items():
            times: dict[str, list[float]] = {}
            refused: dict[str, float] = {}
            for call in calls:
                if call.operation == "read":
                    times.setdefault(call.caller, []).append(call.at_s)
                    if call.at_s < refused.get(call.caller, 0.0):
                        self.violated(
                            Invariant.LIMITS_KEPT, f"{call.caller} reads {shard} too soon after a page of 10 MiB"
                        )
                    if call.outcome == "full":
                        refused[call.caller] = call.at_s + FULL_PAGE_PENALTY_S - 0.001
                    if call.outcome == "expired" and not self._delayed[call.caller].delayed:
                        self.violated(Invariant.LIMITS_KEPT, f"{call.caller} used an expired iterator of {shard}")
            for caller, at in times.items():
                for early, late in zip(at, at[CALLS_PER_SECOND:], strict=False):
                    if late - early < 0.999:
                        self.violated(
                            Invariant.LIMITS_KEPT,
                            f"{caller} made six calls to {shard} within a second, from {early:.3f} on",
                        )
                        break

    def numbers(self) -> dict[str, int]:
        """Counts of what happened in the run, to show that it tested something."""
        segments = [one for log in self.logs.values() for one in log]
        return {
            "records": sum(map(len, self._traffic.records.values())),
            "shards": len(self._stream.shards()),
            "segments": len(segments),
            "filtered": sum(one.footer.counts.filtered for one in segments),
            "dropped": self._plans.walks.dropped_of(range(2**62)),
            "rejected": sum(one.footer.counts.rejected for one in segments),
            "late": sum(one.footer.counts.late for one in segments),
            "advances": sum(one.footer.advances for one in segments),
            "gaps": self._logs.gaps,
            "late_segments": self.late_segments,
            "plans": len(self._plans.plans),
            "hours": len(self._plans.closed),
            "bundles": self._plans.bundles.number,
            "forgotten": len(self._plans.forgets.forgotten),
            "rows_removed": self._plans.forgets.rows_removed,
        }

    def digests(self) -> dict[str, str]:
        """Of each object in the store."""
        return {key: xxhash.xxh3_128_hexdigest(body) for key, body in sorted(self._store.objects.items())}


class _Plain(StoreView):
    """The store without faults."""

    def __init__(self, store: SimStore) -> None:
        from simulation.faults import Conditions

        none = Conditions(0)
        none.end()
        super().__init__(store, _Open(), none, Random(0), lambda what: None)


class _Open:
    halted = False

    async def gate(self, what: str) -> None:
        """Nothing in the way."""

    async def awake(self) -> None:
        """Nothing in the way."""
