"""The members of a plan in order, in chunks."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from tests.unit.core.publish.test_contents import log
from vortex.core.publish.members import members_of, objects
from vortex.core.publish.plan import LogView, Plan, PlanShard


def plan_of(seed: int) -> tuple[Plan, dict[str, LogView]]:
    rng = Random(seed)
    views = {name: log(name, 6, rng) for name in ("a", "b")}
    shards = {name: PlanShard(first=0, to=5) for name in views}
    return Plan(k=0, after=0, upto=10**9, shards=shards, target=60), views


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_chunks_give_the_same_objects_for_any_size(most: int) -> None:
    """A folder and period is never divided."""
    plan, views = plan_of(1)
    members = members_of(plan, views, {})
    found = [spec for first, last in members.chunks(most=most) for spec in members.objects(plan.target, first, last)]
    assert found == objects(plan, views, {})
    order = [(spec.period, spec.folder.hash, spec.folder.path, spec.key) for spec in found]
    assert order == sorted(order)
    for spec in found:
        assert [(piece.shard, piece.n) for piece in spec.pieces] == sorted((p.shard, p.n) for p in spec.pieces)


def test_an_object_without_rows_is_left_out() -> None:
    """All rows of one segment are dropped, and the first row of another one."""
    plan, views = plan_of(2)
    rows = {(p.shard, p.n): 0 for spec in objects(plan, views, {}) for p in spec.pieces}
    for spec in objects(plan, views, {}):
        for piece in spec.pieces:
            rows[piece.shard, piece.n] += piece.rows
    first, second = list(rows)[:2]
    dropped = {first: np.arange(rows[first]), second: np.array([0])}
    left = [piece for spec in objects(plan, views, dropped) for piece in spec.pieces]
    assert sum(piece.rows - len(piece.out) for piece in left) == sum(rows.values()) - rows[first] - 1
