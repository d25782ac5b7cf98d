"""A stand-in for Redshift: its SQL, translated word by word, is carried out by Postgres.

It understands what the loader sends and nothing else. SUPER is jsonb here; COPY reads the files of the manifest itself.
It understands what the loader sends and nothing else. SUPER is jsonb here; COPY reads the files of the manifest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg

from vortex_loader.model import ClosedHour, Partition
from vortex_loader.store import Store
from vortex_loader.warehouse.base import line_blocks
from vortex_loader.warehouse.redshift import Redshift

_URL = "s3://bucket/clickstream"
_PATH = r'(?:s\.)?doc(?:\."(?:[^"]|"")*")*'
_STEP = re.compile(r'\."((?:[^"]|"")*)"')
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")


class Moved(Store):
    """A folder that says it is in S3, as COPY needs it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.files)
        self.url = _URL
        self._hours: list[ClosedHour] = []

    def of_manifest(self, url: str) -> Partition:
        """The partition of an hour that was asked for."""
        listed = url.removeprefix(f"{_URL}/")
        parts = [part for hour in self._hours for part in hour.partitions]
        return next(part for part in parts if listed in [one.manifest for one in part.folders])

    def hour(self, hour: Any) -> ClosedHour:
        """The hour, which is remembered."""
        found = super().hour(hour)
        self._hours.append(found)
        return found


def redshift(address: str, store: Moved) -> Redshift:
    """The loader's warehouse, whose server is the Postgres at this address."""
    return Redshift(_Connection(psycopg.connect(address, autocommit=True), store), "redshift://u:p@h/db")


class _Connection:
    """As of redshift_connector."""

    def __init__(self, connection: psycopg.Connection[Any], store: Moved) -> None:
        self._connection, self._store = connection, store
        self.autocommit = True

    def cursor(self) -> _Cursor:
        """A new one."""
        return _Cursor(self._connection.cursor(), self._store)

    def close(self) -> None:
        """The end."""
        self._connection.close()


class _Cursor:
    def __init__(self, cursor: psycopg.Cursor[Any], store: Moved) -> None:
        self._cursor, self._store = cursor, store
        self.close: Callable[[], None] = cursor.close
        self.fetchall: Callable[[], list[Any]] = cursor.fetchall

    @property
    def description(self) -> Any:
        """Of the last answer."""
        return self._cursor.description

    def execute(self, sql: str) -> None:
        """One statement of Redshift's."""
        if "enable_case_sensitive_identifier" in sql:
            return
        if copied := re.match(r"COPY (\w+) FROM '(.*?)' IAM_ROLE", sql):
            self._copy(copied[1], copied[2].replace("''", "'").replace("\\\\", "\\"))
            return
        self._cursor.execute(translated(sql).encode())

    def _copy(self, table: str, manifest: str) -> None:
        copying = f"COPY {table} FROM STDIN (FORMAT csv, QUOTE E'\\x01', ESCAPE E'\\x01', DELIMITER E'\\x02')"
        with self._cursor.copy(copying.encode()) as copy:
            for block in line_blocks(self._store, self._store.of_manifest(manifest)):
                copy.write(block)


def translated(sql: str) -> str:
    """The statement in Postgres's words. What stands in literals stays, but for Redshift's escapes."""
    literals: list[str] = []

    def kept(found: re.Match[str]) -> str:
        if found[0][0] == '"':
            return found[0]
        literals.append(found[0].replace("\\\\", "\\"))
        return f"\0{len(literals) - 1}\0"

    text = _QUOTED.sub(kept, sql)
    text = re.sub(rf"UNPIVOT ({_PATH}) AS v AT k", _unpivoted, text)
    text = re.sub(r"\bk::varchar", "k", text)
    text = re.sub(r"JSON_TYPEOF\(", "jsonb_typeof(", text)
    text = re.sub(rf"JSON_SERIALIZE\(({_PATH})\)", lambda found: f"({_navigated(found[1])} #>> '{{}}')", text)
    text = re.sub(r"JSON_SERIALIZE\((\w+)\)", r"(\1)::text", text)
    text = re.sub(r"JSON_PARSE\((\0\d+\0)\)", r"(\1)::jsonb", text)
    text = re.sub(rf"({_PATH})::varchar(\(\d+\))?", lambda found: f"({_navigated(found[1])} #>> '{{}}')", text)
    text = re.sub(rf"({_PATH})(?=::)", lambda found: f"({_navigated(found[1])})", text)
    text = re.sub(rf"(?<![\w.])({_PATH})(?![\w(])", lambda found: _navigated(found[1]), text)
    text = re.sub(r"\bsuper\b", "jsonb", text).replace("GETDATE()", "now()")
    return re.sub(r"\0(\d+)\0", lambda found: literals[int(found[1])], text)


def _navigated(path: str) -> str:
    start = "s.doc" if path.startswith("s.") else "doc"
    steps = [step.replace('""', '"').replace("'", "''") for step in _STEP.findall(path)]
    return start + "".join(f"->'{step}'" for step in steps)


def _unpivoted(found: re.Match[str]) -> str:
    value = _navigated(found[1])
    return f"LATERAL jsonb_each(CASE WHEN jsonb_typeof({value}) = 'object' THEN {value} END) AS e(k, v)"
