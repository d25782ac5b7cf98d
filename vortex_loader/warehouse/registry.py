"""The loader's own tables: names, forever (`_names`), and what was loaded (`_loads`).

Each customer's schema has both. The loader's own schema, `vortex`, has the names of the schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from vortex_loader.model import Kind, Loaded, LoaderError, Partition, Path
from vortex_loader.names import column_base, free, identifier, key, pointer, reserved_schema, schema_base, unused
from vortex_loader.warehouse.base import Warehouse, qualified, quote
from vortex_loader.wording import quoted

HOME = "vortex"
_ROWS = 100
"""Of one INSERT: each has a key of up to a kilobyte, and Redshift takes statements of 16 MB."""


@dataclass(frozen=True, slots=True)
class Audit:
    """A row of `_loads`."""

    customer: str
    event_type: str
    hour: datetime
    table: str
    rows: int
    misfits: dict[str, int]
    manifest: str


@dataclass(frozen=True, slots=True)
class Known:
    """A column that a table keeps forever."""

    name: str
    kind: Kind


def schema_of(warehouse: Warehouse, customer: str, asked: str | None) -> str:
    """The customer's schema, with its `_names` and `_loads`; made where it is missing. A transaction of its own."""
    if asked:
        if reserved_schema(asked):
            raise LoaderError(
                f"customer {quoted(customer)}: the schema {quoted(asked)} is the warehouse's or the loader's own"
            )
        if (customer, asked) not in warehouse.owned:
            _make(warehouse, asked, customer)
            _is_nobodys(warehouse, customer, asked)
            warehouse.owned.add((customer, asked))
        return asked
    _make(warehouse, HOME)
    with warehouse.transaction():
        warehouse.lock(HOME, "its names")
        names = _names(warehouse, HOME, "schema", "")
        found = names.get(key(customer))
        if found is None:
            taken = set(names.values())
            # One that is there already is another customer's, by the catalogue, or somebody else's altogether.
            found = free(schema_base(customer), lambda name: name in taken or warehouse.has_schema(name))
            _name(warehouse, HOME, ("schema", "", key(customer), found, ""))
    _make(warehouse, found)
    return found


def _is_nobodys(warehouse: Warehouse, customer: str, asked: str) -> None:
    """Raises LoaderError where the schema was made up for another customer."""
    owners = {name: raw for raw, name in known_schemas(warehouse).items()}
    if owners.get(asked, key(customer)) != key(customer):
        raise LoaderError(
            f"customer {quoted(customer)}: the schema {asked} is that of customer {quoted(owners[asked])}; name "
            "another one"
        )


def known_schemas(warehouse: Warehouse) -> dict[str, str]:
    """The schemas that the loader made up, by the keys of their customers."""
    return _names(warehouse, HOME, "schema", "") if warehouse.columns(HOME, "_names") else {}


def table_of(warehouse: Warehouse, schema: str, event_type: str, asked: str | None) -> str:
    """The name of the event type's table. Raises LoaderError where people ask for another one than it has."""
    names = _names(warehouse, schema, "table", "")
    found = names.get(key(event_type))
    if found is None:
        warehouse.lock(schema, "its names")
        names = _names(warehouse, schema, "table", "")
        taken = set(names.values())
        if asked in taken:
            raise LoaderError(f"{quoted(event_type)}: the table {schema}.{asked} is another event's; name another one")
        found = asked or free(identifier(event_type), lambda name: name in taken)
        _name(warehouse, schema, ("table", "", key(event_type), found, ""))
    elif asked and asked != found:
        raise LoaderError(
            f"{quoted(event_type)} is in {schema}.{found}; the catalogue says {asked}: rename the table and its row in "
            f"{schema}._names first"
        )
    return found


def columns_of(warehouse: Warehouse, schema: str, event_type: str) -> dict[str, Known]:
    """The columns of the event type's table, by their pointers."""
    rows = warehouse.run(
        f"SELECT raw, name, json_type FROM {qualified(schema, '_names')} "
        f"WHERE kind = 'column' AND parent = {warehouse.literal(key(event_type))}"
    )
    return {raw: Known(name, kind) for raw, name, kind in rows}


def name_columns(
    warehouse: Warehouse, schema: str, event_type: str, new: Sequence[tuple[Path, Kind]], taken: Iterable[str]
) -> dict[str, Known]:
    """New columns by their pointers; their names are none of those that are `taken`."""
    names = set(taken)
    found: dict[str, Known] = {}
    for path, kind in new:
        name = free(column_base(path), unused(names))
        names.add(name)
        found[pointer(path)] = Known(name, kind)
    rows = [("column", key(event_type), at, one.name, one.kind) for at, one in found.items()]
    for first in range(0, len(rows), _ROWS):
        _name(warehouse, schema, *rows[first : first + _ROWS])
    return found


