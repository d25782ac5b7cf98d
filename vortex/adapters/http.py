"""Metrics and health over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from aiohttp import web

from vortex.adapters.metrics import PrometheusMeter

Check = tuple[str, bool, str]
"""Name, whether it is well, detail."""


@contextlib.asynccontextmanager
async def serve(
    host: str, port: int, meter: PrometheusMeter, ready: Callable[[], Sequence[Check]]
) -> AsyncIterator[tuple[str, int]]:
    """Serve /metrics, /livez and /readyz while the context lasts; yields the address bound (port 0: any free one).

    /livez answers as long as the loop turns and asks nothing of AWS: a restart mends no outage there.
    Raises OSError where the address is taken.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=meter.page(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        checks = ready()
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
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0]
        yield bound[0], bound[1]
    finally:
        await runner.cleanup()
