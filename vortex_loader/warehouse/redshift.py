"""Redshift: COPY by the partition's manifest into a staging column of type SUPER, then SQL.

Redshift reads the files from S3 itself, so the store must be there. Names of attributes keep their capitals only while
`enable_case_sensitive_identifier` is on. Loads of one schema come one after another: a second writer of `_loads` would
fail (docs.aws.amazon.com/redshift/latest/dg/r_LOCK.html).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from vortex_loader.model import LoaderError, Partition, Passing, Path
from vortex_loader.names import key
from vortex_loader.store import Store
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
    picky,
    qualified,
    quote,
)

_LONGEST_TEXT = 65_535
"""Bytes of a VARCHAR."""
_PASSING = ("08", "40", "53", "55", "57", "58", "XX")


class Redshift(Warehouse):
    """One connection, of any DB-API driver."""

    types: ClassVar = {
        "text": f"varchar({_LONGEST_TEXT})",
        "number": "double precision",
        "integer": "bigint",
        "boolean": "boolean",
        "time": "timestamptz",
        "json": "super",
    }
    now: ClassVar = "GETDATE()"

    def __init__(self, connection: Any, address: str) -> None:
        super().__init__()
        options = parse_qs(urlsplit(address).query)
        self._connection = connection
        role = options.get("iam_role", ["default"])[0]
        self._role = "default" if role == "default" else self.literal(role)
        self._region = options.get("s3_region", [""])[0]
        self._connection.autocommit = True
        for setting in ("TimeZone TO 'UTC'", "enable_case_sensitive_identifier TO true"):
            self.run(f"SET {setting}")

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Executes one statement."""
        return self._ask(sql)[1]

    def shown(self, sql: str) -> tuple[list[str], list[tuple[str, ...]]]:
        """What a query answers, as text."""
        names, rows = self._ask(sql)
        return names, [tuple("" if value is None else str(value) for value in row) for row in rows]

    def _ask(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        with _meaning(), contextlib.closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            if cursor.description is None:
                return [], []
            return [column[0] for column in cursor.description], [tuple(row) for row in cursor.fetchall()]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.run("BEGIN")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            with contextlib.suppress(LoaderError):
                self.run("ROLLBACK")
            raise

    def lock(self, schema: str, name: str) -> None:
        """The schema's `_loads`, once it is there: until then the loser of a race tries again."""
        if schema in self.made or self.columns(schema, "_loads"):
            self.run(f"LOCK TABLE {qualified(schema, '_loads')}")

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def literal(self, text: str) -> str:
        """Backslashes escape in Redshift's literals."""
        return super().literal(text.replace("\\", "\\\\"))

    def json(self, text: str) -> str:
        """By JSON_PARSE."""
        return f"JSON_PARSE({self.literal(text)})"

    def json_text(self, column: str) -> str:
        """By JSON_SERIALIZE."""
        return f"JSON_SERIALIZE({column})"

    def has_schema(self, schema: str) -> bool:
        """Whether there is such a schema, even one that this role may not use."""
        return bool(self.run(f"SELECT 1 FROM pg_namespace WHERE nspname = {self.literal(schema)}"))

    def stage(self, store: Store, partition: Partition) -> Staged:
        """By COPY, which reads the files that the manifest names."""
        if not store.url.startswith("s3://"):
            raise LoaderError(f"{store.url}: Redshift reads from S3 only")
        if any(listed.files for listed in partition.folders):
            raise LoaderError(
                f"{partition.name}: some of its lines are in a bundle, and COPY cannot read a part of an object. "
                "Redshift needs a store with layout.small = 0"
            )
        self.run(f"DROP TABLE IF EXISTS {STAGE}")
        self.run(f"CREATE TEMP TABLE {STAGE} (doc super)")
        region = f" REGION {self.literal(self._region)}" if self._region else ""
        for listed in partition.folders:
            self.run(
                f"COPY {STAGE} FROM {self.literal(f'{store.url}/{listed.manifest}')} IAM_ROLE {self._role}{region} "
                f"MANIFEST {partition.compression.upper()} FORMAT JSON 'noshred'"
            )
        ((rows,),) = self.run(f"SELECT count(*) FROM {STAGE}")
        return Staged(rows, 0)

    def found(self, places: Sequence[Path], known: Sequence[Path], most: int) -> Found:
        """Each key with the types of its values."""
        found: Found = {}
        for at in places:
            rows = self.run(
                f"SELECT k::varchar, JSON_TYPEOF(v), count(*) FROM {STAGE} AS s, UNPIVOT {_get('s.doc', at)} AS v AT k "
                f"WHERE OCTET_LENGTH(k::varchar) <= {LONGEST_KEY_BYTES} GROUP BY 1, 2"
            )
            for name, kind, count in rows:
                found.setdefault((*at, name), {})[kind] = count
        return found

    def insert(self, table: str, partition: Partition, columns: Sequence[Column]) -> tuple[int, dict[str, int]]:
        """One INSERT; what it took is counted in the table."""
        names = "".join(f", {quote(column.name)}" for column in columns)
        values = "".join(f", {_value(column, _get('doc', column.path))}" for column in columns)
        hour, customer = self.at(partition.hour), self.literal(key(partition.customer))
        self.run(
            f"INSERT INTO {table} (_hour, _customer, _event{names}) SELECT {hour}, {customer}, doc{values} FROM {STAGE}"
        )
        asked = [column for column in columns if picky(column.kind)]
        counts = "".join(f", count({quote(column.name)})" for column in asked)
        ((rows, *taken),) = self.run(
            f"SELECT count(*){counts} FROM {table} WHERE _hour = {hour} AND _customer = {customer}"
        )
        return rows, dict(zip((column.name for column in asked), taken, strict=True))

    def mask(self, drop: Sequence[Path], hashed: Sequence[Path], salt: str) -> None:
        """Not here: raises LoaderError, so that nothing is loaded that should have been taken away."""
        raise LoaderError("Redshift: the catalogue's `drop` and `hash` cannot be carried out there; take them out")


def driver(address: str) -> Any:
    """A connection to `redshift://user:password@host:port/database`. Raises Passing, LoaderError."""
    try:
        import redshift_connector
    except ImportError:
        raise LoaderError("redshift:// needs redshift-connector: pip install redshift-connector") from None
    try:
        parts = urlsplit(address)
        port = parts.port or 5439
    except ValueError:  # its text quotes what it cannot read
        raise LoaderError(UNREADABLE) from None
    options: Mapping[str, Any] = {
        "host": parts.hostname,
        "port": port,
        "database": parts.path.lstrip("/"),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    with _meaning():
        return redshift_connector.connect(**options)


def _get(source: str, path: Path) -> str:
    """Navigation in a SUPER value."""
    return source + "".join(f".{quote(step)}" for step in path)


def _value(column: Column, value: str) -> str:
    """SQL for what the column takes of the SUPER `value`, NULL where it does not fit."""
    kind = f"JSON_TYPEOF({value})"
    if column.kind == "json":
        skipped = "'null', 'object'" if column.flattened else "'null'"
        return f"CASE WHEN {kind} NOT IN ({skipped}) THEN {value} END"
    if column.kind == "text":
        text = f"{value}::varchar({_LONGEST_TEXT})"
        return f"CASE WHEN {kind} = 'string' THEN {text} WHEN {kind} IN ('number', 'boolean') THEN {_plain(value)} END"
    if column.kind == "boolean":
        return f"CASE WHEN {kind} = 'boolean' THEN {value}::boolean END"
    if column.kind == "time":
        text = f"{value}::varchar"
        return f"CASE WHEN {kind} = 'string' THEN CASE WHEN {text} ~ '{TIME_PATTERN}' THEN {text}::timestamptz END END"
    number = f"{value}::float8"
    if column.kind == "integer":
        whole = f"ABS({number}) < 9.2e18 AND {number} = FLOOR({number})"
        return f"CASE WHEN {kind} = 'number' THEN CASE WHEN {whole} THEN {value}::bigint END END"
    exact = f"ABS({number}) BETWEEN {TINY} AND {EXACT} OR {number} = 0"
    return f"CASE WHEN {kind} = 'number' THEN CASE WHEN {exact} THEN {number} END END"


def _plain(value: str) -> str:
    return f"JSON_SERIALIZE({value})"


@contextlib.contextmanager
def _meaning() -> Iterator[None]:
    """The driver's errors, by what the caller must do."""
    try:
        yield
    except LoaderError:
        raise
    except Exception as problem:
        if type(problem).__module__.partition(".")[0] not in ("redshift_connector", "psycopg", "builtins"):
            raise
        if type(problem).__module__ == "builtins" and not isinstance(problem, OSError):
            raise
        fields = problem.args[0] if problem.args else ""
        state = str(fields.get("C", "")) if isinstance(fields, dict) else ""
        said = str(fields.get("M", "")) if isinstance(fields, dict) else str(fields).split("\n", 1)[0]
        again = (
            isinstance(problem, OSError) or state[:2] in _PASSING or "1023" in said or "InterfaceError" in repr(problem)
        )
        raise (Passing if again else LoaderError)(f"Redshift: {said or problem!r}") from None
