"""Loading one partition: rows, columns, misfits and names. Every test runs on every warehouse."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from simulation import vtime
from tests.loader.stores import hour, page, publish, write
from tests.published_store import CUSTOMERS, published
from vortex.core.compression import Compression
from vortex.core.layout import Layout
from vortex_loader.catalog import Catalog, Document
from vortex_loader.model import Loaded, LoaderError
from vortex_loader.store import Store, open_store
from vortex_loader.warehouse.base import Warehouse
from vortex_loader.warehouse.load import load

PAGES = [page(n) for n in range(10)]


def load_hour(warehouse: Warehouse, store: Store, n: int = 0, force: bool = False, **rules: Any) -> dict[str, Loaded]:
    """Load everything of the hour; the results by customer and type."""
    catalog = Catalog(Document.model_validate({"customers": "all", **rules}))
    return {
        f"{part.customer}/{part.event_type}": load(
            warehouse, store, part, catalog.target(part.customer, part.event_type), force=force, run_id="test"
        )
        for part in store.hour(hour(n)).partitions
    }


def events(rows: list[tuple[Any, ...]]) -> list[Any]:
    """The events in rows of `_event`."""
    return [json.loads(row[0]) if isinstance(row[0], str) else row[0] for row in rows]


def test_load_makes_a_table_with_a_column_for_each_key(tmp_path: Path, warehouse: Warehouse) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): PAGES})
    done = load_hour(warehouse, open_store(str(tmp_path)))["acme/page"]
    assert (done.rows, done.changed, done.misfits, done.schema, done.table) == (10, True, {}, "acme", "page")
    assert sorted(warehouse.columns("acme", "page")) == [
        "_customer",
        "_event",
        "_hour",
        "context",
        "message_id",
        "properties_currency",
        "properties_price",
        "timestamp",
        "user_id",
    ]
    rows = warehouse.run(
        'SELECT message_id, user_id, properties_price, EXTRACT(epoch FROM "timestamp")::float8, '
        "EXTRACT(epoch FROM _hour)::bigint, _customer FROM acme.page ORDER BY properties_price"
    )
    start = hour(0).timestamp()
    assert rows == [(f"m-{n}", f"u-{n % 7}", n / 4, start + 1.5, start, "acme") for n in range(10)]
    assert events(warehouse.run("SELECT _event FROM acme.page ORDER BY properties_price")) == PAGES


def test_load_replaces_an_hour_that_was_loaded_before(tmp_path: Path, warehouse: Warehouse) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): PAGES})
    store = open_store(str(tmp_path))
    load_hour(warehouse, store)
    assert load_hour(warehouse, store)["acme/page"].changed is False
    assert load_hour(warehouse, store, force=True)["acme/page"].changed is True
    assert warehouse.run("SELECT count(*), count(DISTINCT message_id) FROM acme.page") == [(10, 10)]
    assert warehouse.run("SELECT event_type, row_count, objects, loader FROM acme._loads") == [("page", 10, 2, "test")]


def test_column_keeps_its_type_when_a_key_changes_from_number_to_text_to_object(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    prices: list[list[Any]] = [[1, 2.5, None], ["9.99", 3], [{"amount": 4}, [5], True, 6]]
    store = open_store(str(tmp_path))
    misfits = []
    for n, some in enumerate(prices):
        rows = [{"messageId": f"{n}-{at}", "properties": {"price": price}} for at, price in enumerate(some)]
        publish(tmp_path, hour(n), {("acme", "page"): rows})
        misfits.append(load_hour(warehouse, store, n)["acme/page"].misfits)
    assert misfits == [{}, {"properties_price": 1}, {"properties_price": 3}]
    assert warehouse.run("SELECT properties_price FROM acme.page WHERE properties_price IS NOT NULL ORDER BY 1") == [
        (1.0,),
        (2.5,),
        (3.0,),
        (6.0,),
    ]
    kept = events(warehouse.run("SELECT _event FROM acme.page ORDER BY message_id"))
    assert [event["properties"]["price"] for event in kept] == [price for some in prices for price in some]
    assert [
        tuple(json.loads(row[0]))
        for row in warehouse.run(f"SELECT CAST(misfits AS {warehouse.types['text']}) FROM acme._loads ORDER BY hour")
    ] == [(), ("properties_price",), ("properties_price",)]


def test_text_column_accepts_numbers_and_counts_objects_as_misfits(tmp_path: Path, warehouse: Warehouse) -> None:
    rows = [{"id": "a", "k": "x"}, {"id": "b", "k": "y"}, {"id": "c", "k": 7}, {"id": "d", "k": {"z": 1}}]
    publish(tmp_path, hour(0), {("acme", "page"): rows})
    done = load_hour(warehouse, open_store(str(tmp_path)))["acme/page"]
    assert done.misfits == {"k": 1}
    assert warehouse.run("SELECT k FROM acme.page ORDER BY id") == [("x",), ("y",), ("7",), (None,)]


def test_load_gives_similar_names_separate_schemas_and_tables_and_columns(tmp_path: Path, warehouse: Warehouse) -> None:
    rows = [{"messageId": "m", "userId": "camel", "userid": "plain", "user_id": "snake", "USER ID": "loud"}]
    publish(
        tmp_path,
        hour(0),
        {
            ("wayne/retail", "Product Viewed"): rows,
            ("wayne/retail", "product_viewed"): rows * 2,
            ("wayne_retail", "Product Viewed"): rows * 3,
            ("注文", "注文完了"): rows,
        },
    )
    store = open_store(str(tmp_path))
    done = load_hour(warehouse, store)
    places = [(one.schema, one.table, one.rows) for one in done.values()]
    assert places[:3] == [
        ("wayne_retail", "product_viewed", 1),
        ("wayne_retail", "product_viewed_2", 2),
        ("wayne_retail_2", "product_viewed", 3),
    ]
    names = ["user_id", "user_id_2", "user_id_3", "userid"]
    (row,) = warehouse.run(f"SELECT {', '.join(names)} FROM wayne_retail.product_viewed")
    assert sorted(row) == ["camel", "loud", "plain", "snake"]
    publish(tmp_path, hour(1), {("wayne_retail", "Product Viewed"): rows, ("wayne/retail", "product_viewed"): rows})
    later = load_hour(warehouse, store, 1)
    assert [(one.schema, one.table) for one in later.values()] == [
        ("wayne_retail_2", "product_viewed"),
        ("wayne_retail", "product_viewed_2"),
    ]
    assert warehouse.run(f"SELECT {', '.join(names)} FROM wayne_retail_2.product_viewed LIMIT 1")[0] == row


def test_load_uses_no_reserved_name_of_the_warehouse(tmp_path: Path, warehouse: Warehouse) -> None:
    """Schemas and columns that every database or table has, whatever the keys of an event are called."""
    row = {"ctid": 1, "xmin": 2, "rowid": 3, "_event": 4, "_hour": 5, "select": 6, "": 7, '"; DROP TABLE x; --': 8}
    names = [("public", "_loads"), ("main", "_names"), ("information_schema", "select"), ("pg_catalog", "x")]
    publish(tmp_path, hour(0), {name: [row] for name in [*names, ("vortex", "x")]})
    done = load_hour(warehouse, open_store(str(tmp_path)))
    assert [one.rows for one in done.values()] == [1] * 5
    assert not {one.schema for one in done.values()} & {"public", "main", "information_schema", "pg_catalog", "vortex"}
    assert {one.table for one in done.values()} == {"loads", "names", "select", "x"}
    for one in done.values():
        assert events(warehouse.run(f'SELECT _event FROM "{one.schema}"."{one.table}"')) == [row]


def test_load_repairs_and_counts_values_that_a_warehouse_cannot_hold(tmp_path: Path, warehouse: Warehouse) -> None:
    lines = [
        rb'{"messageId":"1","note":"nul \u0000 inside","path":"C:\\u0000"}',
        rb'{"messageId":"2","note":"half \ud83d a pair","smile":"\ud83d\ude00"}',
        b'{"messageId":"3","note":"' + b"9" * 10 + b'","n":1e999999,"m":' + b"7" * 5000 + b"}",
        b'{"messageId":"4",\t"note" : "tab and\\ttab",\r"n":-1e400}',
        b'{"messageId":"5","n":1e-400,"m":12345678901234567890123}',
        b'{"messageId":"6","n":5,"m":6}',
        b'{"messageId":"7","n":0,"m":0.0}',
    ]
    publish(tmp_path, hour(0), {("acme", "odd"): lines})
    done = load_hour(warehouse, open_store(str(tmp_path)))["acme/odd"]
    assert done.rows == 7
    assert 1 <= done.mended <= 3
    got = dict(warehouse.run("SELECT message_id, note FROM acme.odd"))
    assert got["1"] in ("nul \ufffd inside", "nul \0 inside")
    assert got["2"] == "half \ufffd a pair"
    assert got["4"] == "tab and\ttab"
    assert warehouse.run("SELECT smile, path FROM acme.odd WHERE smile IS NOT NULL OR path IS NOT NULL ORDER BY 1") == [
        ("\U0001f600", None),
        (None, "C:\\u0000"),
    ]
    numbers = dict(warehouse.run("SELECT message_id, n FROM acme.odd"))
    assert (numbers["6"], numbers["7"]) == (5.0, 0.0)
    assert numbers["3"] is None and numbers["4"] is None
    assert done.misfits["m"] >= 2


def test_load_counts_impossible_times_as_misfits(tmp_path: Path, warehouse: Warehouse) -> None:
    good = ["2024-02-29T23:59:59Z", "2026-11-29 10:00", "2026-11-29T10:00:00.123456+0530", "2000-02-29T00:00:00-08:00"]
    bad = [
        "2026-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00Z",
        "2026-13-01T00:00Z",
        "soon",
        "",
        1764403200,
        "infinity",
        "0000-01-01T00:00:00Z",
        "2026-11-29T25:00:00Z",
        "2026-11-29T10:00:00+99:00",
        {"at": 1},
    ]
    publish(tmp_path, hour(0), {("acme", "page"): [{"timestamp": text} for text in good + bad]})
    done = load_hour(warehouse, open_store(str(tmp_path)))["acme/page"]
    assert done.misfits == {"timestamp": len(bad)}
    rows = warehouse.run('SELECT EXTRACT(epoch FROM "timestamp")::bigint FROM acme.page WHERE "timestamp" IS NOT NULL')
    assert sorted(row[0] for row in rows) == [951811200, 1709251199, 1795926600, 1795946400]


def test_load_makes_at_most_max_columns_columns_of_ten_thousand_keys(tmp_path: Path, warehouse: Warehouse) -> None:
    rows = [
        {"messageId": str(n), "often": n, "properties": {f"key {n * 10 + k}": k for k in range(10)}}
        for n in range(1000)
    ]
    publish(tmp_path, hour(0), {("acme", "page"): rows})
    done = load_hour(warehouse, open_store(str(tmp_path)), default={"max_columns": 40})["acme/page"]
    assert len(warehouse.columns("acme", "page")) == 3 + 40
    assert {"message_id", "often", "properties_key_0"} <= set(warehouse.columns("acme", "page"))
    assert (done.rows, done.unmapped, done.misfits) == (1000, 10_002 - 40, {})
    kept = events(warehouse.run("SELECT _event FROM acme.page"))
    assert sorted(kept, key=lambda event: event["often"]) == rows


def test_load_accepts_long_names_and_keys(tmp_path: Path, warehouse: Warehouse) -> None:
    long = "very " * 2000
    row = {"messageId": "1", "k" * 5000: 1, "k" * 300: 2}
    publish(
        tmp_path, hour(0), {(f"{long}a", f"{long}x"): [row], (f"{long}b", f"{long}y"): [row], ("a\0b", "c\0d"): [row]}
    )
    store = open_store(str(tmp_path))
    done = load_hour(warehouse, store)
    assert [one.rows for one in done.values()] == [1, 1, 1]
    assert len({one.schema for one in done.values()}) == 3
    assert not any(one.changed for one in load_hour(warehouse, store).values())


def test_load_applies_the_rules_for_types_and_dropped_and_hashed_keys(tmp_path: Path, warehouse: Warehouse) -> None:
    rows = [page(1, order=12, context={"ip": "203.0.113.7", "page": {"path": "/p"}}), page(2, order="x", email=None)]
    publish(tmp_path, hour(0), {("acme", "Order Completed"): rows, ("acme", "page"): rows})
    rules = {
        "schema": "shop",
        "flatten": ["properties", "context", "context.page"],
        "types": {"order": "integer", "properties.price": "text"},
        "drop": ["context.ip", "properties.none"],
        "hash": ["userId", "email"],
        "event": {"Order Completed": {"table": "orders"}},
    }
    done = load_hour(warehouse, open_store(str(tmp_path)), customer={"acme": rules})
    assert [(one.schema, one.table) for one in done.values()] == [("shop", "orders"), ("shop", "page")]
    assert done["acme/page"].misfits == {"order": 1}
    columns = set(warehouse.columns("shop", "orders"))
    assert "context_page_path" in columns and "context_ip" not in columns
    assert warehouse.run('SELECT "order", properties_price FROM shop.orders ORDER BY message_id') == [
        (12, "0.25"),
        (None, "0.5"),
    ]
    import hashlib

    digests = [hashlib.sha256(text.encode()).hexdigest() for text in ("u-1", "u-2")]
    assert warehouse.run("SELECT user_id FROM shop.orders ORDER BY message_id") == [(one,) for one in digests]
    kept = events(warehouse.run("SELECT _event FROM shop.orders ORDER BY message_id"))
    assert [event["userId"] for event in kept] == digests
    assert kept[0]["context"] == {"page": {"path": "/p"}}
    assert kept[1]["context"] == {}
    assert "none" not in kept[0]["properties"]


def test_load_loads_nothing_when_rows_are_missing(tmp_path: Path, warehouse: Warehouse) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): PAGES})
    path = next((tmp_path / "_hours").rglob("manifest.json"))
    path.write_text(path.read_text().replace('"rows": 10', '"rows": 11'))
    with pytest.raises(LoaderError, match="acme / page / 2026-11-29T09: 10 rows in its files, 11 in the manifest"):
        load_hour(warehouse, open_store(str(tmp_path)))
    assert warehouse.run("SELECT count(*) FROM acme._loads") == [(0,)]
    assert warehouse.columns("acme", "page") == []


def test_load_creates_a_dropped_table_again(tmp_path: Path, warehouse: Warehouse) -> None:
    store = open_store(str(tmp_path))
    publish(tmp_path, hour(0), {("acme", "page"): PAGES})
    load_hour(warehouse, store)
    warehouse.run("DROP TABLE acme.page")
    load_hour(warehouse, store, force=True)
    assert warehouse.run("SELECT count(message_id), count(properties_price) FROM acme.page") == [(10, 10)]


def test_load_takes_all_folders_of_a_partition_when_the_layout_changed_within_the_hour(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    manifest = tmp_path / "_hours/date=2026-11-29/hour=09/manifest.json"
    rows = []
    for name, some in (("events", PAGES[:4]), ("customer", PAGES[4:])):
        path = f"{name}={{customer}}/event_type={{event_type}}/date={{date}}/hour={{hour}}"
        layout = Layout(path, "_rejected/date={date}/hour={hour}")
        publish(tmp_path, hour(0), {("acme", "page"): some}, layout=layout)
        rows += json.loads(manifest.read_bytes())["partitions"]
    manifest.write_text(json.dumps({**json.loads(manifest.read_bytes()), "partitions": rows}))
    store = open_store(str(tmp_path))
    for changed in (True, False):
        done = load_hour(warehouse, store)["acme/page"]
        assert (done.rows, done.changed) == (10, changed)
    assert warehouse.run("SELECT count(*), count(DISTINCT message_id) FROM acme.page") == [(10, 10)]


def test_load_drops_and_hashes_every_value_of_a_key_that_an_event_has_twice(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    """No copy of a secret may pass because another one was looked at."""
    rows = [
        b'{"n":1,"context":{"ip":"s3cr3t"},"context":5}',
        b'{"n":2,"context":5,"context":{"ip":"s3cr3t"}}',
        b'{"n":3,"context":{"x":1},"context":{"ip":"s3cr3t","ip":"s3cr3t"}}',
        b'{"n":4,"email":null,"email":"s3cr3t"}',
        b'{"n":5,"context":{"page":{"x":1},"page":{"url":"s3cr3t"}}}',
    ]
    publish(tmp_path, hour(0), {("acme", "page"): rows})
    rules = {"drop": ["context.ip", "context.page.url"], "hash": ["email"]}
    assert load_hour(warehouse, open_store(str(tmp_path)), default=rules)["acme/page"].rows == 5
    kept = warehouse.run("SELECT CAST(_event AS text) FROM acme.page ORDER BY n")
    assert "s3cr3t" not in str(kept)
    assert [json.loads(row[0])["n"] for row in kept] == [1, 2, 3, 4, 5]


def test_load_masks_a_whole_array_when_a_dropped_or_hashed_path_leads_into_it(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    rows = [
        {"n": 1, "items": ["a", "b"], "context": [{"ip": "x"}], "things": ["c"], "deep": {"list": [[1]], "k": None}},
        {"n": 2, "items": {"0": "a", "1": None}, "context": {"ip": "x", "l": [1]}, "things": {"0": None}, "deep": 5},
    ]
    publish(tmp_path, hour(0), {("acme", "page"): rows})
    rules = {"drop": ["items.0", "context.ip", "deep.list.x.y"], "hash": ["things.0", "context.user"]}
    load_hour(warehouse, open_store(str(tmp_path)), default=rules)
    kept = events(warehouse.run("SELECT _event FROM acme.page ORDER BY n"))
    things = kept[0].pop("things")
    assert len(things) == 64 and int(things, 16)
    assert kept[0] == {"n": 1, "deep": {"k": None}}
    assert kept[1] == {"n": 2, "items": {"1": None}, "context": {"l": [1]}, "things": {"0": None}, "deep": 5}


def test_load_masks_many_keys_with_one_statement_of_their_length(tmp_path: Path, warehouse: Warehouse) -> None:
    keys = [f"k{n}" for n in range(40)]
    publish(tmp_path, hour(0), {("acme", "page"): [{"n": 1, **dict.fromkeys(keys, "s3cr3t")}]})
    load_hour(warehouse, open_store(str(tmp_path)), default={"drop": keys[:20], "hash": keys[20:]})
    ((kept,),) = warehouse.run("SELECT CAST(_event AS text) FROM acme.page")
    assert "s3cr3t" not in kept and set(json.loads(kept)) == {"n", *keys[20:]}


@pytest.mark.parametrize("compression", Compression)
def test_load_takes_from_a_bundle_only_the_lines_of_the_partition(
    tmp_path: Path, warehouse: Warehouse, compression: Compression
) -> None:
    """And from objects of its own the others; loading again changes nothing."""
    partitions = {("acme", "page"): PAGES, ("acme", "track"): PAGES[:4], ("globex", "page"): PAGES[5:]}
    publish(tmp_path, hour(0), partitions, compression=compression, bundled=True)
    store = open_store(str(tmp_path))
    assert {name: (done.rows, done.changed) for name, done in load_hour(warehouse, store).items()} == {
        "acme/page": (10, True),
        "acme/track": (4, True),
        "globex/page": (5, True),
    }
    assert events(warehouse.run("SELECT _event FROM acme.page ORDER BY properties_price")) == PAGES
    assert events(warehouse.run("SELECT _event FROM acme.track ORDER BY properties_price")) == PAGES[:4]
    assert events(warehouse.run("SELECT _event FROM globex.page ORDER BY properties_price")) == PAGES[5:]
    assert not any(done.changed for done in load_hour(warehouse, store).values())


def test_load_reads_the_bundles_that_vortex_writes(tmp_path: Path, warehouse: Warehouse) -> None:
    """Every event of a customer once, in the hour that the store says."""
    world = vtime.run(published(3700, bundle=1 << 20))
    for key, body in world.store.objects.items():
        write(tmp_path / key, body)
    store = open_store(str(tmp_path))
    hours = [
        datetime.fromisoformat(json.loads(body)["hour"])
        for key, body in world.store.objects.items()
        if key.startswith("_hours/")
    ]
    catalog = Catalog(Document.model_validate({"customers": "all"}))
    parts = [part for at in hours for part in store.hour(at).partitions]
    assert sum(part.rows for part in parts) == 300
    for part in parts:
        if part.customer in {"customer-0", "customer-1", "customer-39"}:
            load(warehouse, store, part, catalog.target(part.customer, part.event_type), run_id="test")
    for customer in (0, 1, 39):
        rows = warehouse.run(f"SELECT id FROM customer_{customer}.view")
        assert sorted(rows) == sorted((f"id{number}",) for number in range(customer, 300, CUSTOMERS))
