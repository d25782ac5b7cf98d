"""The rules for every call of an AWS client, and a cheap way to make one HTTP exchange.

A call has one deadline for all its phases. aiohttp's own time-outs do not cover the wait for "100 Continue", a body
that the peer stops reading, or one that arrives very slowly. Redirects are not followed, since their target is not S3.
A reply may not be larger than expected, and may not be compressed.

Prepared calls use `exchange`. aiobotocore's own way copies headers twice and converts request and reply to botocore's
form, which costs two thirds of what the signature costs (docs/decisions/0007). Connections, TLS, time-outs and proxies
are the client's in both cases.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextvars import ContextVar, Token
from io import BytesIO
from types import TracebackType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from aiobotocore.httpsession import AIOHTTPSession
from aiohttp import (
    ClientConnectionError,
    ClientConnectorCertificateError,
    ClientError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
)
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from aiohttp.payload import Payload
from botocore.exceptions import HTTPClientError
from botocore.httpsession import get_cert_path
from yarl import URL

from vortex.adapters.aws.tls import Renewal, new_context, trusting

SLOWEST = 32 * 1024
"""Slowest transfer rate, in bytes per second: each byte sent or received extends the deadline by 1/SLOWEST s."""
_WORTH_BYTES = 4096
"""Fewer bytes than this, an eighth of a second, wait for more before they extend the deadline."""
_MOST_CREDIT_S = 120.0
"""Limit of that extension: the kernel buffers megabytes at once that the peer may never read."""
LARGE = 2**20
"""Bodies of this many bytes or more are sent in pieces, and after "100 Continue" (`Expect`)."""
MOST_BYTES = 16 * 2**20
"""Maximum size of a reply, unless its call sets another."""
UNANNOUNCED = 64 * 2**20
"""Maximum size of a reply without a Content-Length."""
USUAL_BYTES = 2**20
"""Replies of up to this size are read at any time, unless the call sets another size; larger ones one at a time."""
_MOST_VALUES = 300_000
"""Maximum brackets, commas, tags and attributes of a body that botocore parses: each may be a Python object. A page of
DynamoDB, the largest of these replies, has 1 MiB of data."""
_PIECE = 256 * 1024
_CONTINUE_S = 1.0
"""Wait for "100 Continue", as in botocore; after it the body is sent: not every server supports `Expect`."""
_AS_IT_IS = {"Accept-Encoding": "identity"}
_NO_ENCODING = {"", "identity", "aws-chunked"}
_REGION = "x-amz-bucket-region"


class Malformed(Exception):
    """A malformed reply: from another server, for another call, or damaged."""


class Call:
    """The context of one call: from getting its credentials to the last field read of its reply.

    The context ends with TimeoutError after `patience_s`; bytes sent or received extend the time. `most_bytes` is the
    maximum size of the reply. Of all replies larger than their `usual_bytes`, one at a time is in memory.
    """

    __slots__ = ("_before", "_limit", "_moved", "_patience_s", "_turn", "most_bytes", "replied", "usual_bytes")

    def __init__(self, patience_s: float, most_bytes: int = MOST_BYTES, usual_bytes: int = USUAL_BYTES) -> None:
        self._patience_s, self.most_bytes, self.usual_bytes = patience_s, most_bytes, usual_bytes
        self._limit: asyncio.Timeout | None = None
        self._turn: asyncio.Lock | None = None
        self._moved = 0
        """Bytes for which the deadline was not extended yet."""
        self.replied = False
        """Whether the headers of a reply have arrived: later errors are about the reply."""

    async def __aenter__(self) -> Call:
        """Make it the current call of this task and start the deadline."""
        self._limit = asyncio.timeout(self._patience_s)
        await self._limit.__aenter__()
        self._before: Token[Call | None] = _CALL.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises TimeoutError if the deadline has passed. Bytes that move later have no effect."""
        _CALL.reset(self._before)
        if self._turn is not None:
            self._turn.release()
            self._turn = None
        limit, self._limit = self._limit, None
        assert limit is not None
        await limit.__aexit__(kind, error, trace)

    async def room(self, size: int) -> None:
        """Wait until the reply may take `size` bytes of memory. The deadline starts again after the wait: it depends on
        other peers.
        """
        if size <= self.usual_bytes or self._turn is not None or (limit := self._limit) is None:
            return
        turn = _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        if turn.locked():
            limit.reschedule(None)
        await turn.acquire()
        self._turn = turn
        limit.reschedule(asyncio.get_running_loop().time() + self._patience_s)

    def moved(self, size: int) -> None:
        """Extend the deadline for `size` bytes sent or received, once they are worth a new timer."""
        self._moved += size
        limit = self._limit
        if self._moved < _WORTH_BYTES or limit is None or limit.expired() or (when := limit.when()) is None:
            return
        latest = asyncio.get_running_loop().time() + self._patience_s + _MOST_CREDIT_S
        limit.reschedule(min(when + self._moved / SLOWEST, latest))
        self._moved = 0


