"""What every call of an AWS client keeps to, whatever the network and who answers it; and one exchange of it.

A call has a deadline in all its phases: aiohttp's own time-outs leave out the wait for "100 Continue", a body that the
peer stops reading, and one that trickles in. No redirect is followed, for where it leads nobody is S3. No reply is
larger than what was asked for, and none comes encoded.

Prepared calls come through `exchange`: aiobotocore's own way copies headers twice and makes a request and a reply in
botocore's form, which costs two thirds of what the signature does (docs/decisions/0007). Connections, TLS, time-outs
and proxies are the client's in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, NamedTuple

from aiobotocore.httpsession import AIOHTTPSession
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from botocore.exceptions import HTTPClientError
from yarl import URL

SLOWEST = 32 * 1024
"""Bytes a second: what a call may take grows by a second for each so many bytes that go or come."""
_MOST_CREDIT_S = 120.0
"""What has moved fast buys no more than this: the kernel takes megabytes that the peer may never read."""
LARGE = 2**20
"""Bytes from which a body goes in pieces, and is waited for to be wanted (`Expect`)."""
MOST_BYTES = 16 * 2**20
"""Of a reply, unless its call knows better."""
UNANNOUNCED = 64 * 2**20
"""Bytes of a reply that does not tell its length, at most."""
_PIECE = 256 * 1024
_CONTINUE_S = 1.0
"""For how long "100 Continue" is waited for, as in botocore; then the body goes: not every server knows `Expect`."""
_AS_IT_IS = {"Accept-Encoding": "identity"}
_NO_ENCODING = {"", "identity", "aws-chunked"}
_REGION = "x-amz-bucket-region"


class Malformed(Exception):
    """A reply that makes no sense: of somebody else, of another call, or damaged."""


class Call:
    """One call, for as long as this context lasts: from its credentials to the last field read of its reply.

    It may take `patience_s`, and longer as bytes move; else the context ends with TimeoutError. `most_bytes`: what its
    reply may hold.
    """

    __slots__ = ("_before", "_limit", "_patience_s", "most_bytes", "replied")

    def __init__(self, patience_s: float, most_bytes: int = MOST_BYTES) -> None:
        self._patience_s, self.most_bytes = patience_s, most_bytes
        self._limit: asyncio.Timeout | None = None
        self.replied = False
        """Whether the headers of a reply have come: what goes wrong from here on is the reply's fault."""

    async def __aenter__(self) -> Call:
        """From here on it is the call that this task is in."""
        self._limit = asyncio.timeout(self._patience_s)
        await self._limit.__aenter__()
        self._before: Token[Call | None] = _CALL.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises TimeoutError where time was up. Bytes that move after this belong to nobody."""
        _CALL.reset(self._before)
        limit, self._limit = self._limit, None
        assert limit is not None
        await limit.__aexit__(kind, error, trace)

    def moved(self, size: int) -> None:
        """So many bytes went or came: the deadline is later."""
        limit = self._limit
        if limit is not None and not limit.expired() and (when := limit.when()) is not None:
            latest = asyncio.get_running_loop().time() + self._patience_s + _MOST_CREDIT_S
            limit.reschedule(min(when + size / SLOWEST, latest))


_CALL: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call:
    """The one that this task is in; outside of all, one without a deadline."""
    return _CALL.get() or Call(0)


class Answer(NamedTuple):
    """A reply that has come to its end."""

    status: int
    headers: Mapping[str, str]
    """Whatever their case."""
    body: bytes


class HttpSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """The connections of one client, to be given to it as its `http_session_cls`."""

    async def _get_session(self, proxy_url: str | None) -> _Session:
        session: ClientSession = await super()._get_session(proxy_url)
        session._response_class = _Reply  # aiobotocore makes the session, and asks nobody how
        return _Session(session)

    async def send(self, request: Any) -> Any:
        """As botocore has it; a body that it will parse is one without a document type (`parsed`)."""
        response = await super().send(request)
        if not request.stream_output or response.status_code >= 300:
            response._content = parsed(response.status_code, await response.content)
        return response

    async def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> ClientResponse:
        """The reply, whatever its status; its body is still to be read, as by `whole`.

        Raises aiohttp.ClientError, OSError, Malformed, BotoCoreError.
        """
        proxy = self._proxy_config.proxy_url_for(url)
        session = await self._get_session(proxy)
        try:
            return await session.request(
                method,
                URL(url, encoded=True),
                headers={**headers, **_AS_IT_IS},
                data=body,
                proxy=proxy,
                proxy_headers=self._proxy_config.proxy_headers_for(url) if proxy else None,
            )
        except (ClientError, OSError, Malformed):
            raise
        except Exception as error:  # as aiobotocore has it: whatever else goes wrong in a call may go right in the next
            raise HTTPClientError(error=error) from error


async def whole(reply: ClientResponse) -> Answer:
    """The reply with all of its body; the connection is let go of. Raises aiohttp.ClientError, OSError, Malformed."""
    try:
        return Answer(reply.status, reply.headers, await reply.read())
    finally:
        reply.close()


def parsed(status: int, body: bytes) -> bytes:
    """A body that may be parsed as XML. No service of AWS sends a document type, nor entities, which may swell; a page
    for people says no more than its status. Raises Malformed where a success has one.
    """
    if not body.lstrip().startswith(b"<") or not (b"<!DOCTYPE" in body or b"<!ENTITY" in body or b"<!doctype" in body):
        return body
    if status < 300:
        raise Malformed(f"status {status} with a document of another type")
    return b""


class _Session:
    """aiohttp's session, for calls of AWS clients: aiobotocore would follow redirects, which botocore does not."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def request(self, method: str, url: URL, *, data: Any = None, **options: Any) -> ClientResponse:
        call, large = current_call(), False
        if isinstance(data, bytes | bytearray) and len(data) >= LARGE:
            data, large = _Pieces(data, call.moved), True
        elif isinstance(data, bytes | bytearray):
            call.moved(len(data))
        elif isinstance(data, AsyncIterable):  # botocore's, which puts a checksum behind it
            data, large = _told(data, call.moved), True
        if large:
            # What the kernel has taken may be on its way for longer than a reply may take.
            options["timeout"] = ClientTimeout(sock_connect=self._session.timeout.sock_connect)
        reply = await self._session.request(method, url, data=data, allow_redirects=False, **options)
        call.replied = True
        try:
            _check(reply)
        except Malformed:
            reply.close()
            raise
        return reply


