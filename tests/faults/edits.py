"""Strikes that pass the request on and change the true reply: its status, headers, body or JSON."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from tests.faults.strikes import Strike
from tests.faults.wire import Exchange, Reply, json_of
from tests.kinesis_wire import asked, written

Edit = Callable[[Any, Exchange], Any]


def passing(edit: Callable[[Reply, Exchange], Reply]) -> Strike:
    """The true reply, changed."""

    async def strike(x: Exchange) -> bool:
        return await x.send(edit(await x.forward(), x))

    return strike


def status(code: int) -> Strike:
    """The true reply with another status."""
    return passing(lambda reply, x: reply.having(status=code, reason="Odd"))


def encoded(*, said: bool, done: bool) -> Strike:
    """Compressed although not requested, announced (`said`) or not; or announced but not `done`."""

    def edit(reply: Reply, x: Exchange) -> Reply:
        body = gzip.compress(reply.body) if done else reply.body
        return reply.having(*([("Content-Encoding", "gzip")] if said else []), body=body)

    return passing(edit)


def dated(shift_s: float | None, text: str = "") -> Strike:
    """Another Date: `off`, or a text, or none."""

    def edit(reply: Reply, x: Exchange) -> Reply:
        if shift_s is None and not text:
            return reply.having(headers=reply.headers.without("date"))
        return reply.having(("Date", text or formatdate(x.wall_s + (shift_s or 0), usegmt=True)))

    return passing(edit)


def with_header(name: str, text: str) -> Strike:
    """One more header."""
    return passing(lambda reply, x: reply.having((name, text)))


def without_header(*names: str) -> Strike:
    """A reply that leaves headers out."""
    return passing(lambda reply, x: reply.having(headers=reply.headers.without(*names)))


def body(change: Callable[[bytes], bytes]) -> Strike:
    """Another body with the status of the reply."""
    return passing(lambda reply, x: reply.having(body=change(reply.body)))


def replaced(old: bytes, new: bytes) -> Strike:
    """A body with other bytes in the place of some."""
    return body(lambda data: data.replace(old, new))


def flipped(reply: Reply, x: Exchange) -> Reply:
    """Flips one bit in the middle of a part. Whole objects are not changed: few of them have a checksum."""
    if reply.status != 206 or not reply.body:
        return reply
    data, at = reply.body, len(reply.body) // 2
    return reply.having(body=data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def edited(edit: Edit) -> Strike:
    """A changed JSON reply; `edit` changes it in place, or returns another."""

    def change(reply: Reply, x: Exchange) -> Reply:
        said = json_of(reply)
        if said is None:
            return reply
        other = edit(said, x)
        text = written(reply.headers.value("content-type"), said if other is None else other)
        return reply.having(headers=reply.headers.without("x-amz-crc32"), body=text)

    return passing(change)


def lacking(*names: str) -> Strike:
    """Without these fields."""

    def edit(said: Any, x: Exchange) -> None:
        for name in names:
            said.pop(name, None)

    return edited(edit)


def saying(**fields: Any) -> Strike:
    """With these fields instead of the true ones."""
    return edited(lambda said, x: said.update(fields))


def in_records(change: Callable[[dict[str, Any]], Any]) -> Strike:
    """GetRecords with every record changed."""

    def edit(said: Any, x: Exchange) -> None:
        for record in said.get("Records", ()):
            change(record)

    return edited(edit)


def nothing_yet(said: Any, x: Exchange) -> None:
    """GetRecords without records that continues at the same place."""
    came = asked(x.request.headers.value("content-type"), x.request.body).get("ShardIterator")
    said.update(Records=[], NextShardIterator=came, MillisBehindLatest=5_000)


def same_again(said: Any, x: Exchange) -> None:
    """GetRecords whose next iterator is the current one: the records are read twice."""
    if said.get("NextShardIterator"):
        said["NextShardIterator"] = asked(x.request.headers.value("content-type"), x.request.body).get("ShardIterator")


def false_end(said: Any, x: Exchange) -> None:
    """GetRecords that reports, with children, that an open shard has ended."""
    if said.get("NextShardIterator"):
        span = {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)}
        child = {"ShardId": "shardId-000000009999", "ParentShards": ["shardId-000000000000"], "HashKeyRange": span}
        said.update(NextShardIterator=None, ChildShards=[child])


def one_missing(said: Any, x: Exchange) -> None:
    """ListShards without one random shard."""
    rows = said.get("Shards") or []
    if rows:
        rows.pop(x.rng.randrange(len(rows)))
