"""The ingest loop of one shard: resume from the log, read pages, commit segments, until the shard ends or is given up.

The log alone says where a shard stands. After anything odd (a lost race, a refused position) the worker throws its
state away and resumes; there is one way to begin, and no second one to mend.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vortex.commits import Commits
from vortex.core.ingestion import Policy, ShardIngest, Step
from vortex.core.model import Page, Position, ShardInfo, Start
from vortex.core.paging import FIRST_RECORDS, FULL_PAUSE_S, next_call, next_limit
from vortex.core.segment import Counts, Footer
from vortex.core.shardlog import StreamState, heirs
from vortex.family import Family
from vortex.journal import Journal
from vortex.memory import MemoryBudget, Turns
from vortex.ports import Clock, InvalidPosition, IteratorExpired, Meter, NotFound, Offload, Stream
from vortex.resume import LostRace, Resumer
from vortex.retry import Retry

log = logging.getLogger(__name__)

_ITERATOR_LIFE = 240.0
_AFTER_LOSS = 1.0  # where two processes share a shard by mistake, each gets its turn
_IN_HASTE = 5.0
"""Seconds between commits of a shard whose bound others moved: they will move it again, and take its next number."""
_STALE = 23 * 3_600_000  # a lag that only a trimmed position shows; see `_reread_if_trimmed`


@dataclass(frozen=True, slots=True)
class CommitRules:
    """When a segment is cut: `every_s` after its first record, or at `max_bytes` of lines."""

    every_s: float
    max_bytes: int


@dataclass(slots=True)
class ShardStatus:
    """What the outside may know of a running shard; times in epoch milliseconds."""

    shard: str
    position: Position | None = None
    watermark: int = 0
    open_from: int = 0
    behind_ms: int = 0
    committed_n: int = -1
    buffered: int = 0
    filter_ids: int = 0
    filter_bytes: int = 0
    oldest_uncommitted_ms: int | None = None
    totals: Counts = field(default_factory=Counts)
    pending: Counts = field(default_factory=Counts)


@dataclass(slots=True)
class IngestPorts:
    """What a shard worker needs from the world."""

    stream: Stream
    journal: Journal
    clock: Clock
    meter: Meter
    retry: Retry
    offload: Offload
    memory: MemoryBudget
    owner: str
    reads: asyncio.Semaphore
    folds: Callable[[], bool] = lambda: False
    """Whether of most large members some line was left out lately (`Plan.fold`)."""
    turns: Turns = field(default_factory=Turns)


@dataclass(slots=True)
class Orders:
    """What the fleet asks of a worker. `drain`: stop at the tip and wait for `finish` (the open_from to close with).

    `holds`: whether the shard is surely this worker's still. Where it is not, a lost race ends the work.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    drain: bool = False
    at_tip: asyncio.Event = field(default_factory=asyncio.Event)
    finish: asyncio.Future[int] | None = None
    holds: Callable[[], bool] = lambda: True


