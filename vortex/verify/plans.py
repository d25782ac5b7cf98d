"""The check of plans one after another: that each continues the previous one, its sums, and the hours it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from vortex.core.invariants import Invariant
from vortex.core.layout import hour_of
from vortex.core.log.rules import SegmentHeader, StreamState
from vortex.core.publish.contents import Done, closed_hours, done, hour_documents
from vortex.core.publish.plan import LogView, Plan
from vortex.log.store import LogStore
from vortex.ports import NotFound
from vortex.verify.report import Report

_PARALLEL = 64


class PlanProof:
    """Checks the plans of one stream in order. Holds the done documents of the hour that is still open, and no more."""

    def __init__(
        self, log_store: LogStore, state: StreamState, views: Mapping[str, LogView], report: Report, first_hour: int
    ) -> None:
        """Hours before `first_hour` are not checked: some of their plans are not among those that are checked."""
        self._log_store, self._state, self._views, self._report = log_store, state, views, report
        self._first_hour = first_hour
        self._open: list[Done] = []
        self._gate = asyncio.Semaphore(_PARALLEL)

    def check(self, plan: Plan, before: Plan | None, upto: int | None) -> None:
        """Check that the plan continues `before`, which ended at `upto`; None if that is not known."""
        key = f"{self._log_store.root}/plans/{plan.k:010d}/plan.json"
        if plan.upto <= plan.after or (upto is not None and plan.after != upto):
            self._report.fault(
                Invariant.WRITTEN_ONCE, key, f"starts at {plan.after}; the previous plan ended at {upto}"
            )
        for shard, entry in plan.shards.items():
            old = before.shards.get(shard) if before else None
            if old is not None and (entry.first != old.next or entry.to < old.to):
                self._report.fault(
                    Invariant.WRITTEN_ONCE, key, f"{shard}: does not continue where the previous plan stopped"
                )
            if old is None and upto is not None and entry.first != 0:
                self._report.fault(
                    Invariant.WRITTEN_ONCE, key, f"{shard}: starts at segment {entry.first}, not at the first"
                )
            head = self._head(shard, entry.to)
            if head is not None and head.digest != entry.digest:
                self._report.fault(
                    Invariant.WRITTEN_ONCE, key, f"{shard}: segment {entry.to} is not the one that the plan names"
                )

    def _head(self, shard: str, n: int) -> SegmentHeader | None:
        view = self._views.get(shard)
        return next(iter(view.between(n, n)), None) if view else None

    def check_sums(self, plan: Plan, document: Done) -> None:
        """Check that the sums of a done document agree."""
        key = f"{self._log_store.root}/plans/{document.k:010d}/done.json"
        if document != done(plan, document.objects, document.periods, document.decided):
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

    async def check_hours(self, plan: Plan, document: Done | None) -> list[str]:
        """Check the hours that the plan closes, unless it is in progress (`document` is None). Returns the keys of
        their documents.
        """
        if document is not None:
            self._open.append(document)
        keys: list[str] = []
        held = {one.period for d in self._open for one in d.objects} | {p for d in self._open for p in d.periods}
        for hour in closed_hours(plan.after, plan.upto, self._state.first_hour, held):
            if hour < self._first_hour:
                continue
            partitions, manifest = hour_documents(self._state, hour, self._open, self._log_store.store.url)
            documents = [*partitions, manifest]
            keys += [key for key, _ in documents]
            if document is not None:
                await asyncio.gather(*(self._check_document(key, body) for key, body in documents))
            self._report.count("closed hours", int(document is not None))
        self._open = [d for d in self._open if d.upto > hour_of(plan.upto)]
        return keys

    async def _check_document(self, key: str, body: bytes) -> None:
        async with self._gate:
            try:
                if await self._log_store.store.get(key) != body:
                    self._report.fault(Invariant.CLOSED_HOURS, key, "differs from what was published")
            except NotFound:
                self._report.fault(Invariant.CLOSED_HOURS, key, "is missing, but its hour is closed")
