"""Postgres, DuckDB and Redshift's SQL make the same of the same events: columns, values, misfits."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest

from tests.loader.redshift_on_postgres import Moved, redshift
from tests.loader.stores import hour, publish
from vortex_loader.catalog import Catalog, Document
from vortex_loader.store import open_store
from vortex_loader.warehouse import connect
from vortex_loader.warehouse.base import Warehouse, qualified, quote
from vortex_loader.warehouse.load import load

SCALARS: tuple[Any, ...] = (
    *("", "x", "O'Neill", 'a "quoted" \\ back', "é", "e\u0301", "注文", "1", "true", "null", " pad ", "line\nbreak"),
    *("2026-11-29T09:00:01.5Z", "2026-02-30T00:00:00Z", "2026-11-29 10:00:00+01:00", "\u2028", "a\\u0000b"),
    *("1000-01-01T00:00Z", "2026-11-29T09:00:00+0530", "2026-11-29T23:59:60Z", "2026-11-29T24:00:00Z", "2026-11-29"),
    *("9999-12-31T23:59:59.999999Z", " 2026-11-29T09:00:00Z", "2026-11-29T09:00:00Z\n", "NaN", "Infinity", "yes"),
    *(0, 1, -1, 2.5, 1e10, 2**53, 2**53 + 1, 2**63, 10**30, 9100000000000000001, 0.1, 1e-9, 123456.789, -0.0),
    *(1e-310, 5.0000000001, 1e-10, 2**53 - 1, -(2**53), 1e15 + 0.3, 1e300, 123456789012345678901234567890.5),
    *(True, False, None),
)
KEYS = (
    "a",
    "A",
    "user Id",
    "userId",
    "user_id",
    "it's",
    'quo"te',
    "back\\slash",
    "é",
    "e\u0301",
    "a.b",
    "a/b",
    "~",
    "",
)
RULES = {
    "customers": "all",
    "default": {
        "flatten": ["properties", "context.page"],
        "types": {"n": "integer", "t": "time", "b": "boolean", "s": "text", "j": "json"},
    },
}


def event(rng: Random, number: int) -> dict[str, Any]:
    """An event with anything anywhere."""
    made: dict[str, Any] = {"messageId": f"m-{number}"}
    for name in (*"ntbsj", *KEYS):
        if rng.random() < 0.6:
            made[name] = value(rng)
    made["properties"] = value(rng) if rng.random() < 0.3 else {name: value(rng) for name in rng.sample(KEYS, 5)}
    made["context"] = {"page": value(rng)} if rng.random() < 0.5 else value(rng)
    return made


def value(rng: Random) -> Any:
    """Of any type."""
    chance = rng.random()
    if chance < 0.8:
        return rng.choice(SCALARS)
    return [rng.choice(SCALARS), {}] if chance < 0.9 else {rng.choice(KEYS): rng.choice(SCALARS)}


def content(warehouse: Warehouse, schema: str, table: str) -> tuple[dict[str, str], list[list[Any]]]:
    """The columns with their kinds, and each row's values as text, times and JSON in one form."""
    named = f"SELECT name, json_type, raw FROM {qualified(schema, '_names')} WHERE kind = 'column' ORDER BY raw"
    rows = warehouse.run(named)
    kinds = {raw: f"{name} {kind}" for name, kind, raw in rows}
    shown = [quote(name) for name, _, _ in rows]
    shown = [
        f"EXTRACT(epoch FROM {name})::float8" if kind == "time" else f"CAST({name} AS text)" if kind == "json" else name
        for name, (_, kind, _) in zip(shown, rows, strict=True)
    ]
    found = warehouse.run(f"SELECT message_id, {', '.join(shown)} FROM {qualified(schema, table)}")
    kind_of = ["text", *(kind for _, kind, _ in rows)]
    return kinds, sorted([_shown(cell, kind) for cell, kind in zip(row, kind_of, strict=True)] for row in found)


def _shown(cell: Any, kind: str) -> Any:
    if cell is None:
        return "NULL"
    if kind == "json":
        return json.dumps(json.loads(cell, parse_float=_number, parse_int=_number), sort_keys=True)
    with contextlib.suppress(ValueError):  # texts of numbers: `1e-9` here is `0.000000001` there
        return repr(float(cell) + 0.0)
    return str(cell)


def _number(text: str) -> float:
    return float(text) + 0.0


@pytest.mark.parametrize("seed", range(4))
def test_warehouses_agree_on_columns_and_values_and_misfits(seed: int, tmp_path: Path, postgres_server: str) -> None:
    rng = Random(seed)
    for n in range(2):
        publish(tmp_path, hour(n), {("acme", "page"): [event(rng, 30 * n + number) for number in range(30)]})
    catalog = Catalog(Document.model_validate(RULES))
    answers = []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(psycopg.connect(postgres_server, autocommit=True))
        addresses = [f"{postgres_server.rpartition('/')[0]}/agree_{seed}_{n}" for n in range(2)]
        for address in addresses:
            server.execute(f"CREATE DATABASE {address.rpartition('/')[2]}".encode())
        moved = Moved(open_store(str(tmp_path)))
        for warehouse in (connect(addresses[0]), connect(str(tmp_path / "w.duckdb")), redshift(addresses[1], moved)):
            stack.callback(warehouse.close)
            misfits = []
            for n in range(2):
                (part,) = moved.hour(hour(n)).partitions
                done = load(warehouse, moved, part, catalog.target("acme", "page"))
                misfits.append((done.rows, done.misfits, done.unmapped))
            answers.append((misfits, *content(warehouse, done.schema, done.table)))
    for other in answers[1:]:
        assert other == answers[0]
