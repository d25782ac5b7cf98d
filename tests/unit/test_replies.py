"""Every reply of the table of faults to every call of every client: the right answer or a PortError, and in time."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.faultproxy import FAULTS, FaultProxy, no_fault, only
from tests.faults import services
from tests.faults.strikes import error_reply
from tests.faults.wire import Headers, Reply, Request
from tests.privateca import private_ca
from tests.tinyaws import SHARD, TinyAws
from vortex.adapters import exchange, s3
from vortex.adapters.dynamodb import DynamoTable, open_dynamo_table
from vortex.adapters.kinesis import KinesisStream, open_kinesis_stream
from vortex.adapters.leaserow import read_row, write_row
from vortex.adapters.s3 import S3Store, open_s3_store
from vortex.core.lease import Checkpoint, Lease
from vortex.core.model import Position, Start
from vortex.ports import NotFound, PortError, Unavailable

pytestmark = pytest.mark.asyncio(loop_scope="module")
CAUSES = {"throttled", "conflict", "credentials", "kms", "server", "malformed", "other", "timeout", "connection"} | {
    "client", "delete", "clock", "inconsistent_end"
}  # fmt: skip
SLOW = {"silence", "silence_after", "silence_midway", "stops_reading", "slow", "trickle", "endless", "expect_ignored"}
"""What takes as long as one waits: tried with one call of each kind."""
NOBODY_CAN_TELL = {"items_none", "carried_out_twice", "carried_out_late", "condition_own", "condition_false"}
"""What is said in the service's own form, or happens behind the reply's back: whoever calls must live with it."""
LONGER_THAN_PATIENCE = {"slow", "trickle", "keeps_and_closes"}
"""Legal, and taken by a client that has the patience of a real one, or asks again where a connection was closed."""
MEANINGS_OF_KINESIS = frozenset(fault.name for fault in services.kinesis())
WAIT_S = 0.4


@dataclass
class World:
    """Clients of one proxy, and the truth behind it."""

    aws: TinyAws
    proxy: FaultProxy
    store: S3Store
    table: DynamoTable
    stream: KinesisStream
    names: itertools.count[int]

    def key(self) -> str:
        """A key that no test has used."""
        return f"new/{next(self.names):06d}"


@dataclass(frozen=True)
class Case:
    """One call as a worker makes it. `ask` prepares, calls, and gives what came and whether it is so."""

    name: str
    call: str
    ask: Callable[[World], Awaitable[tuple[Any, bool]]]
    alone: bool = True
    """Whether it stands for its kind: waits are not tried with every one."""


LEASE = Lease("shard", "me", 7, Checkpoint("5"), token="t")
SMALL, LARGE = b"small", bytes(range(256)) * 5000
THERE = {"dir/a": b"0123456789", "dir/b": b"b", "dir/c": b"", "dir/deeper/d": b"d", "e/f": b"f", "äö/ü +%": b"u"}


def put(body: bytes) -> Callable[[World], Awaitable[tuple[Any, bool]]]:
    async def ask(world: World) -> tuple[Any, bool]:
        key = world.key()
        created = await world.store.put_if_absent(key, body)
        return created, world.aws.objects.get(f"root/{key}") == body

    return ask


async def put_again(world: World) -> tuple[Any, bool]:
    created = await world.store.put_if_absent("dir/a", b"other")
    return created, not created and world.aws.objects["root/dir/a"] == THERE["dir/a"]


async def get(world: World) -> tuple[Any, bool]:
    body = await world.store.get("dir/a")
    return body, body == THERE["dir/a"]


async def get_range(world: World) -> tuple[Any, bool]:
    body = await world.store.get_range("dir/a", 2, 3)
    return body, body == b"234"


async def get_tail(world: World) -> tuple[Any, bool]:
    told = await world.store.get_tail("dir/a", 4)
    return told, told == (b"6789", 10)


async def get_missing(world: World) -> tuple[Any, bool]:
    try:
        return await world.store.get_tail("not/there", 4), False
    except NotFound as missing:
        return missing, True


async def listed(world: World) -> tuple[Any, bool]:
    rows = [(row.key, row.size) async for row in world.store.list("dir/", "dir/a")]
    return rows, rows == [("dir/b", 1), ("dir/c", 0), ("dir/deeper/d", 1)]


async def folders(world: World) -> tuple[Any, bool]:
    names = [name async for name in world.store.list_folders("")]
    return names, sorted(names) == ["dir", "e", "äö"]


async def delete(world: World) -> tuple[Any, bool]:
    keys = [world.key(), world.key()]
    world.aws.objects.update((f"root/{key}", b"x") for key in keys)
    gone = await world.store.delete([*keys, "not/there"])
    return gone, not any(f"root/{key}" in world.aws.objects for key in keys)


async def active(world: World) -> tuple[Any, bool]:
    there = await world.table.active(create=False)
    return there, there is True


async def rows(world: World) -> tuple[Any, bool]:
    world.aws.rows.clear()
    wanted = {f"shard-{n}": Lease(f"shard-{n}", "me", n, Checkpoint("5")) for n in range(5)}
    world.aws.rows.update((key, write_row(lease)) for key, lease in wanted.items())
    found = {lease.key: lease for lease in await world.table.rows()}
    return found, found == wanted


async def create(world: World) -> tuple[Any, bool]:
    lease = Lease(world.key(), None, 0, Checkpoint("TRIM_HORIZON"), token="mine")
    created = await world.table.create(lease)
    return created, created and read_row(world.aws.rows[lease.key]) == lease


async def renew(world: World) -> tuple[Any, bool]:
    world.aws.rows[LEASE.key] = write_row(LEASE)
    held = await world.table.renew(LEASE)
    return held, held is not None and held == read_row(world.aws.rows[LEASE.key]) and held.counter == 8


async def renew_lost(world: World) -> tuple[Any, bool]:
    """Somebody else's: GetItem tells."""
    world.aws.rows[LEASE.key] = write_row(Lease("shard", "they", 9, Checkpoint("6"), token="u"))
    held = await world.table.renew(LEASE)
    return held, held is None


