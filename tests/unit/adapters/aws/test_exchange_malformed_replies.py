"""Replies that no service gives, and redirects: each is malformed, whichever parser it trips."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientResponse

from tests.calls import CASES, THERE, WAIT_S, Case, World, opened
from tests.faultproxy import only
from tests.faults.strikes import error_reply
from tests.faults.wire import Headers, Reply, Request
from vortex.adapters.aws import pages
from vortex.ports import PortError, Unavailable

pytestmark = pytest.mark.asyncio(loop_scope="module")


XML = ("Content-Type", "application/xml")
LOL = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
LAUGHS = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{LOL}]>'
PAGE = "<IsTruncated>false</IsTruncated>"


def document(inside: str, root: str = "ListBucketResult", before: str = "") -> Reply:
    """A success reply of S3."""
    return Reply(200, headers=Headers([XML]), body=f"{before}<{root}>{inside}</{root}>".encode())


def rows_of(*keys: str, modified: str = "2026-11-29T16:00:00.000Z", size: str = "1") -> str:
    """Rows of a listing."""
    row = "<Contents><Key>root/dir/{}</Key><LastModified>{}</LastModified><Size>{}</Size></Contents>"
    return "".join(row.format(key, modified, size) for key in keys)


def more(inside: str, token: str) -> Reply:
    """A page that is not the last one."""
    return document(f"{inside}<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")


def bytes_of(content_range: str, body: bytes, *headers: tuple[str, str], status: int = 206) -> Reply:
    """A part of an object."""
    return Reply(status, headers=Headers([("Content-Range", content_range), *headers]), body=body)


def item(**changed: Any) -> dict[str, Any]:
    """A row of the lease table, as DynamoDB returns it."""
    return {"leaseKey": {"S": "shard"}, "leaseCounter": {"N": "8"}, "checkpoint": {"S": "5"}} | changed


def success(**fields: Any) -> Reply:
    """A success reply of DynamoDB or Kinesis."""
    headers = Headers([("Content-Type", "application/x-amz-json-1.1")])
    return Reply(200, headers=headers, body=json.dumps(fields).encode())


def shard(**changed: Any) -> dict[str, Any]:
    """A row of ListShards."""
    span = {"StartingHashKey": "0", "EndingHashKey": "9"}
    return {"ShardId": "s", "HashKeyRange": span, "SequenceNumberRange": {"StartingSequenceNumber": "0"}} | changed


def summary(**changed: Any) -> dict[str, Any]:
    """A summary of a stream."""
    return {"StreamName": "s", "StreamARN": "a", "StreamCreationTimestamp": 1.7e9, "RetentionPeriodHours": 24} | changed


TABLE = {"KeySchema": [{"AttributeName": "leaseKey", "KeyType": "HASH"}], "TableStatus": "ACTIVE"}
NONSENSE = [
    ("put", Reply(200)),
    ("put", Reply(200, headers=Headers([("ETag", "")]))),
    ("put", Reply(200, headers=Headers([("ETag", '"e"'), ("Content-Type", "text/html")]), body=b"<html>log in</html>")),
    ("put", Reply(200, headers=Headers([("ETag", '"e"')]), body=b"\xef\xbb\xbf<html>log in</html>")),
    ("put", Reply(200, headers=Headers([("ETag", 'W/"e"')]), body=b'{"error": "over quota"}')),
    ("put", Reply(204, headers=Headers([("ETag", '"e"')]))),
    ("put", Reply(206, headers=Headers([("ETag", '"e"')]))),
    ("put", Reply(412, headers=Headers([XML]), body=LAUGHS.encode() + b"<Error><Code>&l9;</Code></Error>")),
    ("put", Reply(412, body=b"<html><head><Code>PreconditionFailed</Code></head></html>")),
    ("get_unsummed", bytes_of("bytes 0-4/10", b"01234")),
    ("get", bytes_of("bytes 0-9/10", b"0123456789", ("x-amz-checksum-crc32", "AAAAAA=="))),
    ("get_unsummed", bytes_of("bytes 1-10/11", b"0123456789")),
    ("get", Reply(200, headers=Headers([("ETag", '"e"'), ("Content-Type", "text/html; charset=x")]), body=b"<html/>")),
    ("get", Reply(200, headers=Headers([("ETag", '"e"'), ("Content-Type", "Text/HTML")]), body=b"<html/>")),
    ("get", Reply(404, body=b"<html>no such page</html>")),
    ("get", Reply(404)),
    ("get_range", Reply(200, headers=Headers([("ETag", '"e"')]), body=THERE["dir/a"])),
    ("get_range", bytes_of("bytes 3-5/10", b"345")),
    ("get_range", bytes_of("bytes 2-4/10", b"2345")),
    ("get_range", bytes_of("bytes 2-3/10", b"23")),
    ("get_range", bytes_of("bytes 2-4/*", b"234")),
    ("get_range", bytes_of("chars 2-4/10", b"234")),
    ("get_range", bytes_of(f"bytes 2-{'4' * 5000}/10", b"234")),
    ("get_range", bytes_of("bytes 2-4/10", b"234", ("Content-Encoding", "br"))),
    ("get_range", bytes_of("bytes 2-4/10", b"234", ("Content-Encoding", "deflate"))),
    ("get_range", Reply(204)),
    ("get_tail", bytes_of("bytes 0-3/10", b"0123")),
    ("get_tail", bytes_of("bytes 6-9/10", b"678")),
    ("get_missing", Reply(404, headers=Headers([XML]), body=b"<Error><Message>NoSuchKey</Message></Error>")),
    ("list", document("", root="html")),
    ("list", document(PAGE, before=LAUGHS + "<!-- -->")),
    ("list", document(f"{rows_of('&lol;')}{PAGE}", before="<!DOCTYPE x [<!ENTITY lol SYSTEM 'file:///etc/passwd'>]>")),
    ("list", document("<a>" * 50_000 + "</a>" * 50_000)),
    ("list", document("<a/>" * 3_000_000)),
    ("list", document("<a " + " ".join(f'a{n}=""' for n in range(1_000_000)) + "/>")),
    ("put", document("<a/>" * 3_000_000, root="Error").having(status=400)),
    ("list", document(rows_of("b"))),
    ("list", document(rows_of("c", "b") + PAGE)),
    ("list", document(rows_of("b", "b") + PAGE)),
    ("list", document(rows_of("a") + PAGE)),
    ("list", document("").having(body=b"<ListBucketResult><Contents/>")),
    ("list", document(rows_of("b").replace("root/dir", "root/other") + PAGE)),
    ("list", document(rows_of("b", size="-1") + PAGE)),
    ("list", document(rows_of("b", size="9" * 5000) + PAGE)),
    ("list", document(rows_of("b", modified="yesterday") + PAGE)),
    ("list", document(rows_of("b", modified="0001-01-01T00:00:00+14:00") + PAGE)),
    ("list", document(rows_of("b", modified="") + PAGE)),
    ("list", document(rows_of("b").replace("Key>", "Name>") + PAGE)),
    ("list", document(rows_of("b") + "<IsTruncated>true</IsTruncated>")),
    ("list", more("", "again")),
    ("folders", document("<CommonPrefixes><Prefix>root/dir</Prefix></CommonPrefixes>" + PAGE)),
    ("folders", document("<CommonPrefixes><Prefix>other/</Prefix></CommonPrefixes>" + PAGE)),
    ("folders", document("<CommonPrefixes/>" + PAGE)),
    ("folders", more("", "again")),
    *[("list", document(PAGE).having(status=status)) for status in (201, 202, 203, 204, 206, 207)],
    ("folders", document(PAGE).having(status=203)),
    ("list", document(f"<Prefix>root/other/</Prefix>{PAGE}")),
    ("list", document(f"<Prefix>root/dir</Prefix>{PAGE}")),
    ("list", document(f"<Name>another</Name><Prefix>root/dir/</Prefix>{PAGE}")),
    ("list", document(f"<Prefix>root/dir/</Prefix><StartAfter>root/dir/b</StartAfter>{PAGE}")),
    ("folders", document(f"<Prefix>root/</Prefix><Delimiter>-</Delimiter>{PAGE}")),
    ("delete", document("<Deleted><Key>k</Key></Deleted>", root="DeleteResult").having(status=203)),
    ("delete", document("", root="html")),
    ("delete", document("", root="DeleteResult")),
    ("delete", document("<Deleted><Key>root/other</Key></Deleted>", root="DeleteResult")),
    ("delete", document("<Error><Key>k</Key><Code>InternalError</Code></Error>", root="DeleteResult")),
    ("delete", document("<Error/>", root="DeleteResult")),
    ("active", success(Table=None)),
    ("active", success(Table={"KeySchema": 7, "TableStatus": "ACTIVE"})),
    ("active", success(Table={"KeySchema": [7], "TableStatus": "ACTIVE"})),
    ("rows", success(Items=7)),
    ("rows", Reply(200, body=b'{"Items":[' + b"{}," * 4_000_000 + b"{}]}")),
    ("renew", Reply(400, body=b'{"__type":[' + b"[]," * 4_000_000 + b"{}]}")),
    ("rows", success(Items=[7])),
    ("rows", success(Items=[], LastEvaluatedKey={"leaseKey": {"S": "again"}})),
    ("rows", success(Items=[], LastEvaluatedKey=7)),
    ("rows", success(Items=[], LastEvaluatedKey={})),
    ("create", success(Attributes=item())),
    ("renew", success(Attributes=item(leaseCounter={"N": "7"}))),
    ("renew", success(Attributes=item(leaseCounter={"N": "NaN"}))),
    ("renew", success(Attributes=item(leaseOwner={"S": "me"}, vortexToken={"S": "other"}))),
    ("checkpoint", success(Attributes=item(leaseCounter={"N": "8"}, checkpoint={"S": "4"}))),
    ("renew", success(Attributes=item(leaseKey={"S": "other"}))),
    ("renew", success(Attributes=[7])),
    ("renew", success(Attributes=item(leaseCounter={"N": None}))),
    ("renew_lost", success(Item=7)),
    *[("active", success(Table=TABLE).having(status=status)) for status in (201, 203, 206)],
    *[("rows", success(Items=[]).having(status=status)) for status in (202, 203)],
    *[("describe", success(StreamDescriptionSummary=summary()).having(status=status)) for status in (203, 206)],
    ("shards", success(Shards=[shard()]).having(status=203)),
    ("iterator", success(ShardIterator="first").having(status=203)),
    ("renew", success(Attributes=item()).having(status=203)),
    ("renew_lost", success().having(status=203)),
    ("remove", success().having(status=203)),
    ("describe", success(StreamDescriptionSummary={"StreamName": "s"})),
    ("shards", success(Shards=7)),
    ("shards", Reply(200, body=b'{"Shards":[' + b"1," * 7_000_000 + b"1]}")),
    ("shards", success(Shards=[{"ShardId": "s"}])),
    ("shards", success(Shards=[], NextToken="again")),
    ("shards", success(Shards=[], NextToken=7)),
    ("shards", success(Shards=[shard(ShardId=7)])),
    *[("shards", success(Shards=[shard(ShardId=name)])) for name in ("", "a/b", "..", "a\0", "a\n", "a" * 129)],
    ("shards", success(Shards=[shard(ParentShardId="../b")])),
    ("shards", success(Shards=[shard(ParentShardId=7)])),
    ("shards", success(Shards=[shard(HashKeyRange={"StartingHashKey": "5", "EndingHashKey": "4"})])),
    ("shards", success(Shards=[shard(HashKeyRange={"StartingHashKey": "0", "EndingHashKey": str(2**128)})])),
    ("shards", success(Shards=[shard(SequenceNumberRange={"StartingSequenceNumber": 7})])),
    ("describe", success(StreamDescriptionSummary=summary(StreamName=7))),
    ("describe", success(StreamDescriptionSummary=summary(StreamName="other"))),
    ("describe", success(StreamDescriptionSummary=summary(RetentionPeriodHours=10**400))),
    ("describe", success(StreamDescriptionSummary=summary(StreamCreationTimestamp=-1))),
    ("describe", success(StreamDescriptionSummary=summary(RetentionPeriodHours="24"))),
    ("describe", success(StreamDescriptionSummary=summary(RetentionPeriodHours=-24))),
    ("describe", success(StreamDescriptionSummary=summary(StreamCreationTimestamp="then"))),
    ("describe", success(StreamDescriptionSummary=summary(StreamCreationTimestamp=1e300))),
    ("iterator", success(ShardIterator=7)),
    ("read", success(Records=[], MillisBehindLatest=-1, NextShardIterator="n")),
    ("read", success(Records=7, MillisBehindLatest=0, NextShardIterator="n")),
    ("read", success(Records=[{"Data": "e30", "SequenceNumber": 1}], MillisBehindLatest=0, NextShardIterator="n")),
    ("read", success(Records=[], MillisBehindLatest=0, NextShardIterator="n").having(status=203)),
]
"""Replies that no service gives: the case, and the reply to each of its requests."""


@pytest.mark.parametrize(("name", "reply"), NONSENSE)
async def test_a_nonsensical_reply_raises_unavailable_with_a_short_message(
    world: World, name: str, reply: Reply
) -> None:
    """Whether botocore, msgspec or this program fails on it."""
    case = next(case for case in CASES if case.name == name)

    async def answer(request: Request) -> Reply:
        return reply if request.call == case.call else await world.aws(request)

    world.proxy._origins[""] = answer
    spent = []
    for _ in range(3):  # the least counts: a busy machine takes more CPU for the same work
        begun = time.process_time()
        with pytest.raises(Unavailable) as caught:
            await asyncio.wait_for(case.ask(world), 5)
        spent.append(time.process_time() - begun)
        if spent[-1] < 0.5:
            break
    assert min(spent) < 0.5
    # Botocore takes a reply that is not XML for a failure of the server.
    assert caught.value.cause in ("malformed", "delete", "server")
    assert len(str(caught.value)) < 800


ENDLESS: dict[str, Callable[[str], Reply]] = {
    "list": lambda token: more("", token),
    "folders": lambda token: more("", token),
    "shards": lambda token: success(Shards=[shard()], NextToken=token),
    "rows": lambda token: success(Items=[item()], LastEvaluatedKey={"leaseKey": {"S": token}}),
}
"""Pages that bring nothing new, each with a token of its own."""


@pytest.mark.parametrize("name", ENDLESS)
async def test_an_endless_listing_without_rows_raises_unavailable(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few such pages are legal."""
    monkeypatch.setattr(pages, "_MOST_IDLE", 5)
    case = next(case for case in CASES if case.name == name)
    tokens = itertools.count()

    def until(end: int) -> None:
        async def answer(request: Request) -> Reply:
            if request.call == case.call and next(tokens) < end:
                return ENDLESS[name](f"token-{tokens}")
            return await world.aws(request)

        world.proxy._origins[""] = answer

    until(10**9)
    with pytest.raises(Unavailable, match="5 pages in a row are empty") as caught:
        await asyncio.wait_for(case.ask(world), 5)
    assert caught.value.cause == "malformed"
    tokens = itertools.count()
    until(5)
    await case.ask(world)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("case", [case for case in CASES if case.alone], ids=lambda case: case.name)
