"""Concurrent loaders, connections that break, and loading hours as they close."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.loader.stores import hour, page, publish
from vortex_loader.catalog import Catalog, Document
from vortex_loader.loading import HourReport, How, Loader, follow
from vortex_loader.metrics import Metrics
from vortex_loader.model import LoaderError, Passing, hours_between
from vortex_loader.sources import Copy
from vortex_loader.status import status
from vortex_loader.store import Store, open_store
from vortex_loader.warehouse import connect
from vortex_loader.warehouse.base import Warehouse
from vortex_loader.warehouse.load import load

PAGES = [page(n) for n in range(40)]


class Changing:
    """A catalogue that tests change."""

    def __init__(self, **document: Any) -> None:
        self.set(**document)

    def set(self, **document: Any) -> None:
        """From now on."""
        self.catalog = Catalog(Document.model_validate(document))

    def read(self) -> Copy:
        """As it is now."""
        return Copy(self.catalog)


def a_loader(store: Store, source: Any, opened: Callable[[], Warehouse], **how: Any) -> Loader:
    """One that does not wait between tries."""
    return Loader(store, source, opened, How(longest_wait=0.001, **how), Metrics())


def value(metric: Any) -> float:
    """What a metric has come to."""
    return float(metric._value.get())


def gauge(loader: Loader, name: str) -> float | None:
    """The loader's gauge of this name, or None."""
    return loader.metrics.registry.get_sample_value(f"vortex_loader_{name}")


def test_concurrent_loaders_load_every_partition_once(tmp_path: Path, address: str) -> None:
    """Four at a time, with new schemas, new tables, the same hours, and names that collide."""
    names = [("wayne/retail", "Product Viewed"), ("wayne_retail", "Product Viewed"), ("wayne/retail", "product_viewed")]
    for n in range(3):
        publish(tmp_path, hour(n), {name: [page(k, **{f"key {n} {k % 3}": k}) for k in range(30)] for name in names})
    store, source = open_store(str(tmp_path)), Changing(customers="all")

    def work(_: int) -> list[HourReport]:
        with a_loader(store, source, lambda: connect(address), parallel=3, attempts=20) as loader:
            return loader.load_hours([hour(n) for n in range(3)])

    with ThreadPoolExecutor(4) as threads:
        reports = [report for some in threads.map(work, range(4)) for report in some]
    assert [report.failed for report in reports] == [[]] * 12
    assert sum(one.changed for report in reports for one in report.loaded) == 9
    warehouse = connect(address)
    # The customer that comes first has the schema of the plain name. The one with two types has two tables.
    found = warehouse.run(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_name LIKE 'product_viewed%'"
    )
    two = "wayne_retail" if ("wayne_retail", "product_viewed_2") in found else "wayne_retail_2"
    one = {"wayne_retail": "wayne_retail_2", "wayne_retail_2": "wayne_retail"}[two]
    assert sorted(found) == sorted([(two, "product_viewed"), (two, "product_viewed_2"), (one, "product_viewed")])
    for schema, name in found:
        assert warehouse.run(f"SELECT count(*), count(DISTINCT _hour) FROM {schema}.{name}") == [(90, 3)]
    assert warehouse.run(f"SELECT count(*) FROM {two}._loads") == [(6,)]
    warehouse.close()


class Breaking:
    """Warehouses whose statements fail until `times` of them have."""

    def __init__(self, address: str, at: str, times: int) -> None:
        self.address, self.at, self.left, self.opened = address, at, times, 0

    def __call__(self) -> Warehouse:
        """A connection."""
        warehouse = connect(self.address)
        self.opened += 1
        run = warehouse.run

        def breaking(sql: str) -> Any:
            if self.left and self.at in sql:
                self.left -= 1
                raise Passing("the connection is lost")
            return run(sql)

        warehouse.run = breaking  # type: ignore[method-assign]
        return warehouse


