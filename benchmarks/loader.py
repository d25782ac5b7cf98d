"""`python -m benchmarks.loader`: rows per CPU second from a closed hour's files into Postgres and DuckDB.

The CPU time is that of the loader and the server together. The events are the demo's, of about a kilobyte with the
context that Segment's libraries send; the store is a folder, so that no HTTP is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.arguments import positive
from tests.loader import servers
from tests.loader.stores import publish
from vortex_loader.catalog import Catalog, Document
from vortex_loader.store import Store, open_store
from vortex_loader.warehouse import connect
from vortex_loader.warehouse.load import load

MARKS = {"postgres": 15_000, "duckdb": 30_000}
_TYPES = ("page", "identify", "Product Viewed", "Product Added", "Order Completed")
_CUSTOMERS = ("acme", "globex", "initech", "wayne/retail")
_START = datetime(2026, 11, 29, 9, tzinfo=UTC)
_TICK = os.sysconf("SC_CLK_TCK")


def event(rng: Random, number: int, customer: str, kind: str, at: datetime) -> bytes:
    """One event, a kilobyte."""
    text = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document: dict[str, Any] = {
        "messageId": f"ajs-{rng.getrandbits(128):032x}",
        "type": kind if kind in ("page", "identify") else "track",
        "anonymousId": f"{rng.getrandbits(128):032x}",
        "userId": f"u-{rng.randrange(5000)}",
        "timestamp": text,
        "sentAt": text,
        "receivedAt": text,
        "context": {
            "app": {"namespace": customer, "version": "4.12.0", "build": "4120"},
            "ip": f"203.0.113.{rng.randrange(256)}",
            "library": {"name": "analytics.js", "version": "2.11.1"},
            "locale": "fr-FR",
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "page": {"path": f"/p/{rng.randrange(400)}", "referrer": "https://example.org/", "title": "Boutique"},
            "campaign": {"name": "autumn", "source": "newsletter", "medium": "email"},
        },
        "properties": {
            "price": rng.randrange(100, 9999) / 100,
            "currency": "EUR",
            "sku": f"{rng.getrandbits(40):x}",
            "quantity": rng.randrange(1, 5),
            "category": "shoes",
            "url": f"https://shop.example.org/p/{number}",
        },
    }
    if document["type"] == "track":
        document["event"] = kind
    return json.dumps(document).encode()


def make_store(folder: Path, events: int) -> Store:
    """Two closed hours with so many events in all: the first makes the tables, the second finds them there."""
    rng = Random(5)
    for n in range(2):
        at = _START + timedelta(hours=n)
        share = events // 2 // (len(_TYPES) * len(_CUSTOMERS))
        publish(
            folder,
            at,
            {(c, k): (event(rng, i, c, k, at) for i in range(share)) for c in _CUSTOMERS for k in _TYPES},
            objects=4,
        )
    return open_store(str(folder))


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a process, of those that it has waited for, and of its children."""
    seconds = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(path.parent.name) == pid or int(fields[1]) == pid:
            seconds += sum(int(one) for one in fields[11 : 15 if int(path.parent.name) == pid else 13]) / _TICK
    return seconds


def measure(name: str, store: Store, address: str, server: Callable[[], float]) -> float:
    """Loads both hours, prints the figure, and returns rows a CPU second."""
    catalog = Catalog(Document(customers="all"))
    before = resource.getrusage(resource.RUSAGE_SELF)
    server_before, begun = server(), time.monotonic()
    warehouse = connect(address)
    rows = 0
    for n in range(2):
        for part in store.hour(_START + timedelta(hours=n)).partitions:
            done = load(warehouse, store, part, catalog.target(part.customer, part.event_type))
            assert done.changed and not done.misfits, done
            rows += done.rows
    warehouse.close()
    after = resource.getrusage(resource.RUSAGE_SELF)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    theirs = server() - server_before
    speed = rows / (own + theirs)
    print(
        f"{name}: {rows} rows in {time.monotonic() - begun:.1f} s; CPU {own:.1f} s of the loader, {theirs:.1f} s of "
        f"the server; {speed:.0f} rows a CPU second (mark: {MARKS[name]})",
        flush=True,
    )
    return speed


def main() -> None:
    """Exit code 1 where a mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=positive, default=500_000)
    parser.add_argument("--only", choices=sorted(MARKS))
    arguments = parser.parse_args()
    speeds = {}
    with tempfile.TemporaryDirectory(prefix="vortex-bench-") as name:
        folder = Path(name)
        store = make_store(folder / "store", arguments.events)
        if arguments.only != "postgres":
            speeds["duckdb"] = measure("duckdb", store, str(folder / "warehouse.duckdb"), lambda: 0.0)
        if arguments.only != "duckdb":
            with servers.postgres() as address:
                pid = servers.server_pid(address)
                speeds["postgres"] = measure("postgres", store, address, lambda: cpu_of(pid))
    sys.exit(any(speed < MARKS[name] for name, speed in speeds.items()))


if __name__ == "__main__":
    main()
