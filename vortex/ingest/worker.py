"""The ingest loop of one shard: resume from the log, read pages, commit segments, until the shard ends or is given up.

Only the log determines where a shard continues. After anything unexpected (a lost race, a refused position) the worker
discards its state and resumes, so there is only one way to start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

from vortex import metrics
from vortex.core.ingest.policy import Policy
from vortex.core.ingest.shard_state import ShardIngest, Step
from vortex.core.log.rules import SegmentHeader, StreamState, successors
from vortex.core.log.segment import Footer
from vortex.core.model import Page, Position, ShardInfo, Start
from vortex.ingest.backlog import Backlog
from vortex.ingest.commits import MOST_LINES, Commits
from vortex.ingest.gaps import listed_without, unread_too_long
from vortex.ingest.malformed import Malformed
from vortex.ingest.reading import NoIterator, NoMemory, Reader, following
from vortex.ingest.resume import LostRace, Resumer
from vortex.ingest.setup import CommitRules, IngestPorts, Orders
from vortex.ingest.status import ShardStatus
from vortex.log.shard_tree import ShardTree
from vortex.ports import InvalidPosition, NotFound

log = logging.getLogger(__name__)

_AFTER_LOSS = 1.0  # if two processes run a shard by mistake, each gets its turn
_IN_HASTE = 5.0
"""Seconds between commits of a shard whose bound others advance: the next advance takes its next segment number. The
first one comes at once: where a page takes nearly as long as the next advance, the shard would get no further."""
_STALE = 23 * 3_600_000  # a lag that suggests a trimmed position; see `_reread_if_trimmed`
_LARGE = 16 * 1024 * 1024
"""Bytes that a record may decompress to beside other large work of the process."""
_PATIENCE_S = 10.0
"""Seconds that it waits for others: a store that does not answer must not stop reading."""
_TIP_MS, _BEHIND_MS = 10_000, 60_000
"""A shard that is at most so far behind is read at its tip, until it is further behind than the other. That takes 50 s.
"""


class ShardWorker:
    """Runs one shard. `run` returns the last footer of an ended shard, or None if it was stopped or lost its lease."""

    def __init__(
        self,
        shard: ShardInfo,
        state: StreamState,
        policy: Policy,
        rules: CommitRules,
        ports: IngestPorts,
        *,
        poll_s: float = 2.0,
        on_commit: Callable[[str, Footer], None] = lambda shard, footer: None,
    ) -> None:
        """`poll_s`: the poll interval of a shard at its tip."""
        self.shard = shard
        self.orders = Orders()
        self.status = ShardStatus(shard.id)
        self._state, self._policy, self._rules, self._ports = state, policy, rules, ports
        self._name = f"shard {shard.id} of {state.arn or state.stream}"
        self._on_commit = on_commit
        self._ingest: ShardIngest
        self._commits = Commits(
            shard.id,
            log_store=ports.log_store,
            clock=ports.clock,
            meter=ports.meter,
            offload=ports.offload,
            memory=ports.memory,
            sealing=ports.sealing,
            on_commit=self._committed,
            large=ports.large,
        )
        self._since: float | None = None
        self.reader = Reader(shard.id, ports.stream, ports.clock, ports.retry, ports.memory, poll_s)
        self._malformed = Malformed(self._name, ports.clock, ports.meter)
        self._pushed = False
        """Whether others advanced the shard's bound, and the lines read since are not committed."""
        self._haste_s = _IN_HASTE
        self._oldest = False
        """Whether the iterator is at the oldest record, and no record of the shard was read yet."""
        self._backlog: Backlog | None = None
        """What is left to drain."""
        self._gap_after: Position | None = None
        """The position after which a gap is reported already."""

    @property
    def next_at(self) -> float:
        """When the shard may be read again, and should be; monotonic seconds."""
        return self.reader.next_at

    @next_at.setter
    def next_at(self, at: float) -> None:
        self.reader.next_at = at

    async def run(self) -> Footer | None:
        """Run until the shard ends, or `orders.stop`. Raises BrokenLog, CorruptSegment, OtherVersion: give it up."""
        while True:
            try:
                await self._resume()
                return await self._follow()
            except LostRace:
                log.warning("shard %s: another worker writes its log; resuming from there", self.shard.id)
                self._ports.meter.add(metrics.COMMITS, result="lost")
                if not self.orders.lease_is_fresh():
                    return None
            finally:
                self._ports.memory.page(self.shard.id, 0)
                self._ports.memory.leave(self.shard.id)
                await self._commits.abandon()
            await self._ports.clock.sleep(_AFTER_LOSS)

    async def _resume(self) -> None:
        ports = self._ports
        looked_at = ports.clock.monotonic()
        resumer = Resumer(
            ports.stream,
            ports.log_store,
            ports.clock,
            ports.retry,
            ports.offload,
            ports.owner,
            self._state,
        )
        head, self._ingest = await resumer.resume(self.shard, self._policy)
        self._commits.resume(head, looked_at)
        self._pushed = isinstance(head, SegmentHeader) and head.footer.advances
        self._haste_s = 0.0
        self._since = self._gap_after = None
        ports.memory.join(self.shard.id)
        self.reader.restart()
        self.status.note(self._ingest, self._commits)

    # Reading.

    async def _follow(self) -> Footer | None:
        orders = self.orders
        if orders.drain and self._backlog is None:
            self.reader.poll_s = 0.0
            self._backlog = Backlog(self.shard.id, self._ports.stream, self._ports.clock, self.reader, self.status)
        await self.reader.rest()
        while not orders.stop.is_set():
            if (ended := self._commits.ended) is not None:
                return ended
            await self._ports.turns.few()
            asked_at = self._ports.clock.monotonic()
            page, over, empty = await self._read(), True, False
            if page is not None:
                await self._take(page)
                over, empty = page.iterator is None, not page.records and page.behind_ms == 0
                if over:
                    await self._end_if_proved("an end")
            del page  # perhaps ten megabytes, not needed while the next page is read
            if self._commits.ended is None and self._due():  # before what may wait for the shard's limits of calls
                await self._cut()
            backlog = None if over else self._backlog
            if backlog and await backlog.is_read(self._ingest.position, asked_at, empty=empty):
                await self._drained()
                return None
            await self.reader.rest()
        await self._flush()
        return None

    async def _read(self) -> Page | None:
        """Read one page; None if the iterator was dropped."""
        ports = self._ports
        try:
            return await self._page()
        except NoMemory:
            await self._flush()
            await ports.memory.reserve(self.shard.id, self.reader.expected)
        except NotFound:
            await self._vanished()
        except NoIterator:
            await self._end_if_proved("no iterator")
        except InvalidPosition as problem:
            await self._refused(problem)
        return None

    async def _page(self) -> Page | None:
        position, reader = self._ingest.position, self.reader
        page = await reader.read(position)
        if page is None:
            return None
        self.status.page(page.behind_ms, self._ports.clock.monotonic())
        if page.behind_ms <= _TIP_MS:
            self._ports.memory.at_tip(self.shard.id)
        elif page.behind_ms > _BEHIND_MS and self._ports.memory.behind(self.shard.id) and self._ingest.has_progress:
            await self._cut()
        self._malformed.page(followed=page.iterator is not None)
        if reader.first:
            self._oldest = position.kind is not Start.AFTER_SEQUENCE_NUMBER
        if self._oldest:
            await self._check_oldest(page.server_ms)
        if not page.records and page.behind_ms >= _STALE and await self._reread_if_trimmed(page):
            return None
        return page

    # A possible end of the shard.

    async def _end_if_proved(self, reply: str) -> None:
        """A reply (`reply`) indicates the end of the shard: confirm it (`vortex.ingest.reading`), or continue."""
        ports = self._ports
        listed = await ports.retry("list shards", ports.stream.list_shards)
        if not any(each.id == self.shard.id for each in listed):
            await self._vanished()
            return
        children = following(self.shard.id, listed)
        if children is None:
            await self._ask_again(f"{reply}, but the listing shows the shard open, or without successors")
            return
        try:
            proved = await self.reader.proves_end(self._ingest.position)
        except NotFound:
            await self._vanished()
            return
        if proved:
            await self._end(children)
        else:
            await self._ask_again(f"{reply}, but records may be left")

    async def _end(self, children: tuple[ShardInfo, ...]) -> None:
        if self._gap_after != self._ingest.position and await self._unread_too_long():
            await self._gap("its last records may have been trimmed before they were read", children)
            return
        await self._cut(children=children)
        await self._commits.settle()

    async def _refused(self, problem: InvalidPosition) -> None:
        """The position was refused: it may be the shard's last record, with no iterator after it, or a wrong reply."""
        self._malformed.refused(problem)
        await self._end_if_proved("a position refused")

    async def _ask_again(self, what: str) -> None:
        """A reply is malformed: wait, and read again from the position."""
        self.reader.restart()
        await self._malformed.pause(what)

    # A possible gap.

    async def _check_oldest(self, now_ms: int) -> None:
        """The oldest record is the first one, unless shard and parents were not read within the retention."""
        if await self._unread_too_long(now_ms):
            await self._gap("it was not read for so long that its first records may have been trimmed")
        self._oldest = False

    async def _unread_too_long(self, now_ms: int | None = None) -> bool:
        # If nothing was read of its ancestors either, records before the first start do not count.
        read_until, stream = max(self._ingest.watermark, self._state.first_hour), self._ports.stream
        return await self._ports.retry("describe", lambda: unread_too_long(read_until, stream, now_ms))

    async def _reread_if_trimmed(self, page: Page) -> bool:
        """A position older than the retention gives endless empty pages: record a gap, and read what is left."""
        info = await self._ports.retry("describe", self._ports.stream.describe)
        position = self._ingest.position
        if not position.by_record:
            if page.behind_ms >= info.retention_ms:  # the oldest record of the iterator was trimmed since
                self.reader.restart()
            return page.behind_ms >= info.retention_ms
        known = position == self._gap_after
        if self._ingest.watermark > page.server_ms - info.retention_ms or (
            known and page.behind_ms < info.retention_ms
        ):
            return False
        if not known:
            await self._gap(f"records after {position.value!r} were trimmed before they were read")
        self._ingest.watermark = max(self._ingest.watermark, page.empty_until - info.retention_ms)
        await self.reader.open(Position(Start.TRIM_HORIZON), gap_known=True)
        return True

    async def _vanished(self) -> None:
        """The shard is no longer listed: its unread records are lost, but not those of its successors."""
        ports = self._ports
        listed = await ports.retry(
            f"list shards without {self.shard.id}",
            lambda: listed_without(self.shard.id, self._name, ports.stream, ports.clock, self._ingest.watermark),
        )
        if listed is None:
            await self._ask_again("no such shard, but it is listed")
            return
        shard_tree = ShardTree(self._state, ports.log_store, ports.stream, ports.retry)
        await shard_tree.survey()
        await self._gap(
            "the shard is no longer listed", successors(self.shard, listed, shard_tree.live, shard_tree.ended)
        )

    async def _gap(self, why: str, children: tuple[ShardInfo, ...] | None = None) -> None:
        self._gap_after = self._ingest.position
        log.error("%s: a gap in the data: %s", self._name, why)
        self._ports.meter.add(metrics.GAPS)
        self._ports.meter.set(metrics.LAST_GAP, self._ports.clock.now_ms() / 1000)
        await self._cut(children=children, gap=why)
        await self._commits.settle()

    async def _take(self, page: Page) -> None:
        ingest, ports = self._ingest, self._ports
        if page.records:
            for part in ingest.parts(page):
                if ingest.spans_too_far(part):
                    await self._cut()
                await self._work_through(part)
            ports.meter.add(metrics.READ_BYTES, page.size)
        elif page.behind_ms == 0 and page.iterator is not None:
            ingest.idle(page.empty_until)
        self._pushed = self._pushed and (page.behind_ms > 0 or self._since is not None)
        self.status.note(self._ingest, self._commits)
        await ports.memory.hold(self.shard.id, ingest.buffered, self._commits.in_flight)
        ports.memory.page(self.shard.id, 0)

    async def _work_through(self, page: Page) -> None:
        """Process the page in slices, and give other shards turns in between; commit early if memory runs short."""
        ingest, ports = self._ingest, self._ports
        steps = ingest.slices(page)
        over = False
        while not over:
            async with ports.turns:
                # Checked before decompression, and after getting the turn: other shards have worked since.
                if not (full := ports.memory.full or ports.memory.exceeded(self.shard.id)):
                    over = not await self._to_the_next_record(steps)
                    await ports.memory.hold(self.shard.id, ingest.buffered, self._commits.in_flight)
            if full:  # commit the own lines before waiting
                await self._flush()
                await ports.memory.room()
            elif ports.memory.exceeded(self.shard.id) or (not over and self._short_of_memory()):
                await self._cut()

    async def _to_the_next_record(self, steps: Iterator[Step | None]) -> bool:
        """Process up to the end of a record; False at the end of the page."""
        clock, large = self._ports.clock, False
        async with AsyncExitStack() as stack:
            for step in steps:
                if step is not None:
                    if step.counts.records and self._since is None:
                        self._since = clock.monotonic()
                        self.status.oldest_uncommitted_ms = clock.now_ms()
                    self.status.count(step, self._ports.meter)
                await clock.sleep(0)
                if step is not None and step.whole:
                    return True
                if self._ingest.decompressed > _LARGE and not large:
                    large = True
                    room = self._ports.room.of(self._policy.limits.record, _PATIENCE_S)
                    await stack.enter_async_context(room)
        return False

    def _short_of_memory(self) -> bool:
        """Whether to commit now, before the commit interval is over."""
        ingest = self._ingest
        if ingest.buffered >= self._rules.max_bytes or ingest.pending.lines >= MOST_LINES:
            return True
        return bool(ingest.buffered) and not self._commits.busy and self._ports.memory.asks(self.shard.id)

    def _due(self) -> bool:
        ingest, rules = self._ingest, self._rules
        # In a backlog nearly every page closes a period. To commit each by itself would make many small segments.
        backlog_ms = max(self._policy.rules.period_ms, 1000 * rules.every_s)
        closes = ingest.moved and self.status.behind_ms <= backlog_ms
        if closes or self._short_of_memory():
            return True
        if self._since is None:
            return False
        every_s = min(rules.every_s, self._haste_s) if self._pushed else rules.every_s
        if not self.orders.lease_is_fresh():
            # If the shard is lost, let its new owner commit first, so that this one loses the race.
            every_s = 2 * max(every_s, min(rules.every_s, _IN_HASTE))
        return self._ports.clock.monotonic() - self._since >= every_s

    # Committing.

    async def _drained(self) -> None:
        """Commit everything that was read, with the bound that closes it for the whole fleet."""
        if self._ingest.moved:  # advanced by the service's clock at the tip: commit it, so that others see it
            await self._cut()
        await self._flush()
        self.orders.at_tip.set()
        if self.orders.finish is not None:
            closed_before = await self.orders.finish
            if closed_before > self._ingest.closed_before:
                await self._cut(closed_before=closed_before)
                await self._commits.settle()

    async def _flush(self) -> None:
        if self._ingest.has_progress:
            await self._cut()
        await self._commits.settle()

    async def _cut(
        self, *, children: tuple[ShardInfo, ...] | None = None, gap: str = "", closed_before: int | None = None
    ) -> None:
        """Cut the segment being built and commit it. Waits for the one in flight, since only one may be."""
        await self._commits.settle()
        ports = self._ports
        draft = self._ingest.cut(
            ports.owner, ports.clock.now_ms(), children=children, gap=gap, closed_before=closed_before
        )
        self._since, self.status.oldest_uncommitted_ms, self._haste_s = None, None, _IN_HASTE
        await self._commits.begin(draft, self._ingest)

    def _committed(self, footer: Footer) -> None:
        self.status.committed_n = footer.n
        self._on_commit(self.shard.id, footer)
