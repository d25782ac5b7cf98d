"""Random replies of GetRecords in CBOR, legal and broken, and what differs when C and botocore read them."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from benchmarks.wire import Time, cbor, uncbor
from vortex.adapters.aws.cbor import NotCbor
from vortex.adapters.kinesis.get_records import decode_cbor
from vortex.core.model import Record

_OPEN, _BREAK = 31, b"\xff"
_ARRAY, _MAP = 4, 5
_LEAST_MS = 1e11


def differing_cbor(rng: Random) -> str:
    """A random reply that is not read as it was written, or a broken one that C reads otherwise than botocore does."""
    body, records = reply(rng)
    if _read(body) != records:
        return f"the reply in CBOR {body!r}"
    for one in (_broken(rng, body) for _ in range(20)):
        found = _read(one)
        if found is not None and (wanted := _by_botocore(one)) is not None and found != wanted:
            return f"the broken reply in CBOR {one!r}"
    return ""


def reply(rng: Random) -> tuple[bytes, list[Record]]:
    """A valid body, and its records."""
    made = [_record(rng) for _ in range(rng.randint(0, 6))]
    members = [
        ("Records", _items(rng, _ARRAY, [body for body, _ in made])),
        ("MillisBehindLatest", cbor(rng.choice([0, 23, 24, 255, 256, 65_536, 10**10]))),
        ("NextShardIterator", cbor(rng.choice([None, "it+er/ator==", "x" * 300]))),
    ]
    if rng.random() < 0.3:
        members.append(("Other", cbor(_anything(rng))))
    rng.shuffle(members)
    return _map(rng, members), [record for _, record in made]


def _record(rng: Random) -> tuple[bytes, Record]:
    data = rng.randbytes(rng.choice([0, 1, 23, 24, 255, 256, 70_000]))
    sequence = str(rng.getrandbits(180))
    ms = rng.choice([0, 1, 10**11, 1_545_116_709_123, 2**52])
    seconds = rng.choice([0.0, 1.5, 1_545_116_709.123])
    time, arrival = rng.choice(
        [(Time(ms), ms), (ms, ms), (seconds, seconds), (1_545_116_709, 1_545_116_709), (1_545_116_709_123.5,) * 2]
    )
    members = [
        ("SequenceNumber", cbor(sequence)),
        ("ApproximateArrivalTimestamp", cbor(time)),
        ("Data", cbor(data)),
        ("PartitionKey", cbor("kéy")),
    ]
    if rng.random() < 0.2:
        members.append(("EncryptionType", cbor(_anything(rng))))
    rng.shuffle(members)
    return _map(rng, members), Record(sequence, arrival / 1000 if arrival >= _LEAST_MS else arrival, data)


def _anything(rng: Random) -> Any:
    deep: Any = "end"
    for _ in range(rng.randint(0, 6)):
        deep = {"in": [deep, b"bytes"]}
    return rng.choice(["KMS", None, True, 7, 1.5, b"bytes", Time(5), [], {}, deep])


def _map(rng: Random, members: Iterable[tuple[str, bytes]]) -> bytes:
    return _items(rng, _MAP, [cbor(name) + value for name, value in members])


def _items(rng: Random, kind: int, items: list[bytes]) -> bytes:
    """With a length, in some width, or with a break at the end."""
    body, count = b"".join(items), len(items)
    if rng.random() < 0.5:
        return bytes([kind << 5 | _OPEN]) + body + _BREAK
    width = rng.choice([0, 1, 2, 4, 8])
    if not width:
        return bytes([kind << 5 | count]) + body
    return bytes([kind << 5 | 24 + (width.bit_length() - 1)]) + count.to_bytes(width, "big") + body


def _broken(rng: Random, body: bytes) -> bytes:
    """With a byte or two removed or replaced, or cut off."""
    at = rng.randrange(len(body))
    if rng.random() < 0.1:
        return body[:at]
    new = rng.choice([b"", rng.randbytes(1), b"\xff", b"\x9f", b"\xbf", b"\x5f", b"\x00", b"\x60"])
    return body[:at] + new + body[at + rng.choice([0, 1, 1, 4]) :]


def _read(body: bytes) -> list[Record] | None:
    """None for a reply that is left to JSON."""
    try:
        return list(decode_cbor(body).records)
    except NotCbor:
        return None


def _by_botocore(body: bytes) -> list[Record] | None:
    """None for a reply that botocore refuses: it checks texts that are skipped here, and knows fewer simple values."""
    try:
        rows = uncbor(body)["Records"]
        found = [(row["SequenceNumber"], row["ApproximateArrivalTimestamp"], row["Data"]) for row in rows]
    except Exception:  # noqa: BLE001  # whatever its parser meets
        return None
    return [Record(number, time / 1000 if time >= _LEAST_MS else time, data) for number, time, data in found]
