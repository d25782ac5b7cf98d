"""Where an event is, or why it is not there: from logs and decision files, from objects, from rejections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vortex.core.ingest.policy import Policy
from vortex.core.log.rules import BrokenLog, StreamState
from vortex.core.model import HOUR_MS
from vortex.log.store import LogStore
from vortex.lookup.answers import Answer, Copy, Fate, ReadUpTo, Verdict
from vortex.lookup.identity import Wanted, reader_of
from vortex.lookup.logs import Logs, Row, plans_between
from vortex.lookup.objects import ObjectCache
from vortex.lookup.placed import Places
from vortex.lookup.progress import Progress, silent
from vortex.lookup.rejected import RejectionSearch
from vortex.lookup.sends import locate
from vortex.ports import NotFound, PortError, Stream

_TRIES = 3
DAY_MS = 24 * HOUR_MS
_BEST = (
    (Fate.PUBLISHED, Verdict.PUBLISHED),
    (Fate.PUBLISHING, Verdict.PUBLISHING),
    (Fate.WAITING, Verdict.WAITING),
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What to search. `stream`: for exact sequence numbers and for copies that no log has; None to leave it alone.

    `since` and `until` (epoch milliseconds) bound the search in objects beyond the logs, and in rejections.
    """

    stream: Stream | None = None
    since: int | None = None
    until: int | None = None


class Explainer:
    """Explains events of one stream. Keeps what it has read: several events are explained faster than each alone."""

    def __init__(
        self, log_store: LogStore, state: StreamState, policy: Policy, scope: Scope, progress: Progress = silent
    ) -> None:
        self._log_store, self._state, self._policy, self._scope = log_store, state, policy, scope
        self._progress = progress
        self.reader = reader_of(policy, state.seed)
        self._objects = ObjectCache(log_store.store)
        self._rejections = RejectionSearch(log_store, policy.limits, self._objects)
        self._places = Places(log_store, self._objects, self.reader)
        self._logs: Logs | None = None
        self._rejected: list[str] | None = None

    async def explain(self, wanted: Wanted) -> Answer:
        """The answer for one event. Raises PortError, BrokenLog, CorruptSegment."""
        for _ in range(_TRIES - 1):
            try:
                return await self._explain(wanted)
            except (BrokenLog, NotFound):  # published and cleaned up meanwhile
                self._logs = None
        return await self._explain(wanted)

    async def _explain(self, wanted: Wanted) -> Answer:
        if self._logs is None:
            self._logs = await Logs.look(self._log_store, self._state)
        logs = self._logs
        answer = Answer(wanted.customer, wanted.id, Verdict.NOT_SEEN, would_be=wanted.would_be)
        answer.shards = list(_read_up_to(logs))
        if wanted.key:
            rows = await self._rows(logs, wanted)
            taken = set[tuple[str, int]]()
            answer.copies = [await self._copy(logs, row, wanted, taken, answer.notes) for row in rows]
            _name_originals(rows, answer.copies)
            await self._add_sends(logs, wanted, rows, answer)
            if not answer.copies:
                answer.copies = await self._beyond(logs, wanted, answer.notes)
        fates = {copy.fate for copy in answer.copies}
        answer.verdict = next((verdict for fate, verdict in _BEST if fate in fates), answer.verdict)
        if not answer.copies:
            answer.rejections = await self._rejections.waiting(logs, wanted, self._progress)
            keys = await self._rejected_keys(logs)
            answer.rejections += await self._rejections.published(keys, wanted, self._progress)
            if answer.rejections:
                answer.verdict = Verdict.REJECTED
        return answer

    async def _rows(self, logs: Logs, wanted: Wanted) -> list[Row]:
        """Every row of the key that logs and decision files know."""
        decided = await logs.decided(wanted.customer, wanted.key, self._progress)
        if logs.plan.k >= 0 and not (logs.parts and logs.plan.window):  # without deduplication
            others = await logs.all_kept(wanted.customer, wanted.key, self._progress)
        else:
            others = await logs.waiting(wanted.customer, wanted.key, self._progress)
        known = {(row.shard, row.n, row.row) for row in decided}
        rows = [*decided, *(row for row in others if (row.shard, row.n, row.row) not in known)]
        return sorted(rows, key=lambda row: row.place)

    async def _copy(self, logs: Logs, row: Row, wanted: Wanted, taken: set[tuple[str, int]], notes: list[str]) -> Copy:
        plan = row.plan
        if plan is None and row.period < logs.published_upto:
            plan = await self._plan_of(logs, row.period)
        copy = Copy(_fate(logs, row, plan), row.period, row.shard, row.n, row.row, (row.lo, row.hi), plan=plan)
        if row.folder is not None:
            copy.folder = row.folder.path
        if row.head is not None:
            copy.after, copy.upto = row.head.footer.start.value, row.head.footer.position.value
        if copy.fate is Fate.PUBLISHED:
            await self._places.in_object(copy, wanted, taken, notes)
        elif copy.fate in (Fate.WAITING, Fate.PUBLISHING):
            await self._places.in_segment(copy, row)
        return copy

    async def _plan_of(self, logs: Logs, period: int) -> int | None:
        async for plan in plans_between(self._log_store, logs.plan, period, period + 1):
            return plan.k
        return None

    async def _add_sends(self, logs: Logs, wanted: Wanted, rows: Sequence[Row], answer: Answer) -> None:
        """Exact sequence numbers, and the copies that were dropped before the log, as far as the stream has them."""
        if self._scope.stream is None or not rows:
            return
        copies = list(answer.copies)
        try:
            for row, copy in zip(rows, copies, strict=True):
                if row.head is not None and not copy.sequence:
                    found, note = await locate(
                        self._scope.stream, logs, row.head, copies, wanted.key, self.reader, self._policy.window_ms
                    )
                    answer.copies += found
                    if note:
                        answer.notes.append(note)
        except PortError as problem:
            answer.notes.append(f"exact sequence numbers are unknown: {problem}")

    async def _beyond(self, logs: Logs, wanted: Wanted, notes: list[str]) -> list[Copy]:
        """The published lines in objects of plans that have no decision files any more."""
        since, until = self._scope.since, self._scope.until
        if since is None and until is None:
            if wanted.period is None:
                if logs.oldest_plan > 0:
                    notes.append("older plans were not searched; --around, --since and --until search their objects")
                return []
            since, until = wanted.period, wanted.period + DAY_MS
        since, until = since if since is not None else 0, until if until is not None else logs.plan.upto
        found: list[Copy] = []
        async for plan in plans_between(self._log_store, logs.plan, since, until):
            if plan.k not in logs.parts:
                found += await self._places.anywhere(plan, wanted)
            self._progress("plans beyond the logs", plan.k + 1)
        return found

    async def _rejected_keys(self, logs: Logs) -> list[str]:
        """The objects with rejections: of the plans that logs are kept of, or of the given time."""
        if self._rejected is None:
            since, until = self._scope.since, self._scope.until
            if since is None:  # where every event is rejected there are no decision files
                since = logs.plan.upto - DAY_MS
                if logs.parts and (first := await self._log_store.plan(logs.oldest_plan)) is not None:
                    since = min(since, first.after)
            self._rejected = []
            until = until if until is not None else logs.plan.upto
            async for plan in plans_between(self._log_store, logs.plan, since, until):
                objects = await self._places.objects_of(plan.k)
                self._rejected += [one.key for one in objects if one.rejected and not one.beside]
        return self._rejected


