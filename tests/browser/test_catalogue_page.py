"""The catalogue page in a real browser, while a loader runs: changes apply from the next hour on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.loader import servers
from tests.loader.serving import serving
from tests.loader.stores import hour, page, publish
from vortex_loader.service.database import Database

playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright here: make test-browser installs it")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.integration,
    # Of the system, not of Python's packages; .ci/run installs it.
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: Debian's package is chromium"),
    pytest.mark.skipif(servers.installation() is None, reason="no Postgres here"),
]
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_WAIT_S = 60


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The catalogue, empty."""
    opened = Database(tmp_path / "catalog.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def served(database: Database) -> Iterator[str]:
    """The service on a port."""
    with serving(database) as address:
        yield address


@pytest.fixture
def warehouse() -> Iterator[str]:
    """A Postgres."""
    with servers.postgres() as address:
        yield address


@pytest.fixture
def loader(tmp_path: Path, served: str, warehouse: str) -> Iterator[Path]:
    """`vortex-loader run`, and the folder of its store."""
    store = tmp_path / "store"
    store.mkdir()
    command = [sys.executable, "-m", "vortex_loader", "run", "--store", str(store), "--catalog", served]
    places = ["--warehouse", warehouse, "--from", "2026-11-29T09", "--every", "0.2"]
    process = subprocess.Popen([*command, *places], env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")})
    yield store
    process.terminate()
    assert process.wait(30) == 0


def until(found: Callable[[], Any]) -> Any:
    """What it finds, once it is not nothing: other processes take their time."""
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.1)  # another process: there is nothing to await
    raise AssertionError("it did not come")


def loads(address: str) -> list[tuple[Any, ...]]:
    """The audit of acme: hour of the day, event, rows."""
    with psycopg.connect(address) as connection:
        if not connection.execute("SELECT to_regclass('acme._loads')").fetchone()[0]:  # type: ignore[index]
            return []
        of_day = "extract(hour FROM hour AT TIME ZONE 'UTC')::int"
        sql = f"SELECT {of_day}, event_type, row_count FROM acme._loads ORDER BY 1, 2".encode()
        return connection.execute(sql).fetchall()


def test_page_adds_and_removes_an_event_and_the_loader_follows_with_the_next_hour(
    loader: Path, served: str, warehouse: str, database: Database, tmp_path: Path
) -> None:
    pages = [page(n) for n in range(20)]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=list(_QUIET))
        tab = browser.new_page()
        errors: list[str] = []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(served)

        tab.get_by_label("Customer").fill("acme")
        tab.get_by_label("Event").fill("page")
        tab.get_by_role("button", name="Add").click()
        playwright.expect(tab.get_by_role("status")).to_contain_text("writing takes a token")
        tab.get_by_label("Token").fill(database.add_token("ada"))
        tab.get_by_role("button", name="Add").click()
        playwright.expect(tab.get_by_role("status")).to_have_text("Done.")
        playwright.expect(tab.get_by_role("heading", name="acme")).to_be_visible()

        publish(loader, hour(0), {("acme", "page"): pages, ("acme", "Order Completed"): pages[:7]})
        assert until(lambda: loads(warehouse)) == [(9, "page", 20)]

        tab.get_by_label("Event").fill("Order Completed")
        tab.get_by_label("Table").fill("orders")
        tab.get_by_role("button", name="Add").click()
        playwright.expect(tab.get_by_role("cell", name="orders", exact=True)).to_be_visible()
        tab.screenshot(path=tmp_path / "page.png", full_page=True)
        tab.get_by_role("button", name="Remove page of acme").click()
        playwright.expect(tab.get_by_role("button", name="Remove page of acme")).to_have_count(0)

        publish(loader, hour(1), {("acme", "page"): pages, ("acme", "Order Completed"): pages[:7]})
        expected = [(9, "page", 20), (10, "Order Completed", 7)]
        assert until(lambda: loads(warehouse) if len(loads(warehouse)) > 1 else None) == expected
        with psycopg.connect(warehouse) as connection:
            assert connection.execute("SELECT count(*) FROM acme.orders").fetchall() == [(7,)]

        database.put_event("mallory", "<img src=x onerror=alert(1)>", "<script>alert(2)</script>", {})
        tab.reload()
        playwright.expect(tab.get_by_role("heading", name="<img src=x onerror=alert(1)>")).to_be_visible()
        assert errors == []
        browser.close()