class ShardWorker:
    """Runs one shard. `run` returns the ending footer, or None when it was told to stop, or no longer holds it."""

    def __init__(
        self,
        shard: ShardInfo,
        state: StreamState,
        policy: Policy,
        rules: CommitRules,
        ports: IngestPorts,
        *,
        target: int,
        poll_s: float = 2.0,
        on_commit: Callable[[str, Footer], None] = lambda shard, footer: None,
    ) -> None:
        """`poll_s`: how often a shard that is read to its tip is asked."""
        self.shard = shard
        self.orders = Orders()
        self.status = ShardStatus(shard.id)
        self._state, self._policy, self._rules, self._ports = state, policy, rules, ports
        self._target, self._poll_s = target, poll_s
        self._on_commit = on_commit
        self._ingest: ShardIngest
        self._commits = Commits(
            shard.id,
            journal=ports.journal,
            clock=ports.clock,
            meter=ports.meter,
            offload=ports.offload,
            memory=ports.memory,
            on_commit=self._committed,
            folds=ports.folds,
        )
        self._since: float | None = None
        self._iterator: str | None = None
        self._iterator_born = 0.0
        self.next_at = 0.0
        """When the shard may, or should, be asked again; monotonic seconds."""
        self._pushed = False
        """Others moved the shard's bound, and what was read since is not committed."""
        self._oldest = False
        """Whether the iterator is at the oldest record left, no record having been read of the shard yet."""
        self._drain_from: int | None = None
        self._limit = FIRST_RECORDS

    async def run(self) -> Footer | None:
        """Until the shard ends, or `orders.stop`. Raises BrokenLog, CorruptSegment, OtherVersion: give the shard up."""
        while True:
            try:
                await self._resume()
                return await self._follow()
            except LostRace:
                log.warning("shard %s: another worker writes its log; resuming from there", self.shard.id)
                self._ports.meter.add("vortex_commits_total", result="lost")
                if not self.orders.holds():
                    return None
            finally:
                await self._commits.abandon()
            await self._ports.clock.sleep(_AFTER_LOSS)

    async def _resume(self) -> None:
        ports = self._ports
        looked_at = ports.clock.monotonic()
        resumer = Resumer(
            ports.stream, ports.journal, ports.clock, ports.retry, ports.offload, ports.owner, self._state, self._target
        )
        head, self._ingest = await resumer.resume(self.shard, self._policy)
        self._commits.resume(head, looked_at)
        self._pushed = head.footer is not None and head.footer.bump
        self._since, self._iterator = None, None
        self._note()

    # Following the shard.

    async def _follow(self) -> Footer | None:
        orders = self.orders
        await self._rest()
        while not orders.stop.is_set():
            if (ended := self._commits.ended) is not None:
                return ended
            await self._ports.turns.few()
            page = await self._read()
            if page is None:
                continue
            await self._take(page)
            over, children, at_tip = page.iterator is None, page.children, self._at_tip(page)
            del page  # ten megabytes, perhaps, that nobody needs while the next page comes
            if over:
                await self._end(children)
                continue
            if orders.drain and at_tip:
                await self._drained()
                return None
            if self._due():
                await self._cut()
            await self._rest()
        await self._flush()
        return None

    async def _rest(self) -> None:
        """Until the shard may be asked again."""
        await self._ports.clock.sleep(max(0.0, self.next_at - self._ports.clock.monotonic()))

    async def _read(self) -> Page | None:
        """One page, or None where the iterator had to be given up."""
        ports = self._ports
        if ports.memory.full:
            await self._flush()
            await ports.memory.room()
        if self._iterator is None or ports.clock.monotonic() - self._iterator_born > _ITERATOR_LIFE:
            await self._new_iterator()
            if self._iterator is None:
                return None
        iterator = self._iterator
        try:
            page = await ports.retry(f"read {self.shard.id}", lambda: self._read_fresh(iterator))
        except IteratorExpired:
            self._iterator = None
            return None
        self._iterator, self._iterator_born = page.iterator, ports.clock.monotonic()
        self.next_at = self._next(page)
        self._limit = next_limit(self._limit, len(page.records), page.size)
        if self._oldest:
            await self._check_oldest(page.server_ms)
        if not page.records and page.behind_ms >= _STALE and await self._reread_if_trimmed(page):
            return None
        return page

    async def _read_fresh(self, iterator: str) -> Page:
        # Retries may outlive the iterator; an expired one is not worth a call.
        if self._ports.clock.monotonic() - self._iterator_born > _ITERATOR_LIFE:
            raise IteratorExpired(self.shard.id)
        async with self._ports.reads:
            # Should this call be given up half-way, its reply may have been a full one.
            self.next_at = self._ports.clock.monotonic() + FULL_PAUSE_S
            return await self._ports.stream.read(self.shard.id, iterator, self._limit)

    async def _new_iterator(self, position: Position | None = None) -> None:
        ports = self._ports
        wanted = position or self._ingest.position
        try:
            self._iterator = await ports.retry(
                f"iterator of {self.shard.id}", lambda: ports.stream.iterator(self.shard.id, wanted)
            )
        except NotFound:
            await self._vanished()
            return
        except InvalidPosition:
            # The position may be the shard's very last record, after which Kinesis gives no iterator.
            shards = await ports.retry("list shards", ports.stream.list_shards)
            if not any(s.id == self.shard.id for s in shards):
                await self._vanished()
                return
            children = tuple(s for s in shards if self.shard.id in s.parents)
            if not children:
                raise
            await self._end(children)
            return
        self._iterator_born = ports.clock.monotonic()
        self._oldest = wanted.kind is not Start.AFTER_SEQUENCE_NUMBER and position is None
        if self._iterator is None:
            await self._end_by_listing()

    async def _end_by_listing(self) -> None:
        """No iterator: nothing comes after the position. Without children that is a reply to ask for again."""
        shards = await self._ports.retry("list shards", self._ports.stream.list_shards)
        if children := tuple(s for s in shards if self.shard.id in s.parents):
            if self._oldest:
                await self._check_oldest(await self._ports.retry("server time", self._ports.stream.server_time))
            await self._end(children)
        else:
            await self._ports.clock.sleep(self._poll_s)

    async def _check_oldest(self, server_ms: int) -> None:
        """The oldest record is the first, unless nobody looked (nor at its parents) for as long as records are kept."""
        info = await self._ports.retry("describe", self._ports.stream.describe)
        # Where nothing was read of its ancestors either, nothing counts that is older than the first start.
        if max(self._ingest.watermark, self._state.first_hour) <= server_ms - info.retention_ms:
            await self._gap("it was not looked at for so long that its first records may have been trimmed")
        self._oldest = False

    async def _reread_if_trimmed(self, page: Page) -> bool:
        """A position older than the retention shows as endless empty pages: say so in the log, read what is left."""
        info = await self._ports.retry("describe", self._ports.stream.describe)
        position = self._ingest.position
        if not position.by_record:
            if page.behind_ms >= info.retention_ms:  # the oldest record when the iterator was made, trimmed since
                self._iterator = None
            return self._iterator is None
        if self._ingest.watermark > page.server_ms - info.retention_ms:
            return False
        await self._gap(f"records after {position.value!r} were trimmed before they were read")
        await self._new_iterator(Position(Start.TRIM_HORIZON))
        self._ingest.watermark = max(self._ingest.watermark, page.server_ms - info.retention_ms)
        return True

    async def _vanished(self) -> None:
        """The shard is no longer listed: what it still held is lost, what follows it is not."""
        ports = self._ports
        listed = await ports.retry("list shards", ports.stream.list_shards)
        family = Family(self._state, ports.journal, ports.stream, ports.retry, target=self._target)
        await family.survey()
        await self._gap("the shard is no longer listed", heirs(self.shard, listed, family.live, family.ended))

    async def _gap(self, why: str, children: tuple[ShardInfo, ...] | None = None) -> None:
        log.error("shard %s: a gap in the data: %s", self.shard.id, why)
        self._ports.meter.add("vortex_gaps_total")
        await self._cut(children=children, gap=why)
        await self._commits.settle()

    async def _take(self, page: Page) -> None:
        ingest, ports = self._ingest, self._ports
        if page.records:
            for part in ingest.parts(page):
                if ingest.spans_too_far(part):
                    await self._cut()
                await self._work_through(part)
            ports.meter.add("vortex_read_bytes_total", page.size)
        elif page.behind_ms == 0 and page.iterator is not None:
            ingest.idle(page.server_ms)
        self.status.behind_ms = page.behind_ms
        self._pushed = self._pushed and (page.behind_ms > 0 or self._since is not None)
        self._note()
        await ports.memory.hold(self.shard.id, ingest.buffered, self._commits.in_flight)

    async def _work_through(self, page: Page) -> None:
        """Take the page in slices, with others' turns between them; commit on the way where memory runs short."""
        ingest, ports = self._ingest, self._ports
        steps = ingest.slices(page)
        over = False
        while not over:
            if ports.memory.full:  # before what comes is unfolded; and whoever waits has committed what it held
                await self._flush()
                await ports.memory.room()
            async with ports.turns:
                over = not await self._to_the_next_record(steps)
            if not over:
                await ports.memory.hold(self.shard.id, ingest.buffered, self._commits.in_flight)
                if self._short_of_memory():
                    await self._cut()

    async def _to_the_next_record(self, steps: Iterator[Step | None]) -> bool:
        """Work on to where a record ends; False where the page does."""
        clock = self._ports.clock
        for step in steps:
            if step is not None:
                if step.counts.records and self._since is None:
                    self._since = clock.monotonic()
                    self.status.oldest_uncommitted_ms = clock.now_ms()
                self._count(step)
            await clock.sleep(0)
            if step is not None and step.whole:
                return True
        return False

    def _short_of_memory(self) -> bool:
        """Whether to commit at once, and not only when it is time."""
        ingest = self._ingest
        if ingest.buffered >= self._rules.max_bytes:
            return True
        return bool(ingest.buffered) and not self._commits.busy and self._ports.memory.asks(self.shard.id)

    def _next(self, page: Page) -> float:
        """When the shard is asked again, monotonic seconds; what is done with the page meanwhile delays nothing."""
        poll_s = 0.0 if self.orders.drain else self._poll_s
        return next_call(self._iterator_born, page.size, page.behind_ms, poll_s)

    def _due(self) -> bool:
        ingest, rules = self._ingest, self._rules
        if ingest.moved or self._short_of_memory():
            return True
        if self._since is None:
            return False
        every_s = min(rules.every_s, _IN_HASTE) if self._pushed else rules.every_s
        if not self.orders.holds():
            every_s *= 2  # who may have lost the shard commits after the one who has it, and the race tells
        return self._ports.clock.monotonic() - self._since >= every_s

    def _at_tip(self, page: Page) -> bool:
        """Nothing is left, or (for traffic that never pauses) what came last arrived after draining began."""
        if self._drain_from is None:
            self._drain_from = page.server_ms
        if page.behind_ms > 0:
            return False
        return not page.records or page.records[-1].arrival * 1000 > self._drain_from

    # Committing.

    async def _end(self, children: tuple[ShardInfo, ...]) -> None:
        await self._cut(children=children)
        await self._commits.settle()

    async def _drained(self) -> None:
        """Everything read is committed, with the bound that closes it for the whole fleet."""
        if self._ingest.moved:  # by the clock of the service, at the tip: nobody knows of that until it is committed
            await self._cut()
        await self._flush()
        self.orders.at_tip.set()
        if self.orders.finish is not None:
            open_from = await self.orders.finish
            if open_from > self._ingest.open_from:
                await self._cut(open_from=open_from)
                await self._commits.settle()

    async def _flush(self) -> None:
        if self._ingest.has_progress:
            await self._cut()
        await self._commits.settle()

    async def _cut(
        self, *, children: tuple[ShardInfo, ...] | None = None, gap: str = "", open_from: int | None = None
    ) -> None:
        """Close the segment being built and put it; at most one is in flight, so this waits for the one before."""
        await self._commits.settle()
        ports = self._ports
        draft = self._ingest.cut(ports.owner, ports.clock.now_ms(), children=children, gap=gap, open_from=open_from)
        self._since, self.status.oldest_uncommitted_ms = None, None
        await self._commits.begin(draft, self._ingest)

    def _committed(self, footer: Footer) -> None:
        self.status.committed_n = footer.n
        self._on_commit(self.shard.id, footer)

    # Telling.

    def _count(self, step: Step) -> None:
        meter, taken = self._ports.meter, step.counts
        for outcome in ("accepted", "filtered", "rejected", "late", "early", "untimed"):
            if number := getattr(taken, outcome):
                name = "duplicate" if outcome == "filtered" else outcome
                meter.add("vortex_events_total", number, outcome=name)
        meter.add("vortex_records_total", taken.records)
        meter.add("vortex_events_read_total", taken.events)
        for reason, number in step.reasons.items():
            meter.add("vortex_rejections_total", number, reason=reason)
        self.status.totals.add(taken)

    def _note(self) -> None:
        ingest, status = self._ingest, self.status
        status.position, status.watermark, status.open_from = ingest.position, ingest.watermark, ingest.open_from
        status.buffered = ingest.buffered + self._commits.in_flight
        status.filter_ids, status.filter_bytes = len(ingest.filter), ingest.filter.nbytes
        status.pending = ingest.pending
        status.committed_n = self._commits.head.n