_CALL: ContextVar[Call | None] = ContextVar("call", default=None)
_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
"""The turn to have a large reply in memory, by event loop, of which a process has one."""


def current_call() -> Call:
    """The current call of this task; outside of a call, one without a deadline."""
    return _CALL.get() or Call(0)


class Answer(NamedTuple):
    """A complete reply."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes


class HttpSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """The connections of one client; passed to it as `http_session_cls`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._proxies: dict[str, str | None] = {}
        """The proxy by scheme: botocore chooses it by that alone, but parses the whole URL each time."""
        self._renewals: list[Renewal] = []

    async def _get_session(self, proxy_url: str | None) -> _Session:
        session: ClientSession = await super()._get_session(proxy_url)
        session._request_class, session._response_class = _Request, _Reply  # aiobotocore has no option for them
        # AWS uses no cookies. A proxy that sets one with each reply would fill the requests until they are refused.
        session._cookie_jar = DummyCookieJar()
        return _Session(session, self._distrusted)

    def _build_ssl_contexts(self, proxy_url: str | None) -> Any:
        """Share the context of the certificates with the other clients, where nothing else belongs to it."""
        if not self._verify:
            return super()._build_ssl_contexts(proxy_url)
        bundle = get_cert_path(self._verify)
        renewal = Renewal(bundle)
        own = bool(self._cert_file or proxy_url)
        found = super()._build_ssl_contexts(proxy_url) if own else (trusting(bundle), None)
        renewal.contexts += [context for context in found if context is not None]
        self._renewals.append(renewal)
        return found

    def _build_verify_context(self) -> Any:
        """As in aiobotocore, but the certificates may be in a folder here, too."""
        return new_context(get_cert_path(self._verify)) if self._verify else super()._build_verify_context()

    def _distrusted(self) -> None:
        """The certificate of a server is not trusted: that of its authority may be new."""
        for renewal in self._renewals:
            renewal.look()

    async def send(self, request: Any) -> Any:
        """As in botocore, but a body to be parsed must not have a document type (`parsed`)."""
        response = await super().send(request)
        if not request.stream_output or response.status_code >= 300:
            response._content = parsed(response.status_code, await response.content)
        return response

    async def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> ClientResponse:
        """Send a request and return the reply, whatever its status. The caller reads the body, for example by `whole`.

        Raises aiohttp.ClientError, OSError, Malformed, BotoCoreError.
        """
        scheme = url.partition(":")[0]
        if scheme not in self._proxies:
            self._proxies[scheme] = self._proxy_config.proxy_url_for(url)
        proxy = self._proxies[scheme]
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
        except Exception as error:  # as in aiobotocore: any other error may be temporary
            raise HTTPClientError(error=error) from error


async def whole(reply: ClientResponse) -> Answer:
    """Read the whole body and release the connection. Raises aiohttp.ClientError, OSError, Malformed."""
    try:
        return Answer(reply.status, reply.headers, await reply.read())
    finally:
        reply.close()


def parsed(status: int, body: bytes) -> bytes:
    """The body if it is safe to parse, else b"". AWS services send no document types and no entities, which may expand
    without limit; an HTML page says no more than its status. Raises Malformed for such a body in a success.
    """
    if len(body) > _MOST_VALUES and len(body) - len(body.translate(None, b"<=,[{")) > _MOST_VALUES:
        what = f"more than {_MOST_VALUES} values"
    elif body.lstrip().startswith(b"<") and (b"<!DOCTYPE" in body or b"<!ENTITY" in body or b"<!doctype" in body):
        what = "a document type"
    else:
        return body
    if status < 300:
        raise Malformed(f"status {status} with {what} in the body")
    return b""


class _Session:
    """aiohttp's session for AWS clients. Follows no redirects: aiobotocore would, botocore does not."""

    def __init__(self, session: ClientSession, distrusted: Callable[[], None]) -> None:
        """`distrusted` is called where the certificate of the server is not trusted."""
        self._session, self._distrusted = session, distrusted

    async def request(self, method: str, url: URL, *, data: Any = None, **options: Any) -> ClientResponse:
        call, large = current_call(), False
        if isinstance(data, bytes | bytearray) and len(data) >= LARGE:
            data, large = _Pieces(data, call.moved), True
        elif isinstance(data, bytes | bytearray):
            call.moved(len(data))
        elif isinstance(data, AsyncIterable):  # botocore's body with a trailing checksum
            data, large = _counted(data, call.moved), True
        if large:
            # No read time-out: bytes buffered by the kernel may take longer to send than a reply may take.
            options["timeout"] = ClientTimeout(sock_connect=self._session.timeout.sock_connect)
        try:
            reply = await self._session.request(method, url, data=data, allow_redirects=False, **options)
        except ClientConnectorCertificateError:
            self._distrusted()
            raise
        call.replied = True
        try:
            _check(reply)
        except Malformed:
            reply.close()
            raise
        return reply


