"""KPL aggregates: one Kinesis record that carries many user records.

Layout: the magic F3 89 9A C2, a protobuf `AggregatedRecord`, then the MD5 of that protobuf (16 bytes).
Source: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md

    message AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2;
                               repeated Record records = 3; }
    message Record { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2;
                     required bytes data = 3; repeated Tag tags = 4; }

Only `data` is used. A sub-record is kept even if its hash key is outside the shard (possible after a split): no other
shard contains it.
"""

from __future__ import annotations

from hashlib import md5

import numpy as np
from numpy.typing import NDArray

from vortex.core.decode.reasons import OverBudget, Reason
from vortex.core.decode.steps import Steps, at_once
from vortex.core.native import steps

MAGIC = b"\xf3\x89\x9a\xc2"
DIGEST_SIZE = 16

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_RECORDS_TAG = 3 << 3 | _BYTES
_DATA_TAG = 3 << 3 | _BYTES
_INDEX_TAG = 1 << 3 | _VARINT
_VARINT_BITS = 70  # ten bytes of seven bits hold any uint64
_STEP = 10_000  # fields


class _Malformed(Exception):
    """The bytes are not protobuf of the expected structure."""


def aggregates(data: bytes, bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the records `data[bounds[i]:bounds[i + 1]]` have the magic and a matching MD5."""
    begins, ends = bounds[:-1], bounds[1:]
    found = np.zeros(len(begins), dtype=np.bool_)
    long = np.flatnonzero(ends - begins >= len(MAGIC) + DIGEST_SIZE)
    first = np.frombuffer(data, dtype=np.uint8)[begins[long]]
    whole = memoryview(data)
    for at in long[first == MAGIC[0]].tolist():
        record = whole[begins[at] : ends[at]]
        found[at] = record[: len(MAGIC)] == MAGIC and _md5_matches(record)
    return found


def _md5_matches(record: bytes | memoryview) -> bool:
    return md5(record[len(MAGIC) : -DIGEST_SIZE], usedforsecurity=False).digest() == record[-DIGEST_SIZE:]


def deaggregate(data: bytes) -> list[bytes] | None:
    """The user records inside `data`, in order; None if it is not an aggregate and so is one event itself.

    None covers another magic, a wrong MD5, and malformed protobuf: a producer's own bytes may begin with the magic by
    chance, so none of these is an error.
    """
    return at_once(user_records(data, len(data)))


def user_records(data: bytes, most: int) -> Steps[list[bytes] | None]:
    """As `deaggregate`, in steps. Raises OverBudget, without reading the rest, if there are more than `most`."""
    end = len(data) - DIGEST_SIZE
    if not data.startswith(MAGIC) or end < len(MAGIC) or not _md5_matches(data):
        return None
    records = steps.aggregate(data, len(MAGIC), end, most)
    if records is None:
        try:
            records = yield from _aggregated_record(data, len(MAGIC), end, most)
        except _Malformed:
            return None
    if len(records) > most:
        raise OverBudget(Reason.TOO_MANY_SUB_RECORDS, f"contains more than {most} user records (limits.events)")
    return records


def rest(data: bytes, skip: int) -> bytes | None:
    """The record without its first `skip` (at least 1) user records; None if nothing is left.

    The result is an aggregate of the other records. A record that is not an aggregate is a single user record.
    """
    records = deaggregate(data)
    if records is None or skip >= len(records):
        return None
    kept = []
    since, at, end = 0, len(MAGIC), len(data) - DIGEST_SIZE
    while skip > 0:
        begin = at
        tag, at = _varint(data, at, end)
        at = _skip(data, tag, at, end)
        if tag == _RECORDS_TAG:
            kept.append(data[since:begin])
            since = at
            skip -= 1
    body = b"".join([*kept, data[since:end]])
    return body + md5(body[len(MAGIC) :], usedforsecurity=False).digest()


def _aggregated_record(data: bytes, at: int, end: int, most: int) -> Steps[list[bytes]]:
    """The user records, at most `most` + 1 of them."""
    records: list[bytes] = []
    fields = 0
    while at < end and len(records) <= most:
        tag, at = _varint(data, at, end)
        if tag == _RECORDS_TAG:
            size, at = _varint(data, at, end)
            stop = at + size
            if stop > end:
                raise _Malformed
            records.append((yield from _record(data, at, stop)))
            at = stop
        else:
            at = _skip(data, tag, at, end)
        fields += 1
        if fields % _STEP == 0:
            yield
    return records


def _record(data: bytes, at: int, end: int) -> Steps[bytes]:
    """The `data` field of one `Record`; the last one if it is repeated, as in protobuf."""
    begin = stop = -1
    indexed = False
    fields = 0
    while at < end:
        tag, at = _varint(data, at, end)
        if tag == _DATA_TAG:
            size, begin = _varint(data, at, end)
            at = stop = begin + size
            if stop > end:
                raise _Malformed
        else:
            indexed = indexed or tag == _INDEX_TAG
            at = _skip(data, tag, at, end)
        fields += 1
        if fields % _STEP == 0:
            yield
    if begin < 0 or not indexed:
        raise _Malformed
    return data[begin:stop]


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The base-128 number at `at`, and the position after it."""
    if at >= end:
        raise _Malformed
    byte = data[at]
    if byte < 0x80:  # nearly always: tags, indexes and short lengths take one byte
        return byte, at + 1
    value = byte & 0x7F
    for shift in range(7, _VARINT_BITS, 7):
        at += 1
        if at >= end:
            break
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise _Malformed


def _skip(data: bytes, tag: int, at: int, end: int) -> int:
    """The position after the value of an unused field. Groups (wire types 3, 4) are not part of the format."""
    if tag < 1 << 3:
        raise _Malformed  # field number 0
    wire = tag & 7
    if wire == _VARINT:
        at = _varint(data, at, end)[1]
    elif wire == _BYTES:
        size, at = _varint(data, at, end)
        at += size
    elif wire == _FIXED64:
        at += 8
    elif wire == _FIXED32:
        at += 4
    else:
        raise _Malformed
    if at > end:
        raise _Malformed
    return at
