"""The objects and closed hours of a plan, as functions of the logs."""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.log.lines import LineTable
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Counts, Folder, empty_footer, folder_hash, member_offsets
from vortex.core.model import HOUR_MS, Position, Start
from vortex.core.publish.contents import closed_hours
from vortex.core.publish.members import objects
from vortex.core.publish.plan import LogView, Plan, PlanShard, Rules, propose

PERIOD = 300_000


def log(shard: str, segments: int, rng: Random) -> LogView:
    """A log whose segments hold random members, each within its bounds."""
    headers: list[SegmentHeader] = []
    bound = 0
    for n in range(segments):
        cells, lines = [], []
        for path in {f"folder{rng.randrange(30)}" for _ in range(rng.randrange(12))}:
            folder = Folder(path, folder_hash(path))
            cells.append(Cell(folder, bound + PERIOD * rng.randrange(3)))
            lines.append([b"x" * rng.randrange(1, 50)])
        bound += PERIOD * rng.randrange(2)
        prev, at = headers[-1].digest if headers else "", Position(Start.TRIM_HORIZON)
        footer = empty_footer(shard, n, prev, owner="me", created=0, position=at, watermark=bound, closed_before=bound)
        footer.periods = {cell.period: Counts() for cell in cells}
        sealed = seal(footer, cells, LineTable.of(lines))
        headers.append(SegmentHeader(shard, n, sealed.digest, sealed.footer))
    return LogView(headers)


@given(st.integers(0, 2**32), st.sampled_from([1, 40, 10_000]))
def test_plans_publish_every_member_once_for_any_number_of_shares(seed: int, target: int) -> None:
    """Shares of the hash space divide the work, and do not change the outcome."""
    rng = Random(seed)
    views = {name: log(name, rng.randint(1, 8), rng) for name in ("a", "b")}
    plan = Plan(k=-1, after=0, upto=0, shards={name: PlanShard() for name in views}, target=target)
    published: list[tuple[str, int, int, int, int]] = []
    while (following := propose(plan, views, Rules(target), limit=200)) is not None:
        plan = following
        whole = objects(plan, views, {})
        cut = msgspec.structs.replace(plan, ranges=8)
        parts = [spec for share in range(8) for spec in objects(cut, views, {}, share)]
        assert sorted(parts, key=lambda spec: spec.key) == sorted(whole, key=lambda spec: spec.key)
        for spec in whole:
            assert plan.after <= spec.period < plan.upto
            published += [(piece.shard, piece.n, piece.offset, piece.begin, piece.raw) for piece in spec.pieces]
    members = [
        (head.shard, head.n, offset, begin, raw)
        for view in views.values()
        for head in view.headers
        if head.footer
        for (_, period, offset, _, _, raw, _), begin in zip(
            head.footer.member_rows.tolist(), member_offsets(head.footer.member_rows)[0].tolist(), strict=True
        )
        if period < plan.upto
    ]
    assert sorted(published) == sorted(members)
    bounds = [view.headers[-1].footer.closed_before for view in views.values() if view.headers[-1].footer]
    assert plan.upto == min(bounds)


def test_closed_hours_before_the_first_start_are_only_those_with_events() -> None:
    """From the hour of the first start on, every hour closes."""
    first = 500_000 * HOUR_MS
    old = 10 * HOUR_MS
    assert closed_hours(0, first, first, [old, old + PERIOD]) == [old]
    assert closed_hours(first, first + 3 * HOUR_MS, first, []) == [first + n * HOUR_MS for n in range(3)]
    assert closed_hours(first + PERIOD, first + 2 * PERIOD, first, [first + PERIOD]) == []
    assert closed_hours(first + PERIOD, first + HOUR_MS, first, []) == [first]
