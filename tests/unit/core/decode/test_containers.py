"""The parts of records: what each holds, and which record and place it comes from."""

from __future__ import annotations

import gzip

import pytest

from tests.kpl import aggregate
from vortex.core.decode.containers import one_line, parts_of
from vortex.core.decode.limits import Limits
from vortex.core.decode.reasons import Reason

ONE, TWO = b'{"id":1}', b'{"id":2}'


def test_parts_of_returns_the_values_of_every_container_with_record_and_place() -> None:
    datas = [ONE, ONE + b"\n" + TWO, b"[" + ONE + b"," + TWO + b"]", gzip.compress(ONE + TWO), aggregate([ONE, TWO])]
    parts = parts_of(datas)
    assert parts.data == [ONE] + [ONE, TWO] * 4
    assert list(parts.owners) == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [parts.sub(part) for part in range(len(parts.data))] == [0] + [0, 1] * 4
    assert parts.refused == {}


def test_parts_of_refuses_a_broken_record_or_one_beyond_a_limit_as_a_whole() -> None:
    broken, large = gzip.compress(ONE)[:-3], b"\n".join([ONE] * 9)
    parts = parts_of([ONE, broken, large, TWO], Limits(events=8))
    assert parts.data == [ONE, broken, large, TWO]
    reasons = {part: refused.reason for part, refused in parts.refused.items()}
    assert reasons == {1: Reason.BAD_COMPRESSION, 2: Reason.TOO_MANY_EVENTS}


def test_parts_of_refuses_an_aggregate_without_user_records() -> None:
    """It used to leave no trace: neither an event nor a rejection."""
    empty = aggregate([])
    parts = parts_of([ONE, empty])
    assert parts.data == [ONE, empty]
    assert {part: refused.reason for part, refused in parts.refused.items()} == {1: Reason.EMPTY}


@pytest.mark.parametrize(
    "between", [b"null", b"5", b'"x"', b" 5 ", b"\x1e]", b"]", b"[]", b"[1] ", b"{}", b"][", b'"}{"']
)
def test_parts_of_takes_a_record_apart_the_same_way_whatever_its_neighbours_are(between: bytes) -> None:
    """A page of records that look like one event each used to skip the step that takes records apart."""
    record = ONE + between + TWO
    alone = parts_of([record])
    beside = parts_of([record, b"[" + ONE + b"]"])
    assert beside.data == [*alone.data, ONE]


def test_one_line_replaces_line_breaks_by_spaces() -> None:
    assert one_line(ONE) is ONE
    assert one_line(b' {\r\n"id":\n1}\n') == b'{  "id": 1}'