@pytest.mark.parametrize("at", ["CREATE SCHEMA", "CREATE TEMP", "CREATE TABLE", "INSERT INTO", "_loads", "_names"])
def test_loader_retries_a_broken_load_on_a_new_connection(tmp_path: Path, address: str, at: str) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): PAGES})
    opened = Breaking(address, at, times=3)
    with a_loader(open_store(str(tmp_path)), Changing(customers="all"), opened, parallel=1, attempts=4) as loader:
        report = loader.load_hour(hour(0))
        assert (report.failed, report.rows, opened.opened) == ([], 40, 4)
        assert value(loader.metrics.retries) == 3
        assert loader.load_hour(hour(0)).loaded[0].changed is False
    warehouse = connect(address)
    assert warehouse.run("SELECT count(*) FROM acme.page") == [(40,)]
    warehouse.close()


def test_loader_gives_up_a_load_after_its_attempts_and_leaves_nothing_of_it(tmp_path: Path, address: str) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): PAGES})
    with a_loader(
        open_store(str(tmp_path)), Changing(customers="all"), Breaking(address, 'INTO "acme"."page"', 9), attempts=2
    ) as loader:
        report = loader.load_hour(hour(0))
        assert [problem for _, problem in report.failed] == ["the connection is lost"]
        assert value(loader.metrics.failures) == 1
    warehouse = connect(address)
    assert warehouse.run("SELECT count(*) FROM acme._loads") == [(0,)]
    assert warehouse.columns("acme", "page") == []
    warehouse.close()


def test_loader_reconnects_when_the_server_ends_a_connection(tmp_path: Path, postgres_address: str) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): PAGES})
    opened: list[Warehouse] = []

    def open_one() -> Warehouse:
        warehouse = connect(postgres_address)
        opened.append(warehouse)
        if len(opened) == 1:
            with connect_and_close(postgres_address) as other:
                other.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        return warehouse

    with a_loader(open_store(str(tmp_path)), Changing(customers="all"), open_one, parallel=1) as loader:
        assert loader.load_hour(hour(0)).rows == 40
    assert len(opened) == 2


def connect_and_close(address: str) -> Any:
    """A connection for a block."""
    import contextlib

    return contextlib.closing(connect(address))


def test_connect_waits_for_a_database_file_in_use_and_then_names_it(tmp_path: Path) -> None:
    """DuckDB allows one process at a time."""
    import subprocess
    import sys

    path = tmp_path / "w.duckdb"
    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "open\n"
    with pytest.raises(Passing, match=r"w\.duckdb: another process has it open"):
        connect(str(path), wait=0.2)
    waiting = threading.Thread(target=other.communicate)
    waiting.start()
    connect(str(path), wait=30).close()
    waiting.join()


def test_loader_loads_hours_as_they_close_by_the_current_catalogue(tmp_path: Path, address: str) -> None:
    store, source = open_store(str(tmp_path)), Changing(customer={"acme": {"events": ["page"]}})
    kinds = {("acme", "page"): PAGES[:5], ("acme", "identify"): PAGES[:3]}
    publish(tmp_path, hour(0), kinds)
    reports: list[tuple[datetime, int]] = []
    stop = threading.Event()

    def now() -> datetime:
        return hour(2).replace(minute=30)

    def tell(report: HourReport) -> None:
        reports.append((report.hour, report.rows))
        if report.hour == hour(0):
            source.set(customer={"acme": {"events": ["identify"]}})
            publish(tmp_path, hour(1), kinds)
        else:
            stop.set()

    with a_loader(store, source, lambda: connect(address)) as loader:
        follow(loader, hour(0), now, stop, 0.01, tell)
        assert reports == [(hour(0), 5), (hour(1), 3)]
        assert gauge(loader, "last_loaded_hour_seconds") == hour(1).timestamp()
        assert value(loader.metrics.not_in_catalog) == 3 + 5


