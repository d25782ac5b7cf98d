"""Reads a store and checks the invariants on it: logs, plans, objects, hours, and the sums between them.

The invariants are those of `vortex.core.invariants` that are `on_store`. The content of cleaned-up segments is not
compared.
"""

from __future__ import annotations

import asyncio

from vortex.core.invariants import Invariant
from vortex.core.layout import HOURS, MANIFESTS, STATE
from vortex.core.log.rules import BrokenLog, Damaged, SegmentHeader, StreamState, check_follows, segment_key
from vortex.core.log.segment import Counts, check_blob, decompress, member_offsets
from vortex.core.log.trailer import CorruptSegment, OtherVersion
from vortex.core.publish.contents import Done, closed_hours, done, hour_documents
from vortex.core.publish.plan import LogView, Plan, live_and_retired
from vortex.log.store import LogStore
from vortex.ports import NotFound, ObjectStore
from vortex.retry import Once
from vortex.verify.decisions import DecisionProof
from vortex.verify.published import ObjectProof, Report

_PARALLEL = 16
_ATTEMPTS = 3
"""Passes over a store that is being written to; keys written after the last pass are left to the next run."""
_SUMMED = ("events", "accepted", "filtered", "rejected", "late", "early", "untimed", "bytes")


async def verify_store(store: ObjectStore, stream: str = "") -> Report:
    """Check everything below the store's root. Work in progress of a running worker gives notes, never faults.

    A store without state is a fault, since nothing can be checked; so is a store of a stream other than `stream`.
    """
    for _ in range(_ATTEMPTS):
        report, streams, strays = await _scan(store, stream)
        if not streams:
            return report
        if not (strays or report.faults) or not any([await one.advanced() for one in streams]):
            break
    else:
        report.notes.append(f"{len(strays)} keys were written during this run and were not checked: {strays[:1]}")
        return report
    own = (f"{STATE}/", f"{HOURS}/", f"{MANIFESTS}/")
    for key in strays:
        report.fault(
            Invariant.CLOSED_HOURS if key.startswith(own) else Invariant.WRITTEN_ONCE, key, "is named by no plan"
        )
    return report


async def _scan(store: ObjectStore, stream: str) -> tuple[Report, list[_Stream], list[str]]:
    """The report, the streams it covers, and the keys that belonged to no plan at that time."""
    report = Report()
    streams = [name async for name in store.list_folders(f"{STATE}/") if "@" in name]
    if not streams:
        report.fault(
            Invariant.STATE_IS_THERE,
            store.url,
            f"holds no Vortex state, so there is nothing to verify; {await _contents(store)}",
        )
        return report, [], []
    if stream and all(name.rpartition("@")[0] != stream for name in streams):
        report.fault(
            Invariant.STATE_IS_THERE, store.url, f"holds the state of {', '.join(streams)}, not of stream {stream}"
        )
    proofs = [_Stream(LogStore(store, f"{STATE}/{name}", Once()), report) for name in streams]
    named: set[str] = set()
    for one in proofs:
        if await one.verify():
            named |= one.named
    keys = [info.key async for info in store.list("") if not info.key.startswith(f"{STATE}/")]
    return report, proofs, [key for key in keys if key not in named]


async def _contents(store: ObjectStore) -> str:
    async for info in store.list(""):
        return f"it holds other objects, such as {info.key}"
    return "it is empty"


