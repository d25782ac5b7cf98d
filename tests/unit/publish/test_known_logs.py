"""What a planner keeps of the logs: how far they are closed, what waits, and what it forgets."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from vortex.core.log.rules import SegmentHeader, first_footer
from vortex.core.log.segment import Counts
from vortex.core.model import Position, ShardInfo, Start
from vortex.core.publish.plan import LogView, Plan, PlanShard
from vortex.publish.known_logs import KnownLogs


def header(shard: str, n: int, closed_before: int, periods: tuple[int, ...], **changes: Any) -> SegmentHeader:
    """A segment made at 10 * n with something of these periods."""
    first = first_footer(ShardInfo(shard), Position(Start.TRIM_HORIZON), 0, closed_before, owner="", created=10 * n)
    made = msgspec.structs.replace(first, n=n, periods=dict.fromkeys(periods, Counts()), **changes)
    return SegmentHeader(shard, n, f"{shard}{n}", made)


def known(upto: int, shards: dict[str, PlanShard], views: dict[str, LogView]) -> KnownLogs:
    return KnownLogs(cast(Any, None), Plan(k=3, after=0, upto=upto, shards=shards, target=1), 0.0, views)


def test_frontier_is_the_least_bound_and_children_without_a_log_hold_it() -> None:
    views = {"a": LogView([header("a", 0, 900, ())]), "b": LogView([header("b", 0, 600, ())])}
    logs = known(0, {"a": PlanShard(), "b": PlanShard()}, views)
    assert logs.frontier() == (600, "b")
    child = ShardInfo("c", ("b",))
    views["b"].headers.append(header("b", 1, 800, (), ended=True, children=(child,)))
    assert logs.frontier() == (800, "c")


def test_unpublished_since_is_the_age_of_the_oldest_segment_with_an_open_period() -> None:
    logs = known(600, {"a": PlanShard()}, {"a": LogView([header("a", 1, 0, (0, 300)), header("a", 2, 0, (300, 600))])})
    assert logs.unpublished_since == 20
    logs.plan = msgspec.structs.replace(logs.plan, upto=900)
    assert logs.unpublished_since is None


def test_forget_published_keeps_what_later_plans_need_and_drops_retired_logs() -> None:
    """The plan's last segment stays, too: the log is followed from there."""
    shards = {"a": PlanShard(to=3, next=2), "b": PlanShard(to=1, next=2, ended=True)}
    views = {name: LogView([header(name, n, 0, ()) for n in range(4)]) for name in shards}
    logs = known(600, shards, views)
    logs.forget_published(msgspec.structs.replace(logs.plan, k=2))
    assert set(logs.views) == {"a", "b"}, "another plan's"
    logs.forget_published(logs.plan)
    assert {name: [head.n for head in view.headers] for name, view in logs.views.items()} == {"a": [2, 3]}