def test_loader_retries_a_failed_hour_in_the_next_round(tmp_path: Path, address: str) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): PAGES})
    publish(tmp_path, hour(1), {("acme", "page"): PAGES})
    file = next((tmp_path / "customer=acme/event_type=page/date=2026-11-29/hour=09").glob("*.gz"))
    body = file.read_bytes()
    file.write_bytes(b"junk")
    reports: list[tuple[datetime, int, int]] = []
    stop = threading.Event()

    def tell(report: HourReport) -> None:
        reports.append((report.hour, report.rows, len(report.failed)))
        if len(reports) == 3:
            stop.set()

    waits = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append((gauge(loader, "hours_waiting"), gauge(loader, "oldest_waiting_seconds")))
            file.write_bytes(body)
            return stop.is_set()

        def is_set(self) -> bool:
            return stop.is_set()

    with a_loader(open_store(str(tmp_path)), Changing(customers="all"), lambda: connect(address)) as loader:
        follow(loader, hour(0), lambda: hour(2), Stop(), 0.01, tell)
    assert reports == [(hour(0), 0, 1), (hour(1), 40, 0), (hour(0), 40, 0)]
    assert waits[0] == (1.0, 3600.0)
    assert waits[-1] == (0.0, 0.0)


def test_hours_before_the_first_that_closed_do_not_count_as_waiting(tmp_path: Path) -> None:
    """As before the stream's first event: no hour closes after a later one."""
    publish(tmp_path, hour(3), {("acme", "page"): PAGES})
    seen: list[tuple[float | None, float | None]] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            seen.append((gauge(loader, "hours_waiting"), gauge(loader, "oldest_waiting_seconds")))
            if len(seen) == 2:
                self.set()
            return True

    def opened() -> Warehouse:
        return connect(str(tmp_path / "w.duckdb"))

    with a_loader(open_store(str(tmp_path)), Changing(customers="all"), opened) as loader:
        follow(loader, hour(0), lambda: hour(6), Stop(), 0.01, lambda report: None)
        found = status(loader.store, loader.catalog(), opened(), hours_between(hour(0), hour(6)))
    assert seen == [(0.0, 3600.0), (0.0, 3600.0)], "hour 4, which ended at the start of hour 5"
    assert found.oldest() == hour(4)


def test_hour_text_is_in_utc_for_any_time_zone() -> None:
    from vortex_loader.model import hour_text, parse_hour

    assert hour_text(parse_hour("2026-11-29T10:00+01:00")) == "2026-11-29T09"
    assert parse_hour("2026-11-29T09") == datetime(2026, 11, 29, 9, tzinfo=UTC)


def test_load_accepts_deep_events_and_duplicate_keys(tmp_path: Path, address: str) -> None:
    """Vortex accepts 512 levels."""
    deep = b'{"messageId":"1","deep":' + b"[" * 500 + b"1" + b"]" * 500 + b"}"
    twice = b'{"messageId":"2","k":1,"k":2,"properties":{"a":"x","a":"y"}}'
    publish(tmp_path, hour(0), {("acme", "page"): [deep, twice]})
    store = open_store(str(tmp_path))
    (part,) = store.hour(hour(0)).partitions
    warehouse = connect(address)
    try:
        done = load(warehouse, store, part, Catalog(Document(customers="all")).target("acme", "page"))
        assert done.rows == 2
        assert warehouse.run("SELECT message_id FROM acme.page ORDER BY 1") == [("1",), ("2",)]
    finally:
        warehouse.close()


def test_load_refuses_a_table_that_is_renamed_in_the_catalogue_later(tmp_path: Path, address: str) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): PAGES, ("acme", "x"): PAGES})
    publish(tmp_path, hour(1), {("acme", "page"): PAGES})
    store = open_store(str(tmp_path))
    warehouse = connect(address)
    page_part, other = store.hour(hour(0)).partitions
    (later,) = store.hour(hour(1)).partitions

    def target(table: str | None, kind: str) -> Any:
        rules = {"acme": {"events": "all", "event": {kind: {"table": table}}}}
        return Catalog(Document.model_validate({"customer": rules})).target("acme", kind)

    try:
        assert load(warehouse, store, page_part, target("views", "page")).table == "views"
        with pytest.raises(LoaderError, match=r"is in acme\.views; the catalogue says sights"):
            load(warehouse, store, later, target("sights", "page"))
        with pytest.raises(LoaderError, match=r"the table acme\.views is another event's"):
            load(warehouse, store, other, target("views", "x"))
    finally:
        warehouse.close()
