"""What a planner keeps of the segments that it has read."""

from __future__ import annotations

from random import Random

from benchmarks.growth.ground import PERIOD_MS, ROOT, T0, CountingStore, Traffic, fill, put, segment
from simulation import vtime
from vortex.core.log.lines import LineTable
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Folder, empty_footer, folder_hash
from vortex.core.model import Position, Start
from vortex.core.publish.plan import LogView, Plan, PlanShard, initial_plan
from vortex.health import Health
from vortex.log.store import LogStore
from vortex.publish.known_logs import Indexes, KnownLogs, needed_views
from vortex.retry import Retry


def head(n: int, rows: int = 100) -> SegmentHeader:
    """A segment of so many rows in one folder, as read with its ids."""
    footer = empty_footer(
        "s", n, owner="me", created=0, position=Position(Start.TRIM_HORIZON), watermark=0, closed_before=0
    )
    ids = bytes(16 * rows)
    made = seal(footer, [Cell(Folder("f", folder_hash("f")), 0)], LineTable.of([[b"x"] * rows]), ids)
    return SegmentHeader("s", n, made.digest, made.footer, ids=ids)


def test_indexes_keep_ids_in_half_of_the_memory_and_indexes_in_all_of_it() -> None:
    size = len(head(0).footer.members) + 8  # beside 1,600 bytes of ids
    indexes = Indexes(most=2 * (1600 + size) + 2 * size)
    kept = [indexes.kept(head(n)) for n in range(8)]
    assert [one.ids is not None for one in kept] == [True, True, *[False] * 6]
    assert [one.has_index for one in kept][:4] == [True] * 4
    assert indexes.held <= indexes.most
    indexes = Indexes(most=1600)
    assert [indexes.kept(head(n)).has_index for n in range(1600 // size + 2)][-1] is False


class Ground:
    """Logs of four shards, which have closed a period with three segments and an empty one; and who knows nothing."""

    def __init__(self) -> None:
        self.store = CountingStore(vtime.VirtualClock(T0 + 2 * PERIOD_MS))
        state = fill(self.store, 4, Traffic(commits=3, partitions=2, size=100))
        self.log_store = LogStore(self.store, ROOT, Retry(vtime.VirtualClock(), vtime.NullMeter(), Health(), Random(1)))
        plan = initial_plan(state)
        self.logs = KnownLogs(self.log_store, plan, 0.0, {shard: LogView() for shard in plan.shards})
        self.shards = sorted(plan.shards)

    def close(self, shard: str, closed_before: int) -> None:
        """Add an empty segment."""
        keys = sorted(key for key in self.store.objects if f"/{shard}/" in key)
        heads = self.logs.views[shard].headers
        assert heads[-1].n == len(keys) - 1, "all are known"
        put(self.store, segment(shard, len(keys), heads[-1].digest, closed_before, {}))

    async def look(self, now: float = 1.0) -> int:
        """Look on. Returns how many requests this took."""
        self.store.requests.clear()
        await self.logs.look_on(False, now, 1000)
        return self.store.gets()


async def test_a_look_reads_logs_as_far_as_the_first_one_is_closed_and_misses_no_further_segment() -> None:
    """No plan gets further than that."""
    ground = Ground()
    assert await ground.look() == 4 * 4 + 1, "it misses one, of the log that held the frontier"
    assert ground.logs.frontier() == (T0 + PERIOD_MS, ground.shards[0])
    ground.logs.plan = Plan(k=0, after=T0, upto=T0 + PERIOD_MS, shards=ground.logs.plan.shards, target=1)
    assert await ground.look() == 1, "the first log has not moved, so the others are not read"
    for shard, bound in zip(ground.shards, (2, 3, 2, 2), strict=True):
        ground.close(shard, T0 + bound * PERIOD_MS)
    assert await ground.look() == 4 + 1
    assert ground.logs.frontier() == (T0 + 2 * PERIOD_MS, ground.shards[0])


async def test_only_the_log_that_holds_the_frontier_lags_though_others_were_not_read_on() -> None:
    """With `hours.max_delay`, a log that lags gets a segment, and a warning."""
    ground = Ground()
    await ground.look()
    ground.logs.plan = Plan(k=0, after=T0, upto=T0 + PERIOD_MS, shards=ground.logs.plan.shards, target=1)
    for shard in ground.shards[1:]:
        ground.close(shard, T0 + 3 * PERIOD_MS)
    await ground.look()
    assert [head.shard for head in await ground.logs.lagging(T0 + 2 * PERIOD_MS)] == ground.shards[:1]


async def test_a_look_reads_all_logs_to_their_ends_after_a_time() -> None:
    """The age of what is not published is a metric, also where the frontier stands still."""
    ground = Ground()
    await ground.look()
    ground.logs.plan = Plan(k=0, after=T0, upto=T0 + PERIOD_MS, shards=ground.logs.plan.shards, target=1)
    ground.close(ground.shards[2], T0 + 2 * PERIOD_MS)
    assert await ground.look(now=1000.0) == 1
    assert await ground.look(now=1001.0) == 4 + 1
    newest = ground.logs.views[ground.shards[2]].newest
    assert newest is not None and newest.closed_before == T0 + 2 * PERIOD_MS
    assert await ground.look(now=2000.0) == 1


async def test_needed_views_reads_no_segment_again_that_is_known() -> None:
    """Those of the ids that the worker has exchanged."""
    ground = Ground()
    await ground.look()
    last = {shard: view.headers[-1] for shard, view in ground.logs.views.items()}
    entries = {shard: PlanShard(first=1, to=3, digest=head.digest) for shard, head in last.items()}
    plan = Plan(k=0, after=T0, upto=T0 + PERIOD_MS, shards=entries, target=1, ranges=2, hashed=2)
    known = {shard: ground.logs.views[shard] for shard in ground.shards[:2]}
    ground.store.requests.clear()
    kept = Indexes().kept
    views = await needed_views(ground.log_store, plan, [1], [], kept, known)
    assert {shard: [head.n for head in view.headers] for shard, view in views.items()} == {
        shard: [1, 2, 3] for shard in ground.shards
    }
    assert ground.store.gets() == 2 * 3
    assert all(head.has_index for view in views.values() for head in view.headers)
