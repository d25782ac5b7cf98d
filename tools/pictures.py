"""Makes the pictures of the docs: `python -m tools.pictures` (needs Playwright and Debian's Chromium).

The page at / and the output of `vortex status` are the program's own; what they show is made up here.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import shutil
import sys
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from vortex import __version__
from vortex.adapters.http.server import Check, serve
from vortex.commands.status_text import Problem, Shard, View, rendered
from vortex.runtime.overview import encoded

FOLDER = Path(__file__).parents[1] / "docs/pictures"
NOW = 1_795_961_100_000  # 2026-11-29T14:05:00Z
HOUR, MINUTE = 3_600_000, 60_000
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def sample() -> dict[str, Any]:
    """A stream of four shards, of which one lags."""
    start = NOW - 359 * MINUTE
    history = []
    for n in range(360):
        events = round(60 * (1400 + 500 * math.sin(n / 57) + 120 * math.sin(n / 3)))
        lag = 2.0 if n < 335 else (n - 334) * 60.0
        history.append([start + n * MINUTE, events, events * 1010, events / 900, 0, lag])
    first = NOW - NOW % HOUR - 47 * HOUR
    hours: list[list[object]] = [[first + n * HOUR, "closed", 5_000_000 + n] for n in range(46)]
    hours[7] = [first + 7 * HOUR, "empty", 0]
    hours += [[first + 46 * HOUR, "late", None], [first + 47 * HOUR, "open", None]]
    why = "no page of shardId-000000000003 for 25 min"
    todo = "see the other rows; if there are none, restart the worker: nothing is lost"
    workers = ["ip-10-0-0-1:17:aa", "ip-10-0-0-2:17:aa"]
    return {
        "stream": "clickstream",
        "version": __version__,
        "store": "s3://example-bucket/clickstream",
        "now_ms": NOW,
        "ready": False,
        "troubles": [["reading", why, NOW - 20 * MINUTE, todo]],
        "notices": [],
        "history": history,
        "hours": hours,
        "shards": [[f"shardId-{n:012d}", workers[n // 2], 1500.0 if n == 3 else 1.2 + n] for n in range(4)],
        "workers": [[workers[0], 2, True], [workers[1], 2, False]],
        "customers": [
            ["acme", 812_000_000],
            ["globex", 410_500_000],
            ["<script>alert(1)</script>", 96_000_000],
            ["initech", 7_200_000],
        ],
        "rejections": [["missing_customer", 1284], ["not_json", 17]],
    }


def view() -> View:
    """The same for `vortex status`."""
    open_ms = NOW - 35 * MINUTE
    shards = []
    for n in range(4):
        owner, late = f"ip-10-0-0-{1 + n // 2}:17:9f3a55b1c0d2e477", n == 3
        read_ms, opened = (NOW - 25 * MINUTE, open_ms) if late else (NOW - 9000 - 1000 * n, NOW - 10 * MINUTE)
        shards.append(Shard(f"shardId-{n:012d}", "open", owner, read_ms, opened, 11 + n, late))
    problem = Problem(
        "shardId-000000000003: keeps every period from 2026-11-29T13:30:00Z on open",
        "is a worker running, and ready? /readyz?verbose and its log say what it waits for",
        NOW - 25 * MINUTE,
    )
    facts = [
        ("published up to", "13:30, 35 min ago; plan 6123 done"),
        ("last closed hour", "12:00"),
        ("open from", "13:30, held by shardId-000000000003"),
        ("deduplication", "window 60 min; the last plan was compared with 60 min, plans 6111..6122"),
        ("workers", "2, 1,412.0 KB/s"),
    ]
    return View("clickstream", NOW, [problem], facts, shards, True)


@contextlib.contextmanager
def served(document: dict[str, Any]) -> Iterator[str]:
    """The program's own HTTP endpoint with this document; yields its address."""
    ready, stop = threading.Event(), asyncio.Event()
    address: list[str] = []
    loop = asyncio.new_event_loop()

    async def text() -> bytes:
        return encoded(document)

    async def checks() -> list[Check]:
        return []

    async def run() -> None:
        async with serve("127.0.0.1", 0, text, checks, text) as (host, port):
            address.append(f"http://{host}:{port}/")
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    ready.wait()
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def terminal() -> str:
    """The output of `vortex status --watch` as a page."""
    console = Console(width=80, file=StringIO(), record=True, highlight=False, force_terminal=True)
    console.print("$ vortex status --watch")
    console.print(rendered(view()))
    return console.export_html(
        code_format='<body style="margin:0;background:#fff"><pre style="font:14px/1.35 monospace;padding:12px;margin:0;'
        'display:inline-block">{code}</pre><style>{stylesheet}</style></body>'
    )


def main() -> int:
    """Write the pictures."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as started, served(sample()) as address:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=list(QUIET))
        looks: list[tuple[str, Literal["light", "dark"], int]] = [("page", "light", 1000), ("page-phone", "dark", 390)]
        for name, scheme, width in looks:
            context = browser.new_context(viewport={"width": width, "height": 700}, color_scheme=scheme)
            tab = context.new_page()
            tab.goto(address)
            tab.get_by_text("shardId-000000000003", exact=True).wait_for()
            tab.screenshot(path=FOLDER / f"{name}.png", full_page=True)
        tab = browser.new_page(viewport={"width": 760, "height": 300})
        tab.set_content(terminal())
        tab.locator("pre").screenshot(path=FOLDER / "status-watch.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
