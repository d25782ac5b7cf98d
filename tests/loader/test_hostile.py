"""What a stream, a catalogue or an address may hold: no warehouse, log or other customer may suffer from it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from botocore.exceptions import IncompleteReadError

from tests.loader.stores import hour, page, publish
from tests.loader.test_load import events, load_hour
from vortex_loader.catalog import read_catalog
from vortex_loader.model import LoaderError, Passing, parse_hour
from vortex_loader.store import open_store
from vortex_loader.warehouse import connect
from vortex_loader.warehouse.base import Warehouse, qualified

PAGES = [page(n) for n in range(10)]


def test_load_accepts_a_partition_without_rows_and_an_hour_without_partitions(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): PAGES[:1]})
    manifest = tmp_path / "_hours/date=2026-11-29/hour=09/manifest.json"
    document = json.loads(manifest.read_bytes())
    document["partitions"][0] |= {"rows": 0, "objects": 0}
    manifest.write_text(json.dumps(document))
    (tmp_path / document["partitions"][0]["manifest"]).write_text('{"entries": []}')
    publish(tmp_path, hour(1), {})
    store = open_store(str(tmp_path))
    for changed in (True, False):
        done = load_hour(warehouse, store)["acme/page"]
        assert (done.rows, done.changed) == (0, changed)
    assert load_hour(warehouse, store, 1) == {}
    assert warehouse.run("SELECT row_count, objects FROM acme._loads") == [(0, 0)]


def test_load_accepts_wide_events_where_the_catalogue_allows_more_columns_than_a_row_can_hold(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    """Postgres takes 8 KB a row outside TOAST: about 320 short texts."""
    wide = [{f"key{n:04d}": ["x" * 24, [n] * 4, n / 7][n % 3] for n in range(1200)} for _ in range(3)]
    texts = [{f"key{n:04d}": "é" * 11 + "x" for n in range(1200)}]
    publish(tmp_path, hour(0), {("acme", "page"): wide, ("acme", "text"): texts})
    done = load_hour(warehouse, open_store(str(tmp_path)), default={"max_columns": 1500})
    assert [one.rows for one in done.values()] == [3, 1]
    assert len(warehouse.columns("acme", "text")) == 3 + min(1200, warehouse.most_columns)
    assert done["acme/text"].unmapped == max(0, 1200 - warehouse.most_columns)
    assert events(warehouse.run("SELECT _event FROM acme.text")) == texts


def test_load_accepts_names_and_keys_as_long_as_an_index_can_bear(tmp_path: Path, warehouse: Warehouse) -> None:
    """A row of Postgres's index has 2,704 bytes, and such names do not compress."""
    rng = Random(1)
    name = "".join(chr(rng.randrange(0x20000, 0x2A000)) for _ in range(256))
    row = {"".join(rng.choice("~/") for _ in range(n)): n for n in (200, 500, 512, 900, 1024)}
    publish(tmp_path, hour(0), {(name, name): [{"messageId": "1", "properties": row, **row}]})
    (done,) = load_hour(warehouse, open_store(str(tmp_path))).values()
    assert (done.rows, done.misfits) == (1, {})
    assert events(warehouse.run(f"SELECT _event FROM {qualified(done.schema, done.table)}"))[0]["properties"] == row


def test_load_accepts_a_line_of_twelve_megabytes(tmp_path: Path, warehouse: Warehouse) -> None:
    rows = [{"messageId": "1", "text": "x" * (12 << 20)}, page(2)]
    publish(tmp_path, hour(0), {("acme", "page"): rows})
    assert load_hour(warehouse, open_store(str(tmp_path)))["acme/page"].rows == 2
    assert warehouse.run("SELECT max(length(text)) FROM acme.page") == [(12 << 20,)]


def test_load_accepts_keys_with_characters_that_no_warehouse_holds(tmp_path: Path, warehouse: Warehouse) -> None:
    rows = [
        b'{"messageId":"1","a\\u0000b":1,"\\ud800":2,"c":"\\u0000"}',
        b'{"messageId":"2","a\\ufffdb":3,"\\ufffd":"x","c":null}',
        '{"messageId":"3","é":1,"e\u0301":"x","É":true,"\u202e":1,"":2," ":3}'.encode(),
    ]
    publish(tmp_path, hour(0), {("acme", "page"): rows})
    done = load_hour(warehouse, open_store(str(tmp_path)))["acme/page"]
    assert done.rows == 3
    columns = warehouse.columns("acme", "page")
    assert len(columns) == len(set(columns))