def audit_of(warehouse: Warehouse, schema: str, partition: Partition) -> Audit | None:
    """What was loaded of this partition before."""
    found = audits(warehouse, schema, _where(warehouse, partition))
    return found[0] if found else None


def audits(warehouse: Warehouse, schema: str, where: str) -> list[Audit]:
    """Rows of `_loads`."""
    rows = warehouse.run(
        f"SELECT customer, event_type, CAST(EXTRACT(epoch FROM hour) AS bigint), table_name, row_count, "
        f"{warehouse.json_text('misfits')}, manifest FROM {qualified(schema, '_loads')} WHERE {where}"
    )
    return [
        Audit(customer, kind, _moment(hour), table, count, json.loads(misfits or "{}"), manifest)
        for customer, kind, hour, table, count, misfits, manifest in rows
    ]


def write_audit(warehouse: Warehouse, loaded: Loaded, run_id: str, replaces: bool) -> None:
    """The partition's row in `_loads`, in the place of the one before."""
    table, part = qualified(loaded.schema, "_loads"), loaded.partition
    if replaces:
        warehouse.run(f"DELETE FROM {table} WHERE {_where(warehouse, part)}")
    values = [
        *(warehouse.literal(text) for text in (key(part.customer), key(part.event_type))),
        warehouse.at(part.hour),
        warehouse.literal(loaded.table),
        str(loaded.rows),
        warehouse.json(json.dumps(loaded.misfits)),
        str(loaded.unmapped),
        str(loaded.mended),
        str(part.objects),
        warehouse.literal(key(part.manifest)),
        warehouse.now,
        f"{loaded.seconds:.3f}",
        warehouse.literal(key(run_id)),
    ]
    warehouse.run(f"INSERT INTO {table} VALUES ({', '.join(values)})")


def _where(warehouse: Warehouse, part: Partition) -> str:
    customer, kind = warehouse.literal(key(part.customer)), warehouse.literal(key(part.event_type))
    return f"customer = {customer} AND event_type = {kind} AND hour = {warehouse.at(part.hour)}"


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _make(warehouse: Warehouse, schema: str, customer: str | None = None) -> None:
    """The schema and the loader's tables in it, where they are missing; looked for once for each connection.

    Raises LoaderError where the `customer` who asks for it is another than the one whom it was made up for meanwhile.
    """
    if schema in warehouse.made or warehouse.columns(schema, "_loads"):
        warehouse.made.add(schema)
        return
    with warehouse.transaction():
        warehouse.lock(schema, "itself")
        if warehouse.columns(schema, "_loads"):
            return
        if customer is not None:
            warehouse.lock(HOME, "its names")
            _is_nobodys(warehouse, customer, schema)
        if not warehouse.has_schema(schema):
            warehouse.run(f"CREATE SCHEMA {quote(schema)}")
        text, moment, json_ = warehouse.types["text"], warehouse.moment, warehouse.types["json"]
        warehouse.run(
            f"CREATE TABLE {qualified(schema, '_names')} (kind {text} NOT NULL, parent {text} NOT NULL, "
            f"raw {text} NOT NULL, name {text} NOT NULL, json_type {text} NOT NULL{warehouse.unique_names})"
        )
        warehouse.run(
            f"CREATE TABLE {qualified(schema, '_loads')} (customer {text} NOT NULL, event_type {text} NOT NULL, "
            f"hour {moment} NOT NULL, table_name {text} NOT NULL, row_count bigint NOT NULL, misfits {json_}, "
            f"unmapped_keys bigint, mended bigint, objects int, manifest {text}, loaded_at {moment}, "
            f"seconds double precision, loader {text}{warehouse.unique_loads})"
        )


def _names(warehouse: Warehouse, schema: str, kind: str, parent: str) -> dict[str, str]:
    rows = warehouse.run(
        f"SELECT raw, name FROM {qualified(schema, '_names')} WHERE kind = '{kind}' "
        f"AND parent = {warehouse.literal(parent)}"
    )
    return dict(rows)


def _name(warehouse: Warehouse, schema: str, *rows: tuple[str, str, str, str, str]) -> None:
    values = ", ".join(f"({', '.join(warehouse.literal(text) for text in row)})" for row in rows)
    warehouse.run(f"INSERT INTO {qualified(schema, '_names')} VALUES {values}")