def _fate(logs: Logs, row: Row, plan: int | None) -> Fate:
    if row.dropped:
        return Fate.DUPLICATE
    if row.period < logs.published_upto:
        return Fate.PUBLISHED
    return Fate.WAITING if plan is None else Fate.PUBLISHING


def _name_originals(rows: Sequence[Row], copies: Iterable[Copy]) -> None:
    """Say for each duplicate which published line it repeats: the first of those that are nearest to it."""
    pairs = list(zip(rows, copies, strict=True))
    published = [(row, copy) for row, copy in pairs if copy.fate in (Fate.PUBLISHED, Fate.PUBLISHING)]
    for row, copy in pairs:
        if copy.fate is Fate.DUPLICATE and published:
            before = [pair for pair in published if pair[0].place <= row.place] or published
            _, original = min(before, key=lambda pair: _apart(pair[0], row))
            copy.of = original.object and f"{original.object} line {original.line}"


def _apart(one: Row, other: Row) -> int:
    """How far apart they arrived, at least."""
    return max(0, one.lo - other.hi, other.lo - one.hi)


def _read_up_to(logs: Logs) -> Iterable[ReadUpTo]:
    for shard, view in sorted(logs.views.items()):
        newest = view.newest
        if newest is None:
            yield ReadUpTo(shard, "not started", None, "")
            continue
        gap = "; ".join(head.footer.gap for head in view.headers if head.footer.gap)
        state = "ended" if newest.ended else "open"
        yield ReadUpTo(shard, state, newest.watermark, newest.position.value or newest.position.kind, gap)