async def checkpoint(world: World) -> tuple[Any, bool]:
    world.aws.rows[LEASE.key] = write_row(LEASE)
    held = await world.table.checkpoint(LEASE, Checkpoint("6"), children=("c",))
    return held, held is not None and held.checkpoint == Checkpoint("6")


async def described(world: World) -> tuple[Any, bool]:
    info = await world.stream.describe()
    return info, (info.name, info.created_ms) == ("s", 1_700_000_000_000)


async def shards(world: World) -> tuple[Any, bool]:
    found = await world.stream.list_shards()
    return found, [shard.id for shard in found] == [SHARD]


async def iterator(world: World) -> tuple[Any, bool]:
    told = await world.stream.iterator(SHARD, Position(Start.TRIM_HORIZON))
    return told, told == "first"


async def read(world: World) -> tuple[Any, bool]:
    page = await world.stream.read(SHARD, "first")
    came = [(record.sequence, bytes(record.data)) for record in page.records]
    return came, came == world.aws.records and page.iterator == "next"


CASES = [
    Case("put", "PutObject", put(SMALL)),
    Case("put_large", "PutObject", put(LARGE)),
    Case("put_again", "PutObject", put_again, alone=False),
    Case("get", "GetObject", get),
    Case("get_range", "GetObject", get_range, alone=False),
    Case("get_tail", "GetObject", get_tail, alone=False),
    Case("get_missing", "GetObject", get_missing, alone=False),
    Case("list", "ListObjectsV2", listed),
    Case("folders", "ListObjectsV2", folders, alone=False),
    Case("delete", "DeleteObjects", delete),
    Case("active", "DescribeTable", active),
    Case("rows", "Scan", rows),
    Case("create", "UpdateItem", create),
    Case("renew", "UpdateItem", renew, alone=False),
    Case("checkpoint", "UpdateItem", checkpoint, alone=False),
    Case("renew_lost", "GetItem", renew_lost),
    Case("describe", "DescribeStreamSummary", described),
    Case("shards", "ListShards", shards),
    Case("iterator", "GetShardIterator", iterator),
    Case("read", "GetRecords", read),
]