def _check(reply: ClientResponse) -> None:
    """Raises Malformed for a reply that no AWS service sends.

    S3 names the bucket's region when it redirects; botocore then calls that region's host by its own endpoint rules.
    """
    if reply.status < 200:  # botocore treats it as a success
        raise Malformed(f"status {reply.status}")
    if 300 <= reply.status < 400 and _REGION not in reply.headers:
        where = reply.headers.get("Location", "nowhere").partition("?")[0][:200]
        raise Malformed(f"status {reply.status} to {where}; redirects are not followed: check for a proxy or log-in")
    encoding = reply.headers.get("Content-Encoding", "").lower()
    if encoding not in _NO_ENCODING:
        raise Malformed(f"status {reply.status} with Content-Encoding {encoding[:40]}, which was not asked for")


_USED: WeakSet[object] = WeakSet()
"""The protocols of connections that have carried a request. Before it, a server may send tickets of TLS."""


def _has_unread_bytes(connection: Connection) -> bool:
    """Whether bytes, or the end, wait in the socket: of a large body exactly its bytes are read (`body`)."""
    transport = connection.transport
    socket = transport.get_extra_info("socket") if transport is not None else None
    descriptor = socket.fileno() if socket is not None else -1
    if descriptor < 0:
        return False  # it is closed, which sending finds out
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(0))


class _Request(ClientRequest):
    """A request that takes no earlier bytes for its reply, and whose body may fail to be written."""

    async def send(self, conn: Connection) -> ClientResponse:
        """Send it. Raises ClientConnectionError, which closes the connection, if the server has sent something while
        the connection was idle: for example the reply before twice. It would pass for the reply to this request.
        """
        protocol = conn.protocol
        if protocol is None or protocol.should_close or (protocol in _USED and _has_unread_bytes(conn)):
            raise ClientConnectionError("the server sent bytes that no request asked for")
        _USED.add(protocol)
        return await super().send(conn)

    async def write_bytes(self, *arguments: Any, **options: Any) -> None:
        """Write the body, in a task that nobody awaits: an error would be logged with its traceback. It has closed the
        connection, so that the call fails, too.
        """
        with contextlib.suppress(ClientError, OSError):
            await super().write_bytes(*arguments, **options)


class _Reply(ClientResponse):
    """A reply that reads at most the bytes its call allows, and stops sending when it is closed."""

    async def start(self, connection: Any) -> ClientResponse:
        """Read the headers. Waits for "100 Continue" for at most `_CONTINUE_S`."""
        self._wire = transport = connection.transport
        wanted = self._continue
        timer = asyncio.get_running_loop().call_later(_CONTINUE_S, _go_on, wanted) if wanted is not None else None
        try:
            return await super().start(connection)
        except BaseException:
            if transport is not None:
                transport.abort()  # close() would wait for the peer to read what was written
            raise
        finally:
            if timer is not None:
                timer.cancel()

    async def read(self) -> bytes:
        """The whole body. Raises ClientPayloadError if it is cut off, Malformed if it is too large."""
        if self._body is None:
            call, length, size = current_call(), self.content_length, 0
            received = BytesIO()  # to join chunks takes twice the memory
            most = min(call.most_bytes, UNANNOUNCED) if length is None else call.most_bytes
            try:
                if (length or 0) > most:
                    raise Malformed(f"a body of {length} bytes")
                await call.room(length or 0)
                if length:  # a buffer that grows is copied many times, and leaves holes in the heap
                    received.seek(length - 1)
                    received.write(b"\0")
                    received.seek(0)
                async for chunk in self.content.iter_any():
                    size += len(chunk)
                    if size > most:
                        raise Malformed(f"a body of more than {most} bytes")
                    await call.room(size)
                    call.moved(len(chunk))
                    received.write(chunk)
            except BaseException:
                self.close()
                raise
            received.truncate()
            self._body = received.getvalue()
        body = await super().read()
        if self._wire is not None and self._wire.is_closing():
            self._wire.abort()  # the reply came before the whole request was sent
        return body

    def close(self) -> None:
        """Release the connection and send no more of the request."""
        if self._connection is not None and (transport := self._connection.transport) is not None:
            transport.abort()
        super().close()


def _go_on(wanted: asyncio.Future[bool]) -> None:
    if not wanted.done():
        wanted.set_result(True)


async def _counted(chunks: AsyncIterable[bytes], moved: Callable[[int], None]) -> AsyncIterator[bytes]:
    """The chunks; reports each one to `moved` when the next is requested."""
    async for chunk in chunks:
        yield chunk
        moved(len(chunk))


class _Pieces(Payload):
    """Bytes that are sent in pieces; reports each piece to `moved` after it is written.

    A single write over TLS would encrypt all bytes at once, into additional memory.
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