class _Stream:
    """The check of one stream."""

    def __init__(self, log_store: LogStore, report: Report) -> None:
        self.named: set[str] = set()
        """Every key outside the state folder that belongs to a plan."""
        self._log_store, self._report = log_store, report
        self._views: dict[str, LogView] = {}
        self._plans: list[Plan] = []
        self._dones: list[Done] = []

    async def verify(self) -> bool:
        """Check the stream. False if it has no valid state."""
        try:
            state = await self._log_store.state()
            await self._read_plans()
        except Damaged as problem:
            self._report.fault(Invariant.STATE_IS_THERE, self._log_store.root, str(problem))
            return False
        if state is None:
            self._report.fault(
                Invariant.STATE_IS_THERE, f"{self._log_store.root}/stream.json", "is missing; the state was lost"
            )
            return False
        await self._read_logs(state)
        self._check_plans(state)
        dropped = await DecisionProof(self._log_store, self._views, self._report).check(self._plans, self._dones)
        proof = ObjectProof(self._log_store, self._views, self._report)
        self.named |= await proof.check(self._plans, self._dones, dropped)
        await self._check_hours(state)
        self._check_sums()
        return True

    async def advanced(self) -> bool:
        """Whether there is a new plan since the plans were read, or the last one is done by now."""
        try:
            if await self._log_store.plan(len(self._plans)) is not None:
                return True
            unfinished = len(self._dones) < len(self._plans)
            return unfinished and await self._log_store.done(self._plans[-1].k) is not None
        except Damaged:
            return False

    # Reading.

    async def _read_plans(self) -> None:
        while (plan := await self._log_store.plan(len(self._plans))) is not None:
            self._plans.append(plan)
            document = await self._log_store.done(plan.k)
            if document is not None:
                self._dones.append(document)
        if len(self._dones) < len(self._plans) - 1:
            self._report.fault(
                Invariant.WRITTEN_ONCE,
                f"{self._log_store.root}/plans",
                "a plan was made before the previous one was done",
            )
        elif len(self._dones) < len(self._plans):
            self._report.notes.append(f"plan {self._plans[-1].k} is in progress")
        self._report.count("plans", len(self._plans))

    async def _read_logs(self, state: StreamState) -> None:
        store, root = self._log_store.store, self._log_store.root
        live = live_and_retired(self._plans[-1])[0] if self._plans else {}
        for shard in [name async for name in store.list_folders(f"{root}/shards/")]:
            try:
                headers = await self._chain(shard)
            except (CorruptSegment, OtherVersion) as problem:
                self._report.fault(Invariant.WHOLE_LOGS, shard, str(problem))
                continue
            self._views[shard] = LogView(headers)
            entry = live.get(shard)
            needed = min(entry.next, max(entry.to, 0)) if entry else headers[-1].n
            if headers[0].n > needed:
                self._report.fault(
                    Invariant.WHOLE_LOGS,
                    shard,
                    f"the log starts at segment {headers[0].n}; segment {needed} is still needed",
                )
        for shard, entry in live.items():
            if entry.to >= 0 and shard not in self._views:
                self._report.fault(
                    Invariant.WHOLE_LOGS, shard, f"has no log, though a plan includes its segment {entry.to}"
                )

    async def _chain(self, shard: str) -> list[SegmentHeader]:
        """The segments from the head back as long as each follows the previous; older ones may be cleaned up."""
        numbers = await self._log_store.numbers(shard, -1)
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(n: int) -> SegmentHeader | None:
            async with gate:
                try:
                    return await self._checked(shard, n)
                except NotFound:
                    return None  # cleaned up since it was listed

        headers = [head for head in await asyncio.gather(*(one(n) for n in numbers)) if head is not None]
        chain = headers[-1:]
        for earlier in reversed(headers[:-1]):
            following = chain[0].footer
            assert following is not None
            if earlier.n != chain[0].n - 1 or earlier.digest != following.prev:
                self._report.notes.append(f"{shard}: segments up to {earlier.n} are left over, and nothing reads them")
                break
            try:
                check_follows(earlier, chain[0], self._log_store.root)
            except BrokenLog as problem:
                self._report.fault(Invariant.WHOLE_LOGS, shard, str(problem))
            self._no_writing_back(earlier, chain[0])
            chain.insert(0, earlier)
        return chain

    async def _checked(self, shard: str, n: int) -> SegmentHeader:
        """A segment whose bytes, digests and sums are checked."""
        head = await self._log_store.head(shard, n)
        footer, key = head.footer, segment_key(self._log_store.root, shard, n)
        body = await self._log_store.range(shard, n, 0, footer.data_bytes) if footer.data_bytes else b""
        await self._log_store.ids(head)
        rows, rejected, at, text = 0, 0, -1, b""
        members = footer.member_rows
        places = zip(members.tolist(), *(column.tolist() for column in member_offsets(members)), strict=True)
        for (folder, _, offset, length, count, raw, digest), begin, whole in places:
            if offset != at:
                at, text = offset, decompress(check_blob(body[offset : offset + length], digest, key), key)
            lines = text[begin : begin + raw]
            if len(text) != whole or lines.count(b"\n") != count or lines[-1:] != b"\n":
                self._report.fault(
                    Invariant.SUMS_AGREE, key, f"the member at byte {offset} holds other rows than its index says"
                )
            if footer.folders[folder].rejected:
                rejected += 0 if footer.folders[folder].beside else count
            else:
                rows += count
        counts = footer.counts
        if counts.events != counts.accepted + counts.filtered + counts.rejected:
            self._report.fault(Invariant.SUMS_AGREE, key, "events is not the sum of accepted, filtered and rejected")
        if (rows, rejected) != (counts.accepted, counts.rejected):
            self._report.fault(
                Invariant.SUMS_AGREE, key, f"holds {rows} lines and {rejected} rejections, which differ from its counts"
            )
        total = Counts()
        for some in footer.periods.values():
            total.add(some)
        if any(getattr(total, name) != getattr(counts, name) for name in _SUMMED):
            self._report.fault(Invariant.SUMS_AGREE, key, "the counts of its periods do not add up to its counts")
        self._report.count("segments")
        return head

    def _no_writing_back(self, earlier: SegmentHeader, later: SegmentHeader) -> None:
        closed = [p for p in later.footer.periods if p < earlier.footer.closed_before]
        if closed:
            key = segment_key(self._log_store.root, later.shard, later.n)
            self._report.fault(
                Invariant.WHOLE_LOGS, key, f"contains rows of period {min(closed)}, which was already closed"
            )

    # Plans, sums.

    def _check_plans(self, state: StreamState) -> None:
        upto, before = state.closed_before, None
        for plan in self._plans:
            key = f"{self._log_store.root}/plans/{plan.k:010d}/plan.json"
            if plan.after != upto or plan.upto <= plan.after:
                self._report.fault(
                    Invariant.WRITTEN_ONCE, key, f"starts at {plan.after}; the previous plan ended at {upto}"
                )
            upto = plan.upto
            for shard, entry in plan.shards.items():
                old = before.shards.get(shard) if before else None
                if old is not None and (entry.first != old.next or entry.to < old.to):
                    self._report.fault(
                        Invariant.WRITTEN_ONCE, key, f"{shard}: does not continue where the previous plan stopped"
                    )
                if old is None and entry.first != 0:
                    self._report.fault(
                        Invariant.WRITTEN_ONCE, key, f"{shard}: starts at segment {entry.first}, not at the first"
                    )
                head = next((h for h in self._heads(shard) if h.n == entry.to), None)
                if head is not None and head.digest != entry.digest:
                    self._report.fault(
                        Invariant.WRITTEN_ONCE, key, f"{shard}: segment {entry.to} is not the one that the plan names"
                    )
            before = plan

    def _heads(self, shard: str) -> list[SegmentHeader]:
        view = self._views.get(shard)
        return view.headers if view else []

    def _check_sums(self) -> None:
        for document in self._dones:
            key = f"{self._log_store.root}/plans/{document.k:010d}/done.json"
            if document != done(self._plans[document.k], document.objects, document.periods, document.decided):
                self._report.fault(Invariant.SUMS_AGREE, key, "its totals are not the sums of its objects and periods")
            lines: dict[tuple[int, bool], int] = {}
            for one in (each for each in document.objects if not each.beside):
                lines[one.period, one.rejected] = lines.get((one.period, one.rejected), 0) + one.rows
            for period, counts in document.periods.items():
                if counts.accepted != counts.published + counts.dropped:
                    self._report.fault(
                        Invariant.SUMS_AGREE, key, f"period {period}: accepted is not the sum of published and dropped"
                    )
                counted = (counts.published, counts.rejected)
                if (lines.pop((period, False), 0), lines.pop((period, True), 0)) != counted:
                    self._report.fault(
                        Invariant.SUMS_AGREE,
                        key,
                        f"period {period}: its objects hold other numbers of rows than it counts",
                    )
            if lines:
                self._report.fault(
                    Invariant.SUMS_AGREE, key, f"rows of periods that no segment contains: {sorted(lines)[:3]}"
                )

    # Hours.

    async def _check_hours(self, state: StreamState) -> None:
        for plan in self._plans:
            finished = plan.k < len(self._dones)
            known = [d for d in self._dones if d.k <= plan.k]
            held = {one.period for d in known for one in d.objects} | {p for d in known for p in d.periods}
            for hour in closed_hours(plan.after, plan.upto, state.first_hour, held):
                partitions, manifest = hour_documents(state, hour, known, self._log_store.store.url)
                for key, body in [*partitions, manifest]:
                    self.named.add(key)
                    if finished:
                        await self._check_document(key, body)
                self._report.count("closed hours", int(finished))
        if self._plans and len(self._dones) < len(self._plans):
            # The hours of the plan in progress are not known yet, so nothing there is a fault.
            async for info in self._log_store.store.list(f"{MANIFESTS}/"):
                self.named.add(info.key)
            async for info in self._log_store.store.list(f"{HOURS}/"):
                self.named.add(info.key)

    async def _check_document(self, key: str, body: bytes) -> None:
        try:
            if await self._log_store.store.get(key) != body:
                self._report.fault(Invariant.CLOSED_HOURS, key, "differs from what was published")
        except NotFound:
            self._report.fault(Invariant.CLOSED_HOURS, key, "is missing, but its hour is closed")