def _check(reply: ClientResponse) -> None:
    """Raises Malformed for what no service of AWS would send.

    S3 says the bucket's region when it redirects: botocore then asks there, at the host that its own rules name.
    """
    if reply.status < 200:  # botocore takes it for a success
        raise Malformed(f"status {reply.status}")
    if 300 <= reply.status < 400 and _REGION not in reply.headers:
        where = reply.headers.get("Location", "nowhere").partition("?")[0][:200]
        raise Malformed(f"status {reply.status} to {where}; redirects are not followed: is there a proxy, or a log-in?")
    encoding = reply.headers.get("Content-Encoding", "").lower()
    if encoding not in _NO_ENCODING:
        raise Malformed(f"status {reply.status} with Content-Encoding {encoding[:40]}, which was not asked for")


class _Reply(ClientResponse):
    """Reads no more than its call may have, and leaves nothing behind that goes on sending."""

    async def start(self, connection: Any) -> ClientResponse:
        """Until the headers are there. "100 Continue" is not waited for any longer than it is worth."""
        self._wire = transport = connection.transport
        wanted = self._continue
        timer = asyncio.get_running_loop().call_later(_CONTINUE_S, _go_on, wanted) if wanted is not None else None
        try:
            return await super().start(connection)
        except BaseException:
            if transport is not None:
                transport.abort()  # closed, it would first wait for the peer to take what was written
            raise
        finally:
            if timer is not None:
                timer.cancel()

    async def read(self) -> bytes:
        """All of the body. Raises ClientPayloadError where it breaks off, Malformed where it is too large."""
        if self._body is None:
            call, told, size, chunks = current_call(), self.content_length, 0, []
            most = min(call.most_bytes, UNANNOUNCED) if told is None else call.most_bytes
            try:
                if (told or 0) > most:
                    raise Malformed(f"a body of {told} bytes")
                async for chunk in self.content.iter_any():
                    size += len(chunk)
                    if size > most:
                        raise Malformed(f"a body of more than {most} bytes")
                    call.moved(len(chunk))
                    chunks.append(chunk)
            except BaseException:
                self.close()
                raise
            self._body = b"".join(chunks)
        body = await super().read()
        if self._wire is not None and self._wire.is_closing():
            self._wire.abort()  # what was said before all had been sent
        return body

    def close(self) -> None:
        """Let go of the connection; what is still to be sent over it is not."""
        if self._connection is not None and (transport := self._connection.transport) is not None:
            transport.abort()
        super().close()


def _go_on(wanted: asyncio.Future[bool]) -> None:
    if not wanted.done():
        wanted.set_result(True)


async def _told(chunks: AsyncIterable[bytes], moved: Callable[[int], None]) -> AsyncIterator[bytes]:
    """The chunks, each told once the next one is wanted."""
    async for chunk in chunks:
        yield chunk
        moved(len(chunk))


class _Pieces(Payload):
    """Bytes that go a piece at a time, each told to `moved` once it went.

    What is written at once is over TLS encrypted at once, into memory beside it.
    """

    def __init__(self, data: bytes | bytearray, moved: Callable[[int], None]) -> None:
        super().__init__(data)
        self._size, self._moved = len(data), moved

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._value)
        for at in range(0, len(view), _PIECE):
            piece = view[at : at + _PIECE]
            await writer.write(piece)
            self._moved(len(piece))