def test_customers_share_no_schema_whichever_is_loaded_first(tmp_path: Path, warehouse: Warehouse) -> None:
    """One asks for the name that would be made up for the other."""
    publish(tmp_path, hour(0), {("wayne", "page"): PAGES[:3]})
    publish(tmp_path, hour(1), {("wayne/retail", "page"): PAGES[:4]})
    store = open_store(str(tmp_path))
    rules: Any = {"customer": {"wayne/retail": {"schema": "wayne"}}}
    asked = load_hour(warehouse, store, 1, **rules)["wayne/retail/page"]
    made_up = load_hour(warehouse, store, 0, **rules)["wayne/page"]
    assert (asked.schema, made_up.schema) == ("wayne", "wayne_2")
    publish(tmp_path, hour(2), {("stark", "page"): PAGES[:3], ("stark/x", "page"): PAGES[:2]})
    with pytest.raises(LoaderError, match=r"customer 'stark/x': the schema stark is that of customer 'stark'"):
        load_hour(warehouse, store, 2, customer={"stark/x": {"schema": "stark"}})
    assert warehouse.run("SELECT count(*) FROM stark.page") == [(3,)]


def test_schema_that_is_there_already_is_not_taken_for_a_customers(tmp_path: Path, warehouse: Warehouse) -> None:
    """It may be anybody's; a user who wants it names it in the catalogue."""
    warehouse.run("CREATE SCHEMA analytics")
    publish(tmp_path, hour(0), {("analytics", "page"): PAGES})
    store = open_store(str(tmp_path))
    assert load_hour(warehouse, store)["analytics/page"].schema == "analytics_2"
    rules: Any = {"customer": {"analytics": {"schema": "analytics"}}}
    assert load_hour(warehouse, store, **rules)["analytics/page"].schema == "analytics"


@pytest.mark.parametrize("table", ["_loads", "_names", "_page", "ctid"])
def test_catalogue_is_refused_where_a_table_is_the_loaders_own(table: str) -> None:
    """Its own begin with an underscore."""
    text = json.dumps({"customer": {"acme": {"event": {"page": {"table": table}}}}})
    if table == "ctid":
        read_catalog(text.encode(), "c")
        return
    with pytest.raises(LoaderError, match=r"c: customer.acme.event.page.table: .*pattern"):
        read_catalog(text.encode(), "c")


def test_event_that_comes_back_under_another_table_is_refused_and_loads_again_under_its_own(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    for n in range(2):
        publish(tmp_path, hour(n), {("acme", "page"): PAGES})
    store = open_store(str(tmp_path))
    load_hour(warehouse, store, 0)
    with pytest.raises(LoaderError, match=r"'page' is in acme.page; the catalogue says views"):
        load_hour(warehouse, store, 1, customer={"acme": {"event": {"page": {"table": "views"}}}})
    assert warehouse.columns("acme", "views") == []
    load_hour(warehouse, store, 1)
    assert warehouse.run("SELECT count(*) FROM acme.page") == [(20,)]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://loader:s%3cr3t%zz@127.0.0.1:1/db",
        "postgresql://loader:s3cr3t@127.0.0.1:port/db",
        "postgresql://loader:s3cr3t word@127.0.0.1:1/db?connect_timeout=1",
        "postgresql://loader:s3cr3t@127.0.0.1:1/db?what=s3cr3t",
        "postgresql://loader:s3cr3t@[::1/db",
        "redshift://loader:s3/cr3t@127.0.0.1:1/db",
        "redshift://loader:s3cr3t@127.0.0.1:port/db",
        "mysql://loader:s3cr3t@127.0.0.1/db",
        "postgres//loader:s3cr3t@127.0.0.1/db",
        "host=127.0.0.1 password=s3cr3t",
        "mysql://127.0.0.1/db?password=s3cr3t",
        "postgresql://loader:x@s3cr3t@127.0.0.1:1/db",
    ],
)
def test_address_that_is_wrong_is_told_without_its_password(address: str) -> None:
    with pytest.raises(LoaderError) as caught:
        connect(address)
    assert not any(part in str(caught.value) for part in ("cr3t", "s%3c", "s3"))


@pytest.mark.parametrize("hour_", ["0001-01-01T00+14:00", "9999-12-31T23-05:00"])
def test_hour_beyond_the_calendar_is_refused(hour_: str) -> None:
    with pytest.raises(LoaderError, match="is not an hour"):
        parse_hour(hour_)


def test_manifest_that_breaks_off_may_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise IncompleteReadError(actual_bytes=1, expected_bytes=2)

    store = open_store(str(tmp_path))
    monkeypatch.setattr(store.files, "open", lambda key: Broken())
    with pytest.raises(Passing, match=r"manifest\.json: "):
        store.hour(hour(0))
