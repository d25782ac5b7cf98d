"""The sizes of a segment's periods are those of its members."""

from __future__ import annotations

from random import Random

from tests.unit.core.publish.test_contents import log
from vortex.core.log.index import sizes_of


def test_sizes_are_the_sums_of_the_members_of_each_period() -> None:
    for head in log("s", 60, Random(3)).headers:
        members = head.footer.member_rows.tolist()
        blobs = {(offset, period): length for _, period, offset, length, *_ in members}
        first = 0
        for one in sizes_of(head.footer):
            its = [some for some in members if some[1] == one.period]
            assert one.lines == one.rows == sum(some[4] for some in its)
            assert one.size == sum(length for (_, period), length in blobs.items() if period == one.period)
            assert one.first == first
            first += one.rows
        assert first == sum(some[4] for some in members)


def test_a_segment_without_its_index_keeps_the_sizes() -> None:
    head = log("s", 8, Random(4)).headers[5]
    assert head.has_index
    slim = head.without_index()
    assert (slim.sizes, slim.digest, slim.has_index) == (head.sizes, head.digest, not head.footer.data_bytes)
