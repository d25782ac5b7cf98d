"""The catalogue in SQLite: a row per customer and per event, a revision, who changed what, and digests of tokens."""

from __future__ import annotations

import hashlib
import json
import pathlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vortex_loader.catalog import Document, problems_of
from vortex_loader.model import LoaderError

_TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS customers (name TEXT PRIMARY KEY, rules TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    customer TEXT NOT NULL REFERENCES customers (name) ON DELETE CASCADE, name TEXT NOT NULL, rules TEXT NOT NULL,
    PRIMARY KEY (customer, name));
CREATE TABLE IF NOT EXISTS tokens (name TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, created TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS changes (
    revision INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody did something."""

    revision: int
    at: str
    who: str
    what: str


class Unknown(LoaderError):
    """There is no customer, or no event, of this name."""


class Database:
    """One file. Changes are checked as a whole before they count: what cannot be read back is not written."""

    def __init__(self, path: pathlib.Path) -> None:
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;" + _TABLES)
        except (OSError, sqlite3.Error) as problem:
            raise LoaderError(f"{path}: {problem}") from None

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()

    def revision(self) -> int:
        """It grows with each change."""
        with self._lock:
            (number,) = self._db.execute("SELECT coalesce(max(revision), 0) FROM changes").fetchone()
        return int(number)

    def document(self) -> dict[str, Any]:
        """The catalogue, as `vortex_loader.catalog.Document` takes it. The listed events are those that are loaded."""
        with self._lock:
            return self._document()

    def changes(self, most: int = 50) -> list[Change]:
        """The last ones, the newest first."""
        with self._lock:
            rows = self._db.execute("SELECT * FROM changes ORDER BY revision DESC LIMIT ?", (most,)).fetchall()
        return [Change(*row) for row in rows]

    def put_customer(self, who: str, name: str, rules: dict[str, Any]) -> None:
        """Adds the customer, or changes its rules. Its events stay. Raises LoaderError for rules that cannot be."""
        with self._change(who, f"customer {name!r}: {json.dumps(rules)}"):
            self._db.execute(
                "INSERT INTO customers VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET rules = excluded.rules",
                (name, json.dumps(rules)),
            )

    def remove_customer(self, who: str, name: str) -> None:
        """Raises Unknown."""
        with self._change(who, f"customer {name!r} removed"):
            if not self._db.execute("DELETE FROM customers WHERE name = ?", (name,)).rowcount:
                raise Unknown(f"there is no customer {name!r}")

    def put_event(self, who: str, customer: str, name: str, rules: dict[str, Any]) -> None:
        """Adds the event to those that are loaded of the customer, or changes its rules. Adds the customer, too."""
        with self._change(who, f"event {name!r} of {customer!r}: {json.dumps(rules)}"):
            self._db.execute("INSERT INTO customers VALUES (?, '{}') ON CONFLICT DO NOTHING", (customer,))
            self._db.execute(
                "INSERT INTO events VALUES (?, ?, ?) ON CONFLICT (customer, name) DO UPDATE SET rules = excluded.rules",
                (customer, name, json.dumps(rules)),
            )

    def remove_event(self, who: str, customer: str, name: str) -> None:
        """From the next hour on it is not loaded. Raises Unknown."""
        with self._change(who, f"event {name!r} of {customer!r} removed"):
            found = self._db.execute("DELETE FROM events WHERE customer = ? AND name = ?", (customer, name))
            if not found.rowcount:
                raise Unknown(f"customer {customer!r} has no event {name!r}")

    def put_default(self, who: str, rules: dict[str, Any]) -> None:
        """What counts for every customer."""
        with self._change(who, f"default: {json.dumps(rules)}"):
            self._db.execute(
                "INSERT INTO settings VALUES ('default', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (json.dumps(rules),),
            )

    def add_token(self, name: str) -> str:
        """A new token for a writer of this name. It is shown only now. An earlier token of the name ends."""
        token = secrets.token_urlsafe(32)
        with self._lock, self._db:
            self._db.execute("DELETE FROM tokens WHERE name = ?", (name,))
            self._db.execute(
                "INSERT INTO tokens VALUES (?, ?, ?)", (name, _digest(token), datetime.now(UTC).isoformat())
            )
        return token

    def remove_token(self, name: str) -> bool:
        """Whether there was one."""
        with self._lock, self._db:
            return bool(self._db.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount)

    def writer(self, token: str) -> str | None:
        """Whose token it is."""
        with self._lock:
            row = self._db.execute("SELECT name FROM tokens WHERE digest = ?", (_digest(token),)).fetchone()
        return row[0] if row else None

    def _document(self) -> dict[str, Any]:
        default = self._db.execute("SELECT value FROM settings WHERE name = 'default'").fetchone()
        customers: dict[str, dict[str, Any]] = {}
        for name, rules in self._db.execute("SELECT name, rules FROM customers ORDER BY name"):
            customers[name] = {"events": [], "event": {}, **json.loads(rules)}
        for customer, name, rules in self._db.execute("SELECT customer, name, rules FROM events ORDER BY name"):
            own = customers[customer]
            if isinstance(own["events"], list):
                own["events"].append(name)
            if rules != "{}":
                own["event"][name] = json.loads(rules)
        return {"version": 1, "default": json.loads(default[0]) if default else {}, "customer": customers}

    @contextmanager
    def _change(self, who: str, what: str) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                try:
                    Document.model_validate(self._document())
                except ValueError as problem:
                    raise LoaderError(_first_problem(problem)) from None
                self._db.execute(
                    "INSERT INTO changes (at, who, what) VALUES (?, ?, ?)",
                    (datetime.now(UTC).isoformat(timespec="seconds"), who, what[:2000]),
                )
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _first_problem(problem: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(problem, ValidationError):
        return str(problem)
    return problems_of(problem)
