"""DuckDB: a file, no server. One process writes to it at a time, and loads one partition after another."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import duckdb

from vortex_loader.model import JsonType, LoaderError, Partition, Passing, Path
from vortex_loader.names import key, pointer
from vortex_loader.store import Store
from vortex_loader.text import mend, suspicious
from vortex_loader.warehouse.base import (
    EXACT,
    LONGEST_KEY_BYTES,
    STAGE,
    TIME_PATTERN,
    TINY,
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

_TYPES: dict[str, JsonType] = {
    "VARCHAR": "string",
    "UBIGINT": "number",
    "BIGINT": "number",
    "HUGEINT": "number",
    "UHUGEINT": "number",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
    "OBJECT": "object",
    "ARRAY": "array",
    "NULL": "null",
}
_LONGEST_LINE = 64 << 20
_locks: dict[str, threading.RLock] = {}
_guard = threading.Lock()


class DuckDb(Warehouse):
    """A connection of its own to the file."""

    types: ClassVar = {
        "text": "VARCHAR",
        "number": "DOUBLE",
        "integer": "BIGINT",
        "boolean": "BOOLEAN",
        "time": "TIMESTAMPTZ",
        "json": "JSON",
    }

    def __init__(self, path: str, wait: float = 60.0) -> None:
        super().__init__()
        with _guard:
            self._turn = _locks.setdefault(str(pathlib.Path(path).absolute()), threading.RLock())
        self._connection = _open(path, wait)
        self.run("SET TimeZone = 'UTC'")
        self.run("SET preserve_insertion_order = false")
        self.run("SET checkpoint_threshold = '256MB'")

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Executes one statement."""
        with _meaning():
            return self._connection.execute(sql).fetchall()

    def shown(self, sql: str) -> tuple[list[str], list[tuple[str, ...]]]:
        """What a query answers, as text: times as Python's objects would need one more package."""
        with _meaning():
            found = self._connection.sql(sql)
            if found is None:
                return [], []
            rows = found.project("COLUMNS(*)::VARCHAR").fetchall()
            return found.columns, [tuple(value or "" for value in row) for row in rows]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, one at a time in this process."""
        with self._turn:
            self.run("BEGIN TRANSACTION")
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                with contextlib.suppress(duckdb.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def lock(self, schema: str, name: str) -> None:
        """Nothing: transactions come one after another."""

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def stage(self, store: Store, partition: Partition) -> Staged:
        """By a file of the lines, which DuckDB reads as one column of text."""
        rows = mended = 0
        with tempfile.NamedTemporaryFile(prefix="vortex-loader-", suffix=".jsonl") as file:
            for block in line_blocks(store, partition):
                text = block
                if suspicious(text, nul=False):
                    text, changed = mend(text, nul=False)
                    mended += changed
                if b"\r" in text:
                    text = text.replace(b"\r", b" ")
                rows += text.count(b"\n")
                file.write(text)
            file.flush()
            self.run(f"DROP TABLE IF EXISTS {STAGE}")
            self.run(f"CREATE TEMP TABLE {STAGE} AS SELECT doc::JSON AS doc FROM {self._lines(file.name)}")
        return Staged(rows, mended)

    def _lines(self, path: str) -> str:
        size = pathlib.Path(path).stat().st_size
        longest = min(_LONGEST_LINE, max(size, 1 << 16))
        return (
            f"read_csv({self.literal(path)}, columns = {{'doc': 'VARCHAR'}}, auto_detect = false, header = false, "
            f"delim = chr(2), quote = '', escape = '', new_line = '\\n', compression = 'none', "
            f"max_line_size = {longest}, buffer_size = {max(4 << 20, longest + 1)}, parallel = true)"
        )

    def found(self, places: Sequence[Path], known: Sequence[Path], most: int) -> Found:
        """First which keys there are, then of what types those are that may matter; each parses an event once."""
        rows = self.run(
            "SELECT i, k, count(*) FROM (SELECT i, unnest(ks) AS k FROM (SELECT unnest(range("
            f"{len(places)})) AS i, unnest(json_keys(doc, {self._paths(places)})) AS ks FROM {STAGE})) "
            f"WHERE strlen(k) <= {LONGEST_KEY_BYTES} GROUP BY i, k"
        )
        already = set(known)
        counted = [((*places[at], name), count) for at, name, count in rows]
        order = sorted(counted, key=lambda row: (row[0] not in already, -row[1], row[0]))
        chosen = [path for path, _ in order[: len(already) + most + len(places)]]
        found: Found = {path: {} for path, _ in order}
        if chosen:
            typed = self.run(
                f"SELECT i, t, count(*) FROM (SELECT unnest(json_type(doc, {self._paths(chosen)})) AS t, "
                f"unnest(range({len(chosen)})) AS i FROM {STAGE}) WHERE t IS NOT NULL GROUP BY i, t"
            )
            for number, kind, count in typed:
                types = found[chosen[number]]
                types[_TYPES[kind]] = types.get(_TYPES[kind], 0) + count
        return found

    def insert(self, table: str, partition: Partition, columns: Sequence[Column]) -> tuple[int, dict[str, int]]:
        """One INSERT; what columns took is counted in the table."""
        names = "".join(f", {quote(column.name)}" for column in columns)
        mixed = [column for column in columns if not _plain(column)]
        places = {column.name: f"t[{n}]" for n, column in enumerate(mixed, 1)}
        values = "".join(
            f", {_value(column, f's[{n}]', places.get(column.name))}" for n, column in enumerate(columns, 1)
        )
        inner = f", json_extract_string(doc, {self._paths([c.path for c in columns])}) AS s" if columns else ""
        inner += f", json_type(doc, {self._paths([c.path for c in mixed])}) AS t" if mixed else ""
        hour, customer = self.at(partition.hour), self.literal(key(partition.customer))
        ((rows,),) = self.run(
            f"INSERT INTO {table} (_hour, _customer, _event{names}) SELECT {hour}, {customer}, doc{values} "
            f"FROM (SELECT doc{inner} FROM {STAGE})"
        )
        self.run(f"DROP TABLE {STAGE}")  # it would be kept in memory until the next load
        asked = [column for column in columns if picky(column.kind)]
        if not asked:
            return rows, {}
        counts = ", ".join(f"count({quote(column.name)})" for column in asked)
        (taken,) = self.run(f"SELECT {counts} FROM {table} WHERE _hour = {hour} AND _customer = {customer}")
        return rows, dict(zip((column.name for column in asked), taken, strict=True))

    def mask(self, drop: Sequence[Path], hashed: Sequence[Path], salt: str) -> None:
        """One UPDATE of the rows concerned, once each object on the way has each key once.

        Hashed first: what is also dropped is gone then.
        """
        parents = {path[:n] for path in (*drop, *hashed) for n in range(len(path))}
        for parent in sorted(parents, key=len):
            self._without_twins(parent)
        value, concerned = "doc", ["false"]
        for path in hashed:
            cases = self._places(path, "<> 'NULL'", lambda at: f"sha256({self.literal(salt)} || {self._text(at)})")
            value = f"json_merge_patch({value}, CASE {cases} ELSE '{{}}' END)"
        for path in drop:
            value = (
                f"json_merge_patch({value}, CASE {self._places(path, 'IS NOT NULL', lambda _: 'NULL')} ELSE '{{}}' END)"
            )
        concerned += [
            f"{self._type(part)} IS NOT NULL" for path in (*hashed, *drop) for part in (*on_the_way(path), path)
        ]
        self.run(f"UPDATE {STAGE} SET doc = {value} WHERE {' OR '.join(concerned)}")

    def _places(self, path: Path, there: str, masked: Callable[[Path], str]) -> str:
        """What to patch: the first array on the way, else the path where there is a value."""
        ways = [
            f"WHEN {self._type(part)} = 'ARRAY' THEN {self._patch(part, masked(part))}" for part in on_the_way(path)
        ]
        ways.append(f"WHEN {self._within(path)} AND {self._type(path)} {there} THEN {self._patch(path, masked(path))}")
        return " ".join(ways)

    def _type(self, path: Path) -> str:
        return f"json_type(doc, {self.literal(pointer(path))})"

    def literal(self, text: str) -> str:
        """A string of SQL; a NUL ends a statement of DuckDB 1."""
        quoted = super().literal(text)
        return "(" + quoted.replace("\0", "' || chr(0) || '") + ")" if "\0" in text else quoted

    def _text(self, path: Path) -> str:
        return f"json_extract_string(doc, {self.literal(pointer(path))})"

    def _within(self, path: Path) -> str:
        """Whether objects alone lead there."""
        return " AND ".join(f"{self._type(path[:n])} IS NOT DISTINCT FROM 'OBJECT'" for n in range(len(path)))

    def _without_twins(self, path: Path) -> None:
        """Keeps the first value of a key that the object at the path has twice: the second would be passed over."""
        at = self.literal(pointer(path))
        keys = f"list_distinct(json_keys(doc, {at}))"
        member = f"{at} || '/' || replace(replace(k, '~', '~0'), '/', '~1')"
        members = f"lambda k: to_json(k)::VARCHAR || ':' || json_extract(doc, {member})::VARCHAR"
        whole = f"('{{' || array_to_string(list_transform({keys}, {members}), ',') || '}}')::JSON"
        if path:
            whole = f"json_merge_patch(json_merge_patch(doc, {self._patch(path, 'NULL')}), {self._patch(path, whole)})"
        twins = f"{self._within((*path, ''))} AND len(json_keys(doc, {at})) <> len({keys})"
        self.run(f"UPDATE {STAGE} SET doc = {whole} WHERE {twins}")

    def _patch(self, path: Path, value: str) -> str:
        for step in reversed(path):
            value = f"json_object({self.literal(step)}, {value})"
        return value

    def _paths(self, paths: Sequence[Path]) -> str:
        return "[" + ", ".join(self.literal(pointer(path)) for path in paths) + "]"


def _plain(column: Column) -> bool:
    """Whether all of the hour's values have types that the column takes as they are."""
    types = set(column.types or ()) - {"null"}
    return types <= ({"object", "array"} if column.kind == "json" else set(fits(column.kind))) and not column.flattened


