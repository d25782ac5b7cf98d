"""Loads one partition in one transaction: staging, names, new columns, the hour's rows, their counts, the audit row.

Loading twice changes nothing. A crash at any moment leaves the partition loaded or not, as the transaction does.
Loaders of the same table wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from vortex_loader.catalog import Target
from vortex_loader.model import JsonType, Kind, Loaded, LoaderError, Partition, Path
from vortex_loader.names import key, path_of, pointer
from vortex_loader.store import Store
from vortex_loader.warehouse.base import Column, Found, Warehouse, fits, picky, qualified
from vortex_loader.warehouse.registry import Known, audit_of, columns_of, name_columns, schema_of, table_of, write_audit
from vortex_loader.wording import counted

_FIRST: Mapping[JsonType, Kind] = {
    "string": "text",
    "number": "number",
    "boolean": "boolean",
    "object": "json",
    "array": "json",
}


def load(
    warehouse: Warehouse,
    store: Store,
    partition: Partition,
    target: Target,
    *,
    run_id: str = "",
    salt: str = "",
    force: bool = False,
) -> Loaded:
    """Loads the partition. Where it is there already nothing is done, unless `force`.

    Raises LoaderError where rows are missing or the warehouse refuses; Passing where another try may succeed.
    """
    begun = time.monotonic()
    schema = schema_of(warehouse, partition.customer, target.schema)
    with warehouse.transaction():
        warehouse.lock(schema, key(partition.event_type))
        before = audit_of(warehouse, schema, partition)
        if before and not force and (before.rows, before.manifest) == (partition.rows, key(partition.manifest)):
            return Loaded(partition, schema, before.table, before.rows, changed=False, misfits=before.misfits)
        name = table_of(warehouse, schema, partition.event_type, target.table)
        staged = warehouse.stage(store, partition)
        _agree(partition, "in its files", staged.rows)
        if target.drop or target.hash:
            warehouse.mask(target.drop, target.hash, salt)
        columns, unmapped = _columns(warehouse, schema, name, partition.event_type, target)
        table = qualified(schema, name)
        if before:
            customer = warehouse.literal(key(partition.customer))
            warehouse.run(
                f"DELETE FROM {table} WHERE _hour = {warehouse.at(partition.hour)} AND _customer = {customer}"
            )
        rows, taken = warehouse.insert(table, partition, columns)
        _agree(partition, "in the table", rows)
        loaded = Loaded(
            partition,
            schema,
            name,
            rows,
            changed=True,
            misfits=_misfits(columns, taken),
            unmapped=unmapped,
            mended=staged.mended,
            seconds=time.monotonic() - begun,
        )
        write_audit(warehouse, loaded, run_id, replaces=before is not None)
    return loaded


def _agree(partition: Partition, where: str, rows: int) -> None:
    if rows != partition.rows:
        raise LoaderError(
            f"{partition.name}: {counted(rows, 'row')} {where}, {partition.rows} in the manifest; nothing was loaded"
        )


def _columns(warehouse: Warehouse, schema: str, name: str, event_type: str, target: Target) -> tuple[list[Column], int]:
    """The columns that the hour's values go to, made where they are missing; and how many keys have none."""
    known = columns_of(warehouse, schema, event_type)
    room = max(0, min(target.max_columns, warehouse.most_columns) - len(known))
    found = _found(warehouse, known, target, room)
    new = _new(found, known, target, room)
    known |= name_columns(warehouse, schema, event_type, new, [column.name for column in known.values()])
    _widen(warehouse, schema, name, known)
    flattened = set(target.flatten)
    columns = [
        Column(known[at].name, path, known[at].kind, path in flattened, types)
        for path, types in sorted(found.items())
        if (at := pointer(path)) in known and set(types) - {"null"}
    ]
    unmapped = sum(
        pointer(path) not in known and path not in flattened and set(types) != {"null"} for path, types in found.items()
    )
    return columns, unmapped


def _found(warehouse: Warehouse, known: Mapping[str, Known], target: Target, room: int) -> Found:
    paths = [path_of(at) for at in known]
    return warehouse.found(((), *target.flatten), paths, room)


def _new(found: Found, known: Mapping[str, Known], target: Target, room: int) -> list[tuple[Path, Kind]]:
    """The keys that get a column: as many as there is room for, those that come most often first; in order of names."""
    flattened = set(target.flatten)
    wanted: list[tuple[int, Path, Kind]] = []
    for path, types in found.items():
        counts = {
            kind: n for kind, n in types.items() if kind != "null" and not (path in flattened and kind == "object")
        }
        if counts and pointer(path) not in known:
            most = max(counts, key=lambda kind: (counts[kind], kind))
            wanted.append((-sum(counts.values()), path, target.types.get(path) or _FIRST[most]))
    return sorted((path, kind) for _, path, kind in sorted(wanted)[:room])


def _widen(warehouse: Warehouse, schema: str, name: str, known: Mapping[str, Known]) -> None:
    """The table, with a column for everything that has a name."""
    table = qualified(schema, name)
    there = set(warehouse.columns(schema, name))
    missing = [(column.name, column.kind) for column in known.values() if column.name not in there]
    if not there:
        warehouse.create_table(table, missing)
        return
    for column, kind in missing:
        warehouse.add_column(table, column, kind)


def _misfits(columns: Sequence[Column], taken: Mapping[str, int]) -> dict[str, int]:
    """How many values of each column are NULL there though the event has one."""
    misfits = {}
    for column in columns:
        types = column.types or {}
        fitting = sum(types.get(kind, 0) for kind in fits(column.kind))
        if column.flattened and column.kind == "json":
            fitting -= types.get("object", 0)
        present = sum(n for kind, n in types.items() if kind != "null" and not (column.flattened and kind == "object"))
        in_table = taken[column.name] if picky(column.kind) else fitting
        if present - in_table:
            misfits[column.name] = present - in_table
    return misfits
