"""How segments of a log follow each other, how it begins, and how its bound is moved."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from vortex.core.log.rules import (
    BrokenLog,
    SegmentHeader,
    advanced,
    check_follows,
    child_position,
    child_state,
    first_footer,
    segment_key,
    segment_number,
)
from vortex.core.log.segment import Footer
from vortex.core.model import Position, ShardInfo, Start

SHARD = ShardInfo("shard-1")
READ = Position(Start.AFTER_SEQUENCE_NUMBER, "17")


def footer(**changes: Any) -> Footer:
    """Segment 0 of a log that was read up to record 17."""
    made = first_footer(SHARD, READ, watermark=1000, closed_before=600, owner="w", created=5)
    return msgspec.structs.replace(made, **changes)


def header(**changes: Any) -> SegmentHeader:
    """The same as the log holds it."""
    made = footer(**changes)
    return SegmentHeader(made.shard, made.n, f"digest-{made.n}", made)


def following(**changes: Any) -> SegmentHeader:
    """A segment 1 that is right but for `changes`."""
    return header(**{"n": 1, "prev": "digest-0", "start": READ, **changes})


def test_check_follows_accepts_a_segment_that_continues_the_last_one() -> None:
    """Also one that advances its bounds."""
    check_follows(header(), following(), "r")
    check_follows(header(), following(watermark=2000, closed_before=1200), "r")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (header(), following(n=2)),
        (header(), following(prev="another")),
        (header(ended=True), following()),
        (header(), following(watermark=999)),
        (header(), following(closed_before=599)),
        (header(), following(start=Position(Start.AFTER_SEQUENCE_NUMBER, "18"))),
        (header(), SegmentHeader("shard-1", 1, "digest-1", footer(n=2, prev="digest-0", start=READ))),
        (header(), SegmentHeader("shard-1", 1, "digest-1", footer(shard="other", n=1, prev="digest-0", start=READ))),
    ],
    ids=["a hole", "another chain", "after the end", "watermark", "closed_before", "start", "number", "shard"],
)
def test_check_follows_names_the_segment_that_does_not_follow(before: SegmentHeader, after: SegmentHeader) -> None:
    with pytest.raises(BrokenLog, match=segment_key("r", after.shard, after.n)):
        check_follows(before, after, "r")


def test_advanced_changes_only_closed_before() -> None:
    """It never goes back."""
    moved = advanced(header(), 1200, owner="x", created=9)
    assert (moved.n, moved.prev, moved.closed_before, moved.advances) == (1, "digest-0", 1200, True)
    assert (moved.start, moved.position, moved.watermark, moved.ids) == (READ, READ, 1000, 0)
    check_follows(header(), SegmentHeader("shard-1", 1, "digest-1", moved), "r")
    assert advanced(header(), 300, owner="x", created=9).closed_before == 600


def test_advanced_refuses_an_ended_log() -> None:
    with pytest.raises(BrokenLog, match="shard-1"):
        advanced(header(ended=True), 1200, owner="x", created=9)


def test_child_starts_at_its_oldest_record_with_the_bounds_of_its_parents() -> None:
    """The least watermark and the greatest bound; at a time only if nothing was read of any parent."""
    other = footer(watermark=400, closed_before=900)
    assert child_state([footer(), other]) == (400, 900)
    assert child_position([footer(), other]) == Position(Start.TRIM_HORIZON)
    since = Position(Start.AT_TIMESTAMP, "5")
    assert child_position([footer(position=since), footer(position=since)]) == since
    assert child_position([footer(position=since), footer()]) == Position(Start.TRIM_HORIZON)


def test_segment_number_reads_only_keys_of_segments() -> None:
    """Listings are in the order of the numbers."""
    assert segment_number(segment_key("r", "s", 7)) == 7
    assert segment_key("r", "s", 9) < segment_key("r", "s", 10)
    assert segment_number("r/shards/s/other") is None