def _value(column: Column, text: str, kind: str | None) -> str:
    """SQL for what the column takes of a value, given as `text`; where types are mixed, `kind` is the value's own."""
    value = _taken(column, text)
    if kind is None:
        return f"{text}::JSON" if column.kind == "json" else value
    if column.kind == "json":
        shown = f"CASE WHEN {kind} = 'VARCHAR' THEN to_json({text}) ELSE {text}::JSON END"
        return f"CASE WHEN {kind} <> 'OBJECT' THEN {shown} END" if column.flattened else shown
    wanted = ", ".join(f"'{name}'" for name, one in _TYPES.items() if one in fits(column.kind))
    return f"CASE WHEN {kind} IN ({wanted}) THEN {value} END"


def _taken(column: Column, text: str) -> str:
    """SQL for the value itself, where its type fits; NULL where it does not fit all the same."""
    if column.kind == "boolean":
        return f"{text}::BOOLEAN"
    if column.kind == "time":
        return f"CASE WHEN regexp_matches({text}, '{TIME_PATTERN}') THEN TRY_CAST({text} AS TIMESTAMPTZ) END"
    double = f"TRY_CAST({text} AS DOUBLE)"
    if column.kind == "integer":  # the decimal is exact above 2^53, the double sees more digits behind the point
        whole = f"TRY_CAST({text} AS DECIMAL(38, 9)) = TRY_CAST({text} AS BIGINT) AND {double} = trunc({double})"
        return f"CASE WHEN {whole} THEN TRY_CAST({text} AS BIGINT) END"
    if column.kind == "number":
        return f"CASE WHEN abs({double}) BETWEEN {TINY} AND {EXACT} OR {double} = 0 THEN {double} END"
    return text


def _open(path: str, wait: float) -> duckdb.DuckDBPyConnection:
    """The file, once no other process has it open."""
    end = time.monotonic() + wait
    while True:
        try:
            return duckdb.connect(path)
        except duckdb.IOException as problem:
            if "lock" not in str(problem).lower():
                raise LoaderError(f"{path}: {problem}") from None
            if time.monotonic() > end:
                raise Passing(f"{path}: another process has it open; DuckDB takes one writer at a time") from None
            time.sleep(0.1)  # another process's lock on a file: there is nothing to await
        except duckdb.Error as problem:
            raise LoaderError(f"{path}: {problem}") from None


@contextlib.contextmanager
def _meaning() -> Iterator[None]:
    try:
        yield
    except duckdb.TransactionException as problem:
        raise Passing(f"DuckDB: {problem}") from None
    except duckdb.Error as problem:
        raise LoaderError(f"DuckDB: {str(problem).split(chr(10), 1)[0]}") from None
