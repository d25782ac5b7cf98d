"""The commands of `vortex-loader`."""

from __future__ import annotations

import importlib.abc
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.loader.stores import hour, page, publish
from vortex_loader.cli import Exit, main
from vortex_loader.warehouse import connect

CATALOG = '[customer.acme]\nevents = ["page", "Order Completed"]\n[customer."wayne/retail"]\n'
PAGES = [page(n) for n in range(5)]


class Loading:
    """A store, a catalogue and a warehouse, and the command on them."""

    def __init__(self, folder: Path, warehouse: str) -> None:
        self.store, self.warehouse, self.catalog = folder / "store", warehouse, folder / "catalog.toml"
        self.store.mkdir()
        self.catalog.write_text(CATALOG)

    def __call__(self, *arguments: str, code: Exit = Exit.OK) -> Any:
        """The output of the command, parsed if it is JSON."""
        places = ["--store", str(self.store), "--warehouse", self.warehouse, "--catalog", str(self.catalog)]
        done = CliRunner().invoke(main, [arguments[0], *places, *arguments[1:]], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout) if "--json" in arguments else done.output

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query of the warehouse."""
        warehouse = connect(self.warehouse)
        try:
            return warehouse.run(sql)
        finally:
            warehouse.close()


@pytest.fixture
def loading(tmp_path: Path, address: str) -> Loading:
    """Three closed hours: the second has no events of acme, the third has a new type; the fourth is open."""
    made = Loading(tmp_path, address)
    publish(
        made.store,
        hour(0),
        {
            ("acme", "page"): PAGES,
            ("acme", "identify"): PAGES[:2],
            ("wayne/retail", "page"): PAGES,
            ("other", "x"): PAGES,
        },
        rejected=3,
    )
    publish(made.store, hour(1), {("wayne/retail", "page"): PAGES})
    publish(made.store, hour(2), {("acme", "page"): PAGES, ("acme", "Order Completed"): PAGES})
    return made


def test_load_loads_an_hour_and_reports_what_is_not_in_the_catalogue(loading: Loading) -> None:
    output = loading("load", "--hour", "2026-11-29T09", "--json")
    (report,) = output["hours"]
    assert [
        (one["customer"], one["table"], one["rows"], one["changed"])
        for one in sorted(report["loaded"], key=lambda one: str(one["customer"]))
    ] == [("acme", "acme.page", 5, True), ("wayne/retail", "wayne_retail.page", 5, True)]
    assert report["not_in_catalog"] == [
        {"customer": "acme", "event_type": "identify", "rows": 2},
        {"customer": "other", "event_type": "x", "rows": 5},
    ]
    again = loading("load", "--hour", "2026-11-29T09:00:00Z", "--json")["hours"][0]["loaded"]
    assert [one["changed"] for one in again] == [False, False]
    assert loading.rows("SELECT count(*) FROM acme.page") == [(5,)]


def test_load_loads_only_the_given_customer_and_event(loading: Loading) -> None:
    loading("load", "--hour", "2026-11-29T11", "--customer", "acme", "--event", "Order Completed")
    assert loading.rows("SELECT event_type FROM acme._loads") == [("Order Completed",)]


def test_load_exits_with_not_closed_when_the_hour_is_open(loading: Loading) -> None:
    assert "2026-11-29T12 is not closed" in loading("load", "--hour", "2026-11-29T12", code=Exit.NOT_CLOSED)


def test_backfill_loads_the_closed_hours_and_status_adds_up(loading: Loading) -> None:
    output = loading("backfill", "--from", "2026-11-29T09", "--to", "2026-11-29T13", "--json")
    assert [hour_["rows"] for hour_ in output["hours"]] == [10, 5, 10]
    assert output["not_closed"] == [{"hour": "2026-11-29T12"}]
    found = loading("status", "--from", "2026-11-29T09", "--to", "2026-11-29T13", "--json")
    assert [(one["published"], one["loaded"], one["waiting"], one["not_in_catalog"]) for one in found["hours"]] == [
        (17, 10, 0, 7),
        (5, 5, 0, 0),
        (10, 10, 0, 0),
    ]
    assert found["not_closed"] == ["2026-11-29T12"]
    assert found["hours"][0]["rejected"] == 3
    assert [row["rows"] for row in found["not_in_catalog"]] == [2, 5]


def test_backfill_loads_events_that_were_added_to_the_catalogue_later(loading: Loading) -> None:
    loading("load", "--hour", "2026-11-29T09")
    loading.catalog.write_text('[customer.acme]\nevents = ["identify"]')
    found = loading("status", "--from", "2026-11-29T09", "--to", "2026-11-29T10", "--json")["hours"][0]
    assert (found["loaded"], found["waiting"], found["not_in_catalog"]) == (10, 2, 5)
    loading("backfill", "--from", "2026-11-29T09", "--to", "2026-11-29T10")
    assert loading.rows("SELECT count(*) FROM acme.identify") == [(2,)]
    assert loading.rows("SELECT count(*) FROM acme.page") == [(5,)]


def test_status_lists_waiting_partitions_before_the_first_load(loading: Loading) -> None:
    text = loading("status", "--from", "2026-11-29T09", "--to", "2026-11-29T13")
    assert "seen and not loaded: 'acme' 'identify', 2 rows" in text
    assert "not closed: 2026-11-29T12\n" in text


def test_backfill_and_status_sum_up_hours_in_a_row_that_are_not_closed(loading: Loading) -> None:
    (loading.store / "_hours/date=2026-11-29/hour=10/manifest.json").unlink()
    span = ("--from", "2026-11-28T22", "--to", "2026-11-30T00")
    told = "not closed: 2026-11-28T22 to 2026-11-29T08, 2026-11-29T10, 2026-11-29T12 to 2026-11-29T23\n"
    assert told in loading("backfill", *span)
    assert told in loading("status", *span)


def test_load_names_a_partition_that_fails_and_loads_the_others(loading: Loading) -> None:
    next((loading.store / "customer=acme/event_type=page").rglob("*.gz")).write_bytes(b"junk")
    output = loading("load", "--hour", "2026-11-29T09", code=Exit.FAILED)
    assert "acme / page / 2026-11-29T09: FAILED" in output
    assert "2026-11-29T09: 5 rows in 1 table" in output
    assert loading.rows("SELECT count(*) FROM wayne_retail.page") == [(5,)]


def test_backfill_names_an_hour_whose_manifest_is_unreadable_and_loads_the_others(loading: Loading) -> None:
    (loading.store / "_hours/date=2026-11-29/hour=09/manifest.json").write_text("{")
    span = ("--from", "2026-11-29T09", "--to", "2026-11-29T12")
    output = loading("backfill", *span, code=Exit.FAILED)
    assert "2026-11-29T09: FAILED: " in output and "manifest.json cannot be read" in output
    assert "2026-11-29T11: 10 rows in 2 tables (2 loaded now)" in output
    told = loading("backfill", *span, "--json", code=Exit.FAILED)["hours"]
    assert [(hour["hour"], hour["rows"], bool(hour["problem"])) for hour in told] == [
        ("2026-11-29T09", 0, True),
        ("2026-11-29T10", 5, False),
        ("2026-11-29T11", 10, False),
    ]
    found = loading("status", *span, "--json", code=Exit.FAILED)
    assert [hour["hour"] for hour in found["unreadable"]] == ["2026-11-29T09"]
    assert [(hour["hour"], hour["loaded"]) for hour in found["hours"]] == [("2026-11-29T10", 5), ("2026-11-29T11", 10)]
    assert "manifest.json cannot be read" in loading("status", *span, code=Exit.FAILED)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["load", "--hour", "soon"], "'soon' is not an hour"),
        (["load", "--hour", "2026-11-29T09:30"], "is not a whole hour"),
    ],
)
def test_load_prints_one_line_when_the_hour_is_invalid(loading: Loading, arguments: list[str], message: str) -> None:
    text = loading(*arguments, code=Exit.FAILED)
    assert message in text and "Traceback" not in text


def test_commands_say_that_it_is_the_catalogue_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["catalog", "check", "--catalog", str(tmp_path / "none.toml")])
    assert done.exit_code == Exit.FAILED
    assert done.output.startswith(
        f"the catalogue {tmp_path}/none.toml cannot be read: No such file or directory; --catalog"
    )


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["query", "--warehouse", "x.duckdb", "SELECT 1"], "duckdb"),
        (["query", "--warehouse", "postgresql://nobody@127.0.0.1:1/x", "SELECT 1"], "psycopg"),
        (["catalog", "serve", "--database", "x.sqlite"], "uvicorn"),
        (["catalog", "serve", "--database", "x.sqlite"], "fastapi"),
    ],
)
def test_commands_name_the_extra_when_a_package_is_not_installed(
    arguments: list[str], missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, and no traceback."""
    monkeypatch.chdir(tmp_path)
    for name in [
        name for name in sys.modules if name.startswith(("vortex_loader.warehouse.", "vortex_loader.service"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Without(missing), *sys.meta_path])
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == Exit.FAILED
    assert (
        done.output
        == f"this needs {missing}: pip install 'vortex-microbatcher[loader]', or '.[loader]' in a checkout\n"
    )


class _Without(importlib.abc.MetaPathFinder):
    """As where a package is not installed."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Nothing, or the error."""
        if fullname == self.package:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
