"""Which retired shards a plan forgets."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from vortex.core.log.rules import SegmentHeader, first_footer
from vortex.core.model import Position, ShardInfo, Start
from vortex.core.publish.forgetting import End, end_of, forgetting
from vortex.core.publish.plan import LogView, Plan, PlanShard

AGE_MS = 1000


def plan_of(live: dict[str, tuple[str, ...]], retired: Iterable[str]) -> Plan:
    """A plan up to 5000 with live shards and their parents."""
    shards = {shard: PlanShard(to=3, parents=parents) for shard, parents in live.items()}
    return Plan(k=7, after=4000, upto=5000, shards=shards, retired=dict.fromkeys(retired, 3), target=1)


def view_of(shard: str, *children: str) -> LogView:
    """A log that has ended with these children, or has not ended if there are none."""
    first = first_footer(ShardInfo(shard), Position(Start.TRIM_HORIZON), 0, 5000, owner="", created=0)
    infos = tuple(ShardInfo(child, (shard,)) for child in children)
    footer = msgspec.structs.replace(first, ended=bool(children), children=infos)
    return LogView([SegmentHeader(shard, 3, "", footer)])


def test_forgetting_drops_ended_shards_down_to_the_parents_of_live_shards() -> None:
    """`a` was split into `b` and `c`, these merged into `d`, which was split into the live `e` and `f`."""
    plan = plan_of({"e": ("d",), "f": ("d",)}, "abcd")
    ends = {"a": End(("b", "c"), 100), "b": End(("d",), 200), "c": End(("d",), 200), "d": End(("e", "f"), 300)}
    left = forgetting(plan, {"e": view_of("e"), "f": view_of("f")}, ends, set("abcd"), AGE_MS)
    assert left.retired == {"d": 3}
    assert left == msgspec.structs.replace(plan, retired=left.retired)


@pytest.mark.parametrize(
    ("absent", "ends", "kept"),
    [
        pytest.param("bc", {}, "abcd", id="its parent's log is kept and names it, and its child's"),
        pytest.param("ac", {}, "bd", id="it is not absent"),
        pytest.param("abc", {"a": End(("b", "c"), 4001)}, "abcd", id="its parent ended too late to be forgotten"),
        pytest.param("abc", {"b": End(("d",), 4001)}, "bd", id="it ended too late"),
    ],
)
def test_forgetting_keeps_a_shard_that_something_can_bring_back(absent: str, ends: dict[str, End], kept: str) -> None:
    """Of the shards above, where `e` is the live child of `d`."""
    all_ends = {"a": End(("b", "c"), 100), "b": End(("d",), 200), "c": End(("d",), 200), "d": End(("e",), 300)} | ends
    plan = plan_of({"e": ("d",)}, "abcd")
    left = forgetting(plan, {"e": view_of("e")}, all_ends, set(absent), AGE_MS)
    assert set(left.retired) == set(kept)


def test_forgetting_keeps_what_a_live_log_names() -> None:
    """A child of a merge may be published before one of its parents."""
    plan = plan_of({"slow": ()}, ["fast", "child"])
    ends = {"fast": End(("child",), 100), "child": End((), 100)}
    views = {"slow": view_of("slow", "child")}
    assert set(forgetting(plan, views, ends, {"fast", "child"}, AGE_MS).retired) == {"child"}


def test_forgetting_waits_while_the_end_of_a_log_is_not_known() -> None:
    """It may name any child."""
    plan = plan_of({"live": ()}, ["known", "unknown"])
    assert forgetting(plan, {}, {"known": End((), 100)}, {"known"}, AGE_MS) is plan


def test_end_of_has_the_children_and_the_bound_of_a_footer() -> None:
    newest = view_of("a", "b", "c").newest
    assert newest is not None
    assert end_of(newest) == End(("b", "c"), 5000)
