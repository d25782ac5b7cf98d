"""Records by column."""

from __future__ import annotations

import pytest

from vortex.core.decode.records import Records
from vortex.core.model import Record


def test_records_equal_the_sequence_they_are_made_of() -> None:
    """As a sequence, and by its columns."""
    rows = [Record(str(10**20 + n), 1.5 + n, b"%d" % n * n) for n in range(5)]
    records = Records.of(rows)
    assert (list(records), records[1], records[-1], records[1:3], records.first, records.last) == (
        rows,
        rows[1],
        rows[-1],
        rows[1:3],
        rows[0].sequence,
        rows[-1].sequence,
    )
    assert records == rows and Records.of(records) is records and not Records.of([])
    with pytest.raises(IndexError):
        records[5]


@pytest.mark.parametrize(("first", "last"), [(0, 5), (0, 2), (2, 4), (3, 5), (0, 0), (5, 5)])
def test_part_holds_the_records_of_its_range(first: int, last: int) -> None:
    """Sequence numbers may differ in length."""
    rows = [Record(str(10**n), 1.5 + n, b"%d" % n * n) for n in range(5)]
    part = Records.of(rows).part(first, last)
    assert (list(part), part.datas, len(part)) == (
        rows[first:last],
        [row.data for row in rows[first:last]],
        last - first,
    )


@pytest.mark.parametrize(
    ("sequences", "ordered"),
    [
        ([], True),
        (["1"], True),
        (["10", "11", "99"], True),
        (["9", "10", "100"], True),
        (["10", "10"], False),
        (["100", "99"], False),
        (["1", ""], False),
        ([""], False),
        (["1a", "2a"], False),
        (["-1", "10"], False),
        (["1\n2", "30"], False),
        (["1" * 199, "2" * 199], True),
        (["1" * 201, "2" * 201], False),
    ],
)
def test_records_are_ordered_when_their_sequence_numbers_are_increasing_numbers(
    sequences: list[str], ordered: bool
) -> None:
    assert Records.of([Record(sequence, 0.0, b"") for sequence in sequences]).ordered is ordered
