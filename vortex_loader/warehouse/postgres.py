"""Postgres, by psycopg: COPY into a staging table of jsonb, then SQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import psycopg
import psycopg.conninfo

from vortex_loader.model import LoaderError, Partition, Passing, Path
from vortex_loader.names import key
from vortex_loader.store import Store
from vortex_loader.text import mend, shorten_numbers, suspicious
from vortex_loader.warehouse.base import (
    EXACT,
    LONGEST_KEY_BYTES,
    STAGE,
    TIME_PATTERN,
    TINY,
    UNREADABLE,
    Column,
    Found,
    Staged,
    Warehouse,
    fits,
    line_blocks,
    on_the_way,
    picky,
    quote,
)

_COPY = f"COPY {STAGE} FROM STDIN (FORMAT csv, QUOTE E'\\x01', ESCAPE E'\\x01', DELIMITER E'\\x02')"
"""JSON has no such characters in it, so that its lines need no escapes."""


class Postgres(Warehouse):
    """One connection."""

    types: ClassVar = {
        "text": "text",
        "number": "double precision",
        "integer": "bigint",
        "boolean": "boolean",
        "time": "timestamptz",
        "json": "jsonb",
    }

    most_columns: ClassVar = 320
    """A row has 8,160 bytes outside TOAST, where texts of up to 24 stay."""
    unique_names: ClassVar = ", PRIMARY KEY (kind, parent, raw), UNIQUE (kind, parent, name)"
    unique_loads: ClassVar = ", PRIMARY KEY (customer, event_type, hour)"

    def __init__(self, address: str) -> None:
        super().__init__()
        try:
            psycopg.conninfo.conninfo_to_dict(address)
        except psycopg.Error:  # its text quotes what it cannot read
            raise LoaderError(UNREADABLE) from None
        try:
            self._connection = psycopg.connect(
                address, autocommit=True, connect_timeout=15, application_name="vortex-loader"
            )
        except psycopg.Error as problem:
            raise Passing(f"Postgres: {_said(problem)}") from None
        self.run("SET TimeZone = 'UTC'; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on")

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Executes one statement."""
        with _meaning():
            cursor = self._connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def shown(self, sql: str) -> tuple[list[str], list[tuple[str, ...]]]:
        """What a query answers, as text."""
        with _meaning():
            cursor = self._connection.execute(sql.encode())
            rows = cursor.fetchall() if cursor.description else []
            return [column.name for column in cursor.description or ()], [tuple(map(_shown, row)) for row in rows]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        with _meaning(), self._connection.transaction():
            yield

    def lock(self, schema: str, name: str) -> None:
        """An advisory lock of the transaction."""
        self.run(
            f"SELECT pg_advisory_xact_lock(hashtextextended({self.literal(f'vortex_loader {schema}: {name}')}, 0))"
        )

    def has_schema(self, schema: str) -> bool:
        """Whether there is such a schema, even one that this role may not use."""
        return bool(self.run(f"SELECT 1 FROM pg_namespace WHERE nspname = {self.literal(schema)}"))

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def stage(self, store: Store, partition: Partition) -> Staged:
        """By COPY; once more with every number looked at where Postgres refuses a line."""
        self.run(f"DROP TABLE IF EXISTS {STAGE}")
        self.run(f"CREATE TEMP TABLE {STAGE} (doc jsonb) ON COMMIT DROP")
        self.run(f"ALTER TABLE {STAGE} ALTER COLUMN doc SET STORAGE EXTERNAL")
        try:
            with self._connection.transaction():
                return self._copy(store, partition, careful=False)
        except psycopg.DataError:
            with _meaning():
                return self._copy(store, partition, careful=True)
        except psycopg.Error as problem:
            raise _error(problem) from None

    def _copy(self, store: Store, partition: Partition, careful: bool) -> Staged:
        rows = mended = 0
        with self._connection.cursor().copy(_COPY) as copy:
            for block in line_blocks(store, partition):
                text = block
                if suspicious(text, nul=True):
                    text, changed = mend(text, nul=True)
                    mended += changed
                if careful:
                    text, changed = shorten_numbers(text)
                    mended += changed
                if b"\r" in text:
                    text = text.replace(b"\r", b" ")  # white space between values: a string has it as an escape
                rows += text.count(b"\n")
                copy.write(text)
        return Staged(rows, mended)

    def found(self, places: Sequence[Path], known: Sequence[Path], most: int) -> Found:
        """Each key with the types of its values."""
        found: Found = {}
        for at in places:
            found.update(self._found(at, known))
        return found

    def _found(self, at: Path, known: Sequence[Path]) -> Found:
        source = _get("doc", at)
        names = ", ".join(self.literal(path[-1]) for path in known if path[:-1] == at) or "NULL"
        rows = self.run(
            f"SELECT k, jsonb_typeof(v), count(*) FROM (SELECT {source} AS o FROM {STAGE}) AS s, "
            "LATERAL jsonb_each(CASE WHEN jsonb_typeof(o) = 'object' THEN o END) AS e(k, v) "
            f"WHERE octet_length(k) <= {LONGEST_KEY_BYTES} OR k IN ({names}) GROUP BY 1, 2"
        )
        found: Found = {}
        for name, kind, count in rows:
            found.setdefault((*at, name), {})[kind] = count
        return found

    def insert(self, table: str, partition: Partition, columns: Sequence[Column]) -> tuple[int, dict[str, int]]:
        """One INSERT, whose RETURNING counts."""
        inner = "".join(f", {_get('doc', column.path)} AS j{n}" for n, column in enumerate(columns))
        values = "".join(f", {_value(column, f'j{n}')}" for n, column in enumerate(columns))
        names = "".join(f", {quote(column.name)}" for column in columns)
        asked = [column for column in columns if picky(column.kind)]
        returned = "".join(f", {quote(column.name)} IS NOT NULL AS r{n}" for n, column in enumerate(asked))
        counts = "".join(f", count(*) FILTER (WHERE r{n})" for n in range(len(asked)))
        ((rows, *taken),) = self.run(
            f"WITH i AS (INSERT INTO {table} (_hour, _customer, _event{names}) "
            f"SELECT {self.at(partition.hour)}, {self.literal(key(partition.customer))}, doc{values} "
            f"FROM (SELECT doc{inner} FROM {STAGE} OFFSET 0) AS s RETURNING 1 AS one{returned}) "
            f"SELECT count(*){counts} FROM i"
        )
        return rows, dict(zip((column.name for column in asked), taken, strict=True))

    def mask(self, drop: Sequence[Path], hashed: Sequence[Path], salt: str) -> None:
        """One UPDATE of the staged rows. Hashed first: what is also dropped is gone then."""
        value = "doc"
        for path in hashed:
            place = self._place(path, "<> 'null'")
            text = f"{self.literal(salt)} || coalesce(doc #>> {place}, '')"
            digest = f"to_jsonb(encode(sha256(convert_to({text}, 'UTF8')), 'hex'))"
            value = f"jsonb_set({value}, {place}, {digest}, false)"
        for path in drop:
            value = f"({value} #- {self._place(path, 'IS NOT NULL')})"
        self.run(f"UPDATE {STAGE} SET doc = {value}")

    def _place(self, path: Path, there: str) -> str:
        """The steps to mask: to the first array on the way, else the path; none, where there is no value."""
        ways = [f"WHEN {self._type(part)} = 'array' THEN {self._steps(part)}" for part in on_the_way(path)]
        ways.append(f"WHEN {self._type(path)} {there} THEN {self._steps(path)}")
        return f"(CASE {' '.join(ways)} ELSE ARRAY[]::text[] END)"

    def _type(self, path: Path) -> str:
        return f"jsonb_typeof(doc #> {self._steps(path)})"

    def _steps(self, path: Path) -> str:
        return f"ARRAY[{', '.join(self.literal(step) for step in path)}]::text[]"


