"""Metrics and health over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from aiohttp import ClientSession, ClientTimeout, UnixConnector, web

UNIX = "unix:"
_ASK_S = 3.0

Check = tuple[str, bool, str]
"""Name, whether it is well, detail."""


@contextlib.asynccontextmanager
async def serve(
    host: str, port: int, page: Callable[[], Awaitable[bytes]], ready: Callable[[], Awaitable[Sequence[Check]]]
) -> AsyncIterator[tuple[str, int]]:
    """Serve /metrics, /livez and /readyz while the context lasts; yields the address bound (port 0: any free one).

    A host of the form `unix:/path` is a socket in the file system; its port is 0.
    /livez answers as long as the loop turns and asks nothing of AWS: a restart mends no outage there.
    Raises OSError where the address is taken.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await page(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        checks = await ready()
        well = all(ok for _, ok, _ in checks)
        if "verbose" in request.query:
            text = "".join(f"{'ok' if ok else 'FAIL'} {name}: {detail}\n" for name, ok, detail in checks)
        else:
            text = "ok\n" if well else "not ready; ask /readyz?verbose\n"
        return web.Response(text=text, status=200 if well else 503)

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/livez", livez), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        if path := host.removeprefix(UNIX) if host.startswith(UNIX) else "":
            await web.UnixSite(runner, path).start()
            yield host, 0
        else:
            await web.TCPSite(runner, host, port).start()
            bound = runner.addresses[0]
            yield bound[0], bound[1]
    finally:
        await runner.cleanup()


async def ask(host: str, path: str) -> str:
    """What a server at `unix:/path` answers, whatever its status. Raises OSError, TimeoutError."""
    connector = UnixConnector(host.removeprefix(UNIX))
    async with (
        ClientSession(connector=connector, timeout=ClientTimeout(total=_ASK_S)) as session,
        session.get(f"http://localhost{path}") as reply,
    ):
        return await reply.text()


def checks_of(text: str) -> list[Check]:
    """What /readyz?verbose said, taken apart again."""
    rows = []
    for line in text.splitlines():
        verdict, _, rest = line.partition(" ")
        name, _, detail = rest.partition(": ")
        rows.append((name, verdict == "ok", detail))
    return rows
