"""A reply that comes twice, as from a broken proxy: the second one must not be taken for the reply to the next call."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.kinesis_wire import asked, reply
from vortex.adapters.kinesis.stream import open_kinesis_stream
from vortex.adapters.s3.store import open_s3_store
from vortex.ports import Unavailable

_TYPE = re.compile(rb"(?i)content-type: (\S+)")
_LENGTH = re.compile(rb"(?i)content-length: (\d+)")


class Twice:
    """Answers calls by the iterator or key that they name. While `strays` is above 0, a reply comes twice."""

    def __init__(self, *, padding: int = 0) -> None:
        """`padding`: bytes of data beside the iterator; with any, both replies are sent in one piece."""
        self.strays, self.padding = 1, padding
        self.sent = asyncio.Event()
        """Set once the second reply is on its way."""
        self.puts: list[bytes] = []

    def reply(self, head: bytes, body: bytes) -> bytes:
        """The whole reply to a request."""
        status, said, kind = b"200 OK", b"", "text/plain"
        if b"GetRecords" in head:
            kind = _TYPE.search(head)[1].decode()  # type: ignore[index]
            iterator = asked(kind, body)["ShardIterator"]
            data = base64.b64encode(iterator.encode() + b" " * self.padding).decode()
            row = {"SequenceNumber": "1", "ApproximateArrivalTimestamp": 1.0, "Data": data, "PartitionKey": "p"}
            kind, said = reply(kind, {"Records": [row], "MillisBehindLatest": 0, "NextShardIterator": iterator + "+"})
        else:
            self.puts.append(head.split()[1])
            if b"refused" in head:
                status = b"503 Slow Down"
        headers = b'Date: Tue, 01 Dec 2026 00:00:00 GMT\r\nETag: "e"\r\nContent-Type: %b\r\n' % kind.encode()
        return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(said), said)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a connection's requests until it closes."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                found = _LENGTH.search(head)
                reply = self.reply(head, await reader.readexactly(int(found[1]) if found else 0))
                at_once = self.padding and self.strays
                writer.write(reply * 2 if at_once else reply)
                await writer.drain()
                if at_once:
                    self.strays -= 1
                elif self.strays:
                    self.strays -= 1
                    for _ in range(20):  # the client has read the first reply: both in one piece are another case
                        await asyncio.sleep(0)
                    writer.write(reply)
                    await writer.drain()
                    self.sent.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def twice(padding: int = 0) -> AsyncIterator[tuple[Twice, str]]:
    """The server and its URL."""
    answers = Twice(padding=padding)
    server = await asyncio.start_server(answers.serve, "127.0.0.1", 0)
    async with server:
        yield answers, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def arrived(answers: Twice) -> None:
    """Wait until the client, which runs in the same loop, has read the second reply."""
    await answers.sent.wait()
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")


async def test_get_records_returns_its_own_records_when_the_reply_before_came_twice() -> None:
    """Else a shard is read under another one's name from then on."""
    read: list[tuple[bytes, str | None]] = []
    failed = 0
    async with twice() as (answers, url), open_kinesis_stream("s", "us-east-1", url) as stream:
        await stream.read("shardId-000000000000", "A")
        await arrived(answers)
        for iterator in ("B", "C"):
            try:
                page = await stream.read("shardId-000000000000", iterator)
            except Unavailable:
                failed += 1
                page = await stream.read("shardId-000000000000", iterator)
            read.append((b"".join(record.data for record in page.records), page.iterator))
    assert read == [(b"B", "B+"), (b"C", "C+")]
    assert failed <= 1


async def test_get_records_returns_its_own_records_when_large_replies_come_twice() -> None:
    """Of such a body exactly its bytes are read: the second reply waits in the socket."""
    async with twice(1_000_000) as (answers, url), open_kinesis_stream("s", "us-east-1", url) as stream:
        for iterator in ("A", "B", "C", "D"):
            answers.strays = 1
            try:
                page = await stream.read("shardId-000000000000", iterator)
            except Unavailable:
                page = await stream.read("shardId-000000000000", iterator)
            assert b"".join(record.data for record in page.records).strip() == iterator.encode()
            assert page.iterator == iterator + "+"


async def test_put_is_not_taken_for_done_when_the_reply_before_came_twice() -> None:
    """S3 refuses the second put."""
    async with twice() as (answers, url), open_s3_store("s3://b/p", region="us-east-1", endpoint_url=url) as store:
        assert await store.put_if_absent("first", b"x")
        await arrived(answers)
        with pytest.raises(Unavailable):
            await store.put_if_absent("refused", b"x")
    assert sum(b"refused" in put for put in answers.puts) >= 1