async def test_a_call_follows_no_redirect(world: World, case: Case, status: int) -> None:
    world.proxy.choose = only(f"redirect_{status}", case.call, times=2)
    with pytest.raises(Unavailable, match="redirect") as caught:
        await case.ask(world)
    assert (caught.value.cause, world.proxy.followed) == ("malformed", 0)


async def test_a_store_uses_the_region_that_s3_names_for_the_bucket() -> None:
    """After one redirect; later calls go to the right host at once."""
    came: list[str] = []

    async def answer(request: Request) -> Reply:
        came.append(request.headers.value("authorization").partition("Credential=")[2].split("/")[2])
        if came[-1] == "eu-north-1":
            return await world.aws(request)
        redirect = error_reply("s3", 301, "PermanentRedirect", "elsewhere")
        return redirect.having(("x-amz-bucket-region", "eu-north-1"), ("Location", "http://127.0.0.1:1/"))

    async with opened() as world:
        world.proxy._origins[""] = answer
        assert await world.store.put_if_absent("key", b"body")
        assert await world.store.get("key") == b"body"
        assert [row.key async for row in world.store.list("ke")] == ["key"]
        assert not await world.store.put_if_absent("key", b"other")
    assert came == ["us-east-1", "us-east-1", "eu-north-1", "eu-north-1", "eu-north-1", "eu-north-1"]


async def test_an_error_before_the_request_is_not_translated(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a bug, not a reply of the service."""
    monkeypatch.setattr(world.store, "_get_call", None)
    monkeypatch.setattr(world.store, "_common", {"Bucket": 7})
    with pytest.raises(TypeError):
        await world.store.get("key")


async def test_a_cancelled_call_raises_cancelled_error(world: World) -> None:
    world.proxy.choose = only("silence", "GetObject", times=2)
    asking = asyncio.ensure_future(world.store.get("dir/a"))
    await asyncio.sleep(WAIT_S / 8)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("case", [case for case in CASES if case.alone], ids=lambda case: case.name)
async def test_a_failed_call_leaves_no_reply_in_memory(world: World, case: Case) -> None:
    """Without a collection of garbage, which a worker makes rarely: a body may have many megabytes."""
    gc.collect()
    before = sum(isinstance(each, ClientResponse) for each in gc.get_objects())
    gc.disable()
    try:
        world.proxy.choose = only("length_huge", case.call, times=2)
        with pytest.raises(PortError):
            await case.ask(world)
        assert sum(isinstance(each, ClientResponse) for each in gc.get_objects()) == before
    finally:
        gc.enable()