@asynccontextmanager
async def opened(
    listening: AbstractAsyncContextManager[FaultProxy] | None = None, url: str = ""
) -> AsyncIterator[World]:
    """Clients without patience. `url` is where they think that AWS is, if not at the fault proxy itself."""
    aws = TinyAws()
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(listening or FaultProxy(aws, hang_s=3 * WAIT_S))
        proxy._origins[""] = aws
        patience = {"connect_timeout_s": WAIT_S / 2, "read_timeout_s": WAIT_S / 2}
        region = {"region": "us-east-1", "endpoint_url": url or proxy.url}
        store = await stack.enter_async_context(open_s3_store("s3://bucket/root", **region, **patience))
        table = await stack.enter_async_context(open_dynamo_table("leases", **region, **patience))
        stream = await stack.enter_async_context(open_kinesis_stream("s", **region, **patience))
        yield World(aws, proxy, store, table, stream, itertools.count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[World]:
    """One for all tests: clients take long to make."""
    async with opened() as world:
        yield world


@pytest.fixture
def world(shared: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """As new. Nothing is tried again, and 100 Continue is not waited for for long."""
    return as_new(shared, monkeypatch)


def as_new(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(s3, "_PAUSES_S", ())
    monkeypatch.setattr(exchange, "_CONTINUE_S", WAIT_S / 8)
    world.aws.rows.clear()
    world.aws.objects.clear()
    world.aws.objects.update((f"root/{key}", body) for key, body in THERE.items())
    world.proxy.struck.clear()
    world.proxy.choose, world.proxy._origins[""] = no_fault, world.aws
    return world


async def outcome(world: World, case: Case) -> tuple[str, str]:
    """`right`, `wrong`, `refused` or `raised`, and what came of it."""
    try:
        told, so = await asyncio.wait_for(case.ask(world), 10)
    except PortError as problem:
        if isinstance(problem, Unavailable) and problem.cause not in CAUSES:
            return "wrong", f"a cause that no metric has: {problem.cause}"
        return "refused", f"{type(problem).__name__} {getattr(problem, 'cause', '')}: {problem}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return "raised", f"{type(error).__name__}: {error}"
    return ("right" if so else "wrong"), repr(told)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_no_reply_ends_a_call_otherwise_than_rightly_or_in_a_port_error(world: World, case: Case) -> None:
    """Nor does it leave the next call anything of itself. What is odd, but legal, is taken as it is."""
    faults = {
        fault.name
        for fault in FAULTS.values()
        if fault.name not in (SLOW if not case.alone else ()) and (fault.name != "part_flipped" or case.name == "get")
    }
    if case.name == "iterator":
        faults.remove("json_object")  # what it means is a matter of the stream's
    await suffer(world, case, faults - MEANINGS_OF_KINESIS - NOBODY_CAN_TELL)


async def suffer(world: World, case: Case, faults: set[str]) -> None:
    """Each of the faults once; all that is wrong, together."""
    found = []
    for fault in FAULTS.values():
        if case.call not in fault.calls or fault.name not in faults:
            continue
        world.proxy.choose = only(fault.name, case.call, times=2)
        verdict, told = await outcome(world, case)
        if not world.proxy.struck[case.call, fault.name]:
            found.append(f"{fault.name}: never came")
        taken = fault.legal and not fault.name.startswith("date_") and fault.name not in LONGER_THAN_PATIENCE
        if verdict in ("wrong", "raised") or (taken and verdict != "right"):
            found.append(f"{fault.name}: {verdict}: {told}")
        world.proxy.choose = no_fault
        after = [await outcome(world, case) for _ in range(2)]  # the first may meet a connection that has just ended
        if after[1][0] != "right":
            found.append(f"after {fault.name}: {after}")
    assert not found, "\n".join(found)


WAYS = ["by a proxy", "over TLS", "over TLS by a proxy"]
ON_THE_WAY = {
    "refused", "reset", "silence_midway", "expect_ignored", "continue_twice", "body_refused", "stops_reading",
    "reset_in_request", "half_head", "half_body", "half_body_rst", "length_too_long", "chunked", "chunked_cut", "gzip",
    "header_huge", "junk", "status_text", "html_200", "html_403", "html_407", "html_502", "redirect_307", "json_list",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_all_of_it_holds_by_proxies_and_over_tls(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ways that the environment names: HTTP_PROXY, HTTPS_PROXY, AWS_CA_BUNDLE."""
    context, bundle = private_ca(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    proxy = FaultProxy(TinyAws(), hang_s=3 * WAIT_S, tls=context if "TLS" in way else None)
    tunnel = await asyncio.start_server(lambda r, w: through(r, w, proxy.port), "127.0.0.1", 0)
    port = tunnel.sockets[0].getsockname()[1]
    if way == WAYS[2]:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    async with tunnel, proxy:
        if way == WAYS[0]:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with opened(nullcontext(proxy), "http://aws.invalid" if way == WAYS[0] else proxy.url) as world:
            as_new(world, monkeypatch)
            for case in CASES:
                if case.name in ("put_large", "get", "renew", "read"):
                    await suffer(world, case, ON_THE_WAY)


async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """A tunnel: what CONNECT asks for, wherever it asks to be connected to."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT ")
    there, back = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await asyncio.gather(pump(reader, back), pump(there, writer))


XML = ("Content-Type", "application/xml")
LOL = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
LAUGHS = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{LOL}]>'
PAGE = "<IsTruncated>false</IsTruncated>"


def document(inside: str, root: str = "ListBucketResult", before: str = "") -> Reply:
    """A success of S3."""
    return Reply(200, headers=Headers([XML]), body=f"{before}<{root}>{inside}</{root}>".encode())


def rows_of(*keys: str, modified: str = "2026-11-29T16:00:00.000Z", size: str = "1") -> str:
    """Of a listing."""
    row = "<Contents><Key>root/dir/{}</Key><LastModified>{}</LastModified><Size>{}</Size></Contents>"
    return "".join(row.format(key, modified, size) for key in keys)


def more(inside: str, token: str) -> Reply:
    """A page that is not the last."""
    return document(f"{inside}<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")


def bytes_of(told: str, body: bytes, status: int = 206, **headers: str) -> Reply:
    """A part of an object."""
    return Reply(status, headers=Headers([("Content-Range", told), *headers.items()]), body=body)


def item(**changed: Any) -> dict[str, Any]:
    """A row of the lease table, as DynamoDB tells it."""
    return {"leaseKey": {"S": "shard"}, "leaseCounter": {"N": "8"}, "checkpoint": {"S": "5"}} | changed


def said(**fields: Any) -> Reply:
    """A success of DynamoDB or Kinesis."""
    headers = Headers([("Content-Type", "application/x-amz-json-1.1")])
    return Reply(200, headers=headers, body=json.dumps(fields).encode())


NONSENSE = [
    ("put", Reply(200)),
    ("put", Reply(200, headers=Headers([("ETag", "")]))),
    ("put", Reply(200, headers=Headers([("ETag", '"e"'), ("Content-Type", "text/html")]), body=b"<html>log in</html>")),
    ("put", Reply(204, headers=Headers([("ETag", '"e"')]))),
    ("put", Reply(206, headers=Headers([("ETag", '"e"')]))),
    ("put", Reply(412, headers=Headers([XML]), body=LAUGHS.encode() + b"<Error><Code>&l9;</Code></Error>")),
    ("put", Reply(412, body=b"<html><head><Code>PreconditionFailed</Code></head></html>")),
    ("get", bytes_of("bytes 0-4/10", b"01234")),
    ("get", bytes_of("bytes 0-9/10", b"0123456789", **{"x-amz-checksum-crc32": "AAAAAA=="})),
    ("get", bytes_of("bytes 1-10/11", b"0123456789")),
    ("get", Reply(200, headers=Headers([("ETag", '"e"'), ("Content-Type", "text/html; charset=x")]), body=b"<html/>")),
    ("get", Reply(404, body=b"<html>no such page</html>")),
    ("get", Reply(404)),
    ("get_range", Reply(200, headers=Headers([("ETag", '"e"')]), body=THERE["dir/a"])),
    ("get_range", bytes_of("bytes 3-5/10", b"345")),
    ("get_range", bytes_of("bytes 2-4/10", b"2345")),
    ("get_range", bytes_of("bytes 2-3/10", b"23")),
    ("get_range", bytes_of("bytes 2-4/*", b"234")),
    ("get_range", bytes_of("chars 2-4/10", b"234")),
    ("get_range", bytes_of(f"bytes 2-{'4' * 5000}/10", b"234")),
    ("get_range", bytes_of("bytes 2-4/10", b"234", **{"Content-Encoding": "br"})),
    ("get_range", bytes_of("bytes 2-4/10", b"234", **{"Content-Encoding": "deflate"})),
    ("get_range", Reply(204)),
    ("get_tail", bytes_of("bytes 0-3/10", b"0123")),
    ("get_tail", bytes_of("bytes 6-9/10", b"678")),
    ("get_missing", Reply(404, headers=Headers([XML]), body=b"<Error><Message>NoSuchKey</Message></Error>")),
    ("list", document("", root="html")),
    ("list", document(PAGE, before=LAUGHS + "<!-- -->")),
    ("list", document(f"{rows_of('&lol;')}{PAGE}", before="<!DOCTYPE x [<!ENTITY lol SYSTEM 'file:///etc/passwd'>]>")),
    ("list", document("<a>" * 50_000 + "</a>" * 50_000)),
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
    ("delete", document("", root="html")),
    ("delete", document("", root="DeleteResult")),
    ("delete", document("<Deleted><Key>root/other</Key></Deleted>", root="DeleteResult")),
    ("delete", document("<Error><Key>k</Key><Code>InternalError</Code></Error>", root="DeleteResult")),
    ("delete", document("<Error/>", root="DeleteResult")),
    ("active", said(Table=None)),
    ("active", said(Table={"KeySchema": 7, "TableStatus": "ACTIVE"})),
    ("active", said(Table={"KeySchema": [7], "TableStatus": "ACTIVE"})),
    ("rows", said(Items=7)),
    ("rows", said(Items=[7])),
    ("rows", said(Items=[item(leaseKey={"S": 7})])),
    ("rows", said(Items=[item(leaseOwner={"N": "7"})])),
    ("rows", said(Items=[item(parentShardId={"SS": [7]})])),
    ("rows", said(Items=[item(leaseCounter={"N": "eight"})])),
    ("rows", said(Items=[item(leaseCounter={"N": "8" * 5000})])),
    ("rows", said(Items=[], LastEvaluatedKey={"leaseKey": {"S": "again"}})),
    ("rows", said(Items=[], LastEvaluatedKey=7)),
    ("create", said(Attributes=item())),
    ("renew", said(Attributes=item(leaseKey={"S": "other"}))),
    ("renew", said(Attributes=[7])),
    ("renew", said(Attributes=item(leaseCounter={"N": None}))),
    ("renew_lost", said(Item=7)),
    ("renew_lost", said(Item=item(checkpoint={"S": 5}))),
    ("describe", said(StreamDescriptionSummary={"StreamName": "s"})),
    ("shards", said(Shards=7)),
    ("shards", said(Shards=[{"ShardId": "s"}])),
    ("shards", said(Shards=[], NextToken="again")),
    ("read", said(Records=7, MillisBehindLatest=0, NextShardIterator="n")),
    ("read", said(Records=[{"Data": "e30", "SequenceNumber": 1}], MillisBehindLatest=0, NextShardIterator="n")),
    ("read", said(Records=[], MillisBehindLatest=0, NextShardIterator="n").having(status=203)),
]
"""What no service says: case, and the reply to each of its requests."""


@pytest.mark.parametrize(("name", "reply"), NONSENSE)
async def test_what_makes_no_sense_is_malformed(world: World, name: str, reply: Reply) -> None:
    """Whatever it makes botocore, msgspec or this program stumble over; the message is short."""
    case = next(case for case in CASES if case.name == name)

    async def answer(request: Request) -> Reply:
        return reply if request.call == case.call else await world.aws(request)

    world.proxy._origins[""] = answer
    begun = time.process_time()
    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(case.ask(world), 5)
    assert time.process_time() - begun < 0.5
    assert caught.value.cause in ("malformed", "delete", "server")  # botocore takes what is no XML for a failure
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("case", [case for case in CASES if case.alone], ids=lambda case: case.name)
async def test_no_redirect_is_followed(world: World, case: Case, status: int) -> None:
    """Wherever it leads."""
    world.proxy.choose = only(f"redirect_{status}", case.call, times=2)
    with pytest.raises(Unavailable, match="redirect") as caught:
        await case.ask(world)
    assert (caught.value.cause, world.proxy.followed) == ("malformed", 0)


async def test_a_bucket_elsewhere_is_found_by_the_region_that_s3_names() -> None:
    """Once; from then on it is asked there at once, at the host that botocore's rules name."""
    came: list[str] = []

    async def answer(request: Request) -> Reply:
        came.append(request.headers.value("authorization").partition("Credential=")[2].split("/")[2])
        if came[-1] == "eu-north-1":
            return await world.aws(request)
        told = error_reply("s3", 301, "PermanentRedirect", "elsewhere")
        return told.having(("x-amz-bucket-region", "eu-north-1"), ("Location", "http://127.0.0.1:1/"))

    async with opened() as world:
        world.proxy._origins[""] = answer
        assert await world.store.put_if_absent("key", b"body")
        assert await world.store.get("key") == b"body"
        assert [row.key async for row in world.store.list("ke")] == ["key"]
        assert not await world.store.put_if_absent("key", b"other")
    assert came == ["us-east-1", "us-east-1", "eu-north-1", "eu-north-1", "eu-north-1", "eu-north-1"]


async def test_an_error_of_ones_own_stays_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a reply has come, nobody else is to blame."""
    monkeypatch.setattr(world.store, "_get_call", None)
    monkeypatch.setattr(world.store, "_common", {"Bucket": 7})
    with pytest.raises(TypeError):
        await world.store.get("key")


async def test_who_is_cancelled_is_cancelled(world: World) -> None:
    """In the middle of a call, and no error of the call."""
    world.proxy.choose = only("silence", "GetObject", times=2)
    asking = asyncio.ensure_future(world.store.get("dir/a"))
    await asyncio.sleep(WAIT_S / 8)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("case", [case for case in CASES if case.alone and case.name != "put"], ids=lambda c: c.name)
async def test_a_reply_that_only_trickles_in_is_a_time_out(world: World, case: Case) -> None:
    """Though something comes all the time."""
    if case.name == "put_large":
        pytest.skip("its reply has no body")
    world.aws.objects["root/dir/a"] = bytes(100)
    world.proxy.choose = only("trickle", case.call, times=2)
    with pytest.raises(Unavailable) as caught:
        await case.ask(world)
    assert caught.value.cause == "timeout"


@pytest.mark.parametrize("size", [2**20, 2**23])
async def test_a_peer_that_stops_reading_is_a_time_out(
    world: World, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """With 100 Continue said or not; nothing of the body is kept for it."""
    monkeypatch.setattr(exchange, "SLOWEST", 2**26)
    gone = asyncio.Event()

    async def take_a_little(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(1000)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        with suppress(OSError):
            while not writer.transport.is_closing():
                writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        gone.set()

    async with await asyncio.start_server(take_a_little, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_s3_store(
            "s3://b", region="us-east-1", endpoint_url=url, connect_timeout_s=0.2, read_timeout_s=0.2
        ) as store:
            begun = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                await store.put_if_absent("key", bytes(size))
            assert caught.value.cause == "timeout"
            assert time.monotonic() - begun < 3
            await asyncio.wait_for(gone.wait(), 3)


async def test_a_large_body_on_a_slow_link_passes(world: World) -> None:
    """As long as it moves it may take longer than a call that does not."""
    taken = bytearray()

    async def take_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"100-continue" in head
        while len(taken) < len(body):
            await asyncio.sleep(0.02)
            taken.extend(await reader.read(2**17))
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')

    body = bytes(range(256)) * 2**15
    async with await asyncio.start_server(take_slowly, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_s3_store(
            "s3://b", region="us-east-1", endpoint_url=url, connect_timeout_s=0.2, read_timeout_s=0.2
        ) as store:
            begun = time.monotonic()
            assert await store.put_if_absent("key", body)
            assert time.monotonic() - begun > 2 * 0.4
    assert taken == body
