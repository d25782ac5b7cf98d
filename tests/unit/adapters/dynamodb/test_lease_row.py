"""Invalid rows in the lease table: the shard is still read."""

from __future__ import annotations

from typing import Any

import pytest

from vortex.adapters.aws.exchange import Malformed
from vortex.adapters.dynamodb.lease_row import read_row, row_of, same_value, write_row
from vortex.core.fleet.lease import TRIM_HORIZON, Checkpoint, Lease

FREE = Lease("shard", None, 7, Checkpoint(TRIM_HORIZON), parents=("p",), start_hash=0, end_hash=9, stream=5, store="s")


@pytest.mark.parametrize(
    "junk",
    [
        {"throughputKBps": {"S": "fast"}},
        {"throughputKBps": {"N": "-5"}},
        {"throughputKBps": {"N": "1E+999"}},
        {"checkpointSubSequenceNumber": {"N": "-3"}},
        {"checkpointSubSequenceNumber": {"BOOL": True}},
        {"ownerSwitchesSinceCheckpoint": {"NULL": True}},
        {"parentShardId": {"S": "p"}},
        {"childShardIds": {"NS": ["1"]}},
        {"startingHashKey": {"S": "zero"}},
        {"endingHashKey": {"S": str(2**128)}},
        {"vortexToken": {"N": "5"}},
        {"checkpointOwner": {"L": []}},
        {"vortexStreamCreated": {"N": "1.5"}},
    ],
    ids=str,
)
def test_read_row_treats_an_invalid_optional_attribute_as_missing(junk: dict[str, Any]) -> None:
    lease = read_row(write_row(FREE) | junk)
    assert lease is not None
    assert (lease.key, lease.owner, lease.counter, lease.checkpoint) == ("shard", None, 7, Checkpoint(TRIM_HORIZON))


JUNK: list[dict[str, Any]] = [
    {"leaseCounter": {"S": "seven"}},
    {"leaseCounter": {"N": "1.5"}},
    {"leaseCounter": {"N": "1E+37"}},
    {"leaseCounter": {"N": "9" * 30}},
    {"leaseOwner": {"N": "5"}},
    {"checkpoint": {"N": "5"}},
]


@pytest.mark.parametrize("junk", JUNK, ids=str)
def test_row_of_raises_malformed_and_names_the_row_when_a_required_attribute_is_invalid(junk: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match=r"row .*shard"):
        row_of(write_row(FREE) | junk)


@pytest.mark.parametrize(
    ("found", "written", "same"),
    [
        ({"N": "1.50"}, {"N": "1.5"}, True),
        ({"N": "1E+1"}, {"N": "10"}, True),
        ({"N": "10"}, {"N": "11"}, False),
        ({"SS": ["b", "a"]}, {"SS": ["a", "b"]}, True),
        ({"SS": ["b"]}, {"SS": ["a", "b"]}, False),
        ({"S": "a"}, {"S": "a"}, True),
        ({"S": "b"}, {"S": "a"}, False),
        (None, {"S": "a"}, False),
    ],
)
def test_same_value_compares_as_dynamodb_stores(found: Any, written: Any, same: bool) -> None:
    assert same_value(found, written) is same