def _get(source: str, path: Path) -> str:
    return source + "".join("->'" + step.replace("'", "''") + "'" for step in path)


def _value(column: Column, value: str) -> str:
    """SQL for what the column takes of the jsonb `value`, NULL where it does not fit."""
    text = f"{value} #>> '{{}}'"
    only = set(column.types or ()) - {"null"}
    if column.kind == "json":
        skipped = "'null', 'object'" if column.flattened else "'null'"
        return f"CASE WHEN jsonb_typeof({value}) NOT IN ({skipped}) THEN {value} END"
    if column.kind == "text":
        fitting = ", ".join(f"'{one}'" for one in fits("text"))
        return text if only <= set(fits("text")) else f"CASE WHEN jsonb_typeof({value}) IN ({fitting}) THEN {text} END"
    if column.kind == "boolean":
        return f"CASE WHEN jsonb_typeof({value}) = 'boolean' THEN ({value})::boolean END"
    if column.kind == "time":
        return (
            f"CASE WHEN jsonb_typeof({value}) = 'string' AND {text} ~ '{TIME_PATTERN}' THEN ({text})::timestamptz END"
        )
    number = f"({value})::numeric"
    if column.kind == "integer":
        whole = f"{number} BETWEEN -9223372036854775808 AND 9223372036854775807 AND {number} = trunc({number})"
        return f"CASE WHEN jsonb_typeof({value}) = 'number' THEN CASE WHEN {whole} THEN ({number})::bigint END END"
    exact = f"abs({number}) BETWEEN {TINY} AND {EXACT} OR {number} = 0"
    return f"CASE WHEN jsonb_typeof({value}) = 'number' THEN CASE WHEN {exact} THEN ({number})::float8 END END"


@contextlib.contextmanager
def _meaning() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as problem:
        raise _error(problem) from None


def _error(problem: psycopg.Error) -> LoaderError:
    """What the caller must do: try again, or report it to an operator."""
    passing = (
        "08",
        "40",
        "53",
        "55",
        "57",
        "58",
        "23",
    )  # connections, races, resources, a server that stops, a lost race
    state = problem.sqlstate or "08000"  # no state: the connection itself
    kind = Passing if state[:2] in passing and state != "57014" else LoaderError
    return kind(f"Postgres: {_said(problem)}")


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def _said(problem: psycopg.Error) -> str:
    """The server's own line, without the values of rows that stand below it."""
    return str(problem).strip().split("\n", 1)[0] or type(problem).__name__
