"""Metrics and health over HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout, UnixConnector
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_request import BaseRequest  # not by way of aiohttp.web, which imports applications and routes
from aiohttp.web_response import Response
from aiohttp.web_server import Server
from yarl import URL

from vortex.adapters.http.limits import Gate
from vortex.adapters.logs import printable


def _hash(page: bytes, tag: str) -> str:
    """The hash by which a Content-Security-Policy allows the page's one element `tag`."""
    text = page.partition(f"<{tag}>".encode())[2].partition(f"</{tag}>".encode())[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"


UNIX = "unix:"
_ASK_S = 3.0
_LEAVE_S = 1.0
"""Seconds that a reply in progress may take when the server stops."""
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_TOO_MUCH = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_PAGE = (Path(__file__).parent / "page.html").read_bytes()
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    f"frame-ancestors 'none'; style-src {_hash(_PAGE, 'style')}; script-src {_hash(_PAGE, 'script')}",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""The page may use its own style and script, and nothing from elsewhere."""
_requests = logging.getLogger(f"{__name__}.requests")
_requests.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
"""A malformed request gets a 400 reply; it must not put a traceback into the log."""

Check = tuple[str, bool, str]
"""Name, whether it is ok, detail."""


@contextlib.asynccontextmanager
async def serve(
    host: str,
    port: int,
    page: Callable[[], Awaitable[bytes]],
    ready: Callable[[], Awaitable[Sequence[Check]]],
    status: Callable[[], Awaitable[bytes]] | None = None,
) -> AsyncIterator[tuple[str, int]]:
    """Serve /metrics, /livez and /readyz within the context; yields the bound address (port 0: any free one).

    With `status`, the JSON of /status.json, it serves the page at /, too, which shows that.

    A host of the form `unix:/path` is a Unix socket; its port is 0.
    /livez answers while the event loop runs and does not call AWS: a restart does not repair an outage there.
    A connection serves one request; connections are limited (`Gate`). Raises OSError if the address is in use.
    """

    async def answer(request: BaseRequest) -> Response:
        if request.method not in ("GET", "HEAD"):
            reply = Response(status=405, headers={"Allow": "GET, HEAD"}, text="only GET and HEAD\n")
        elif request.path == "/metrics":
            reply = Response(body=await page(), headers={"Content-Type": _METRICS})
        elif request.path == "/livez":
            reply = Response(text="ok\n")
        elif request.path == "/readyz":
            reply = _readiness(await ready(), verbose="verbose" in request.query)
        elif request.path == "/" and status is not None:
            reply = Response(body=_PAGE, content_type="text/html", charset="utf-8")
        elif request.path == "/status.json" and status is not None:
            reply = Response(body=await status(), content_type="application/json")
        else:
            reply = Response(status=404, text="not found; try /, /metrics, /livez or /readyz\n")
        reply.headers.update(_HEADERS)
        reply.force_close()
        return reply

    loop = asyncio.get_running_loop()

    def read(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> BaseRequest:
        """The request without a host: none is needed, and aiohttp raises UnicodeError for some."""
        url: URL = message.url
        message = message._replace(url=url.relative() if url.absolute else url)
        return BaseRequest(message, payload, protocol, writer, task, loop)

    gate, server = Gate(_TOO_MUCH), Server(answer, access_log=None, logger=_requests, request_factory=read)
    factory = gate.guarded(server)
    if host.startswith(UNIX):
        listening, address = await loop.create_unix_server(factory, host.removeprefix(UNIX)), (host, 0)
    else:
        listening = await loop.create_server(factory, host, port)
        address = listening.sockets[0].getsockname()[:2]
    try:
        yield address
    finally:
        listening.close()
        await server.shutdown(_LEAVE_S)


def not_served(host: str, port: int, problem: OSError) -> str:
    """One error line for an address that cannot be bound, with the settings that name it."""
    address = host if host.startswith(UNIX) else f"{host}:{port}"
    if problem.errno == errno.EADDRINUSE:
        why = "is in use by another program or another worker"
    else:
        number = problem.errno or 0
        why = os.strerror(number) if number > 0 else problem.strerror or str(problem)  # below 0: name resolution
    return f"http.host, http.port (or VORTEX_HTTP__HOST, VORTEX_HTTP__PORT): {address}: {why}"


def _readiness(checks: Sequence[Check], *, verbose: bool) -> Response:
    ready = all(ok for _, ok, _ in checks)
    text = "ok\n" if ready else "not ready; ask /readyz?verbose\n"
    if verbose:
        text = "".join(f"{'ok' if ok else 'FAIL'} {printable(f'{name}: {detail}')}\n" for name, ok, detail in checks)
    return Response(text=text, status=200 if ready else 503)


async def ask(host: str, path: str) -> str:
    """The reply of a server at `unix:/path`, whatever its status. Raises OSError, TimeoutError."""
    connector = UnixConnector(host.removeprefix(UNIX))
    async with (
        ClientSession(connector=connector, timeout=ClientTimeout(total=_ASK_S)) as session,
        session.get(f"http://localhost{path}") as reply,
    ):
        return await reply.text()


def checks_of(text: str) -> list[Check]:
    """Parse a reply of /readyz?verbose."""
    rows = []
    for line in text.splitlines():
        verdict, _, rest = line.partition(" ")
        name, _, detail = rest.partition(": ")
        rows.append((name, verdict == "ok", detail))
    return rows
