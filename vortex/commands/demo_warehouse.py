"""The last part of `vortex demo`: the loader loads the closed hours into a warehouse, and the sum must be right there.

The loader is a separate program that knows only the manifests in the store, so it is started as a program.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from vortex.core.wording import counted

CATALOG = """
customers = "all"                       # also those that are not named here

[default]
flatten = ["properties", "context.page"]

[customer.hooli]
events = ["page", "identify"]           # of others: nothing

[customer.umbrella]
enabled = false

[customer.acme.event."Order Completed"]
table = "orders"
hash = ["userId"]
"""
_TABLES = 10
_LOAD_S = 300
QUERIES = (
    (
        "what acme's orders of each hour came to",
        "SELECT date_trunc('hour', _hour) AS hour, count(*) AS orders, round(sum(properties_price)) AS revenue "
        "FROM acme.orders GROUP BY 1 ORDER BY 1",
    ),
    (
        "the pages that globex's people look at most",
        "SELECT context_page_path, count(*) AS views FROM globex.page GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3",
    ),
    (
        "what was loaded of acme, as the audit says",
        "SELECT event_type, count(*) AS hours, sum(row_count) AS rows FROM acme._loads GROUP BY 1 ORDER BY 3 DESC",
    ),
)


class LoadingFailed(Exception):
    """The loader did not do it; the message says why."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the loader finds everything."""

    store: str
    warehouse: str
    catalog: Path
    endpoint_url: str | None

    def options(self) -> list[str]:
        """For the loader's command line."""
        places = ["--store", self.store, "--warehouse", self.warehouse, "--catalog", str(self.catalog)]
        return [*places, "--endpoint-url", self.endpoint_url] if self.endpoint_url else places


@dataclass(frozen=True, slots=True)
class Loads:
    """What the warehouse has, in rows, and what the hours' manifests say."""

    loaded: int
    not_in_catalog: int
    duplicates: int
    rejected: int

    def holds(self, produced: int) -> bool:
        """Whether every event is one of these."""
        return produced == self.loaded + self.not_in_catalog + self.duplicates + self.rejected

    def sum_of(self, produced: int) -> str:
        """The sum."""
        sign = "=" if self.holds(produced) else "≠"
        return (
            f"produced {produced} {sign} loaded {self.loaded} + duplicates {self.duplicates} + rejected "
            f"{self.rejected} + not in the catalogue {self.not_in_catalog}"
        )


def warehouse_address(named: str, file: Path) -> str:
    """The warehouse's address: `duckdb` is this file, `postgres` what libpq's own variables name.

    Raises LoadingFailed where a driver is missing, or the file exists.
    """
    module = "duckdb" if named == "duckdb" else "psycopg" if named.startswith("postgres") else None
    if module and find_spec(module) is None:
        raise LoadingFailed(
            f"--warehouse {named} needs {module}: pip install 'vortex-microbatcher[loader]', "
            "or '.[loader]' in a checkout"
        )
    if named == "duckdb" and file.exists():
        raise LoadingFailed(f"{file}: exists; move it away, for the demo makes a new warehouse of this name")
    if named == "duckdb":
        return str(file)
    return "postgresql://" if named == "postgres" else named


def load(console: Console, places: Places, hours: list[datetime]) -> Loads:
    """Loads these hours, shows the tables, prints the queries. Raises LoadingFailed."""
    places.catalog.write_text(CATALOG)
    span = ["--from", _hour(min(hours)), "--to", _hour(max(hours) + timedelta(hours=1))]
    with waiting(console, "\nthe loader takes the closed hours into the warehouse"):
        _loader("backfill", *places.options(), *span, "--json")
        status = json.loads(_loader("status", *places.options(), *span, "--json"))
    _show_tables(console, places, status)
    answers = _loader("query", "--warehouse", places.warehouse, *(sql for _, sql in QUERIES)).split("\n\n")
    for (title, sql), answer in zip(QUERIES, answers, strict=True):
        console.print(f"\n{title}:", style="bold")
        console.print(f"  {sql}", markup=False, soft_wrap=True)
        for row in answer.splitlines():
            console.print(f"    {row}", markup=False, soft_wrap=True)
    for row in status["not_in_catalog"]:
        console.print(
            f"seen, not in the catalogue: {row['customer']} / {row['event_type']}, {counted(row['rows'], 'row')}",
            markup=False,
        )
    totals = {name: sum(hour[name] for hour in status["hours"]) for name in Loads.__dataclass_fields__}
    return Loads(**totals)


@contextlib.contextmanager
def waiting(console: Console, what: str) -> Iterator[None]:
    """Says what takes a while, and after it how long it took."""
    begun = time.monotonic()
    console.print(f"{what} …", markup=False, soft_wrap=True)
    with console.status(what.strip()) if console.is_terminal else contextlib.nullcontext():
        yield
    console.print(f"  done in {time.monotonic() - begun:.1f} s", style="dim")


def _show_tables(console: Console, places: Places, status: dict[str, Any]) -> None:
    tables = sorted(status["tables"], key=lambda row: -row["rows"])
    schemas = len({row["customer"] for row in tables})
    console.print(
        f"\nin the warehouse: {counted(len(tables), 'table')} of {counted(schemas, 'customer')}; the largest:",
        style="bold",
    )
    for row in tables[:_TABLES]:
        said = f"{row['customer']} / {row['event_type']}"
        console.print(f"  {counted(row['rows'], 'row'):>11}  {row['table']:<32} {said}", markup=False, soft_wrap=True)


def _loader(command: str, *arguments: str) -> str:
    """What the loader says."""
    whole = [sys.executable, "-P", "-m", "vortex_loader", command, *arguments]
    try:
        done = subprocess.run(whole, capture_output=True, text=True, timeout=_LOAD_S)
    except subprocess.TimeoutExpired:
        raise LoadingFailed(f"vortex-loader {command} did not end within {_LOAD_S} s") from None
    if done.returncode:
        raise LoadingFailed(f"vortex-loader {command} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _hour(hour: datetime) -> str:
    return f"{hour:%Y-%m-%dT%H}"
