"""Names for the warehouse: readable, and different forever if two raw names are alike."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Container

from vortex_loader.model import Path

LONGEST = 56
"""Characters of an identifier, so that `_2` and the like stay below Postgres's 63."""
LONGEST_KEY = 256
"""Characters of a raw name that stands in `_names` and `_loads` as it is; longer ones are cut and end in a digest."""
_RESERVED_SCHEMAS = frozenset({"public", "main", "temp", "system", "information_schema", "pg_catalog", "vortex"})
_SYSTEM_COLUMNS = frozenset({"ctid", "oid", "tableoid", "xmin", "xmax", "cmin", "cmax", "rowid"})
"""Postgres, Redshift or DuckDB have columns of these names in every table."""


def identifier(name: str) -> str:
    """`Order Completed` and `orderCompleted` give `order_completed`; two names may meet, which `free` settles.

    It has the letters a to z, digits and `_`, and begins with `_` only before a digit: other names that begin so are
    the loader's own.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain).lower()
    text = re.sub(r"[^a-z0-9]+", "_", words).strip("_")[:LONGEST].strip("_")
    if not text:
        text = f"unnamed_{_digest(name)[:8]}"
    return f"_{text}" if text[0].isdigit() else text


def own_identifier(name: str) -> str:
    """An identifier that no other name has, without asking anybody: one that was changed ends in a digest."""
    text = identifier(name)
    return text if text == name else f"{text}_{_digest(name)[:8]}"


def free(base: str, taken: Callable[[str], bool]) -> str:
    """`base`, or `base_2`, `base_3` and so on: the first that is not taken."""
    name, number = base, 1
    while taken(name):
        number += 1
        name = f"{base}_{number}"
    return name


def schema_base(customer: str) -> str:
    """What a customer's schema is called, if nothing else is called so."""
    base = identifier(customer)
    return f"customer_{base}" if reserved_schema(base) else base


def reserved_schema(name: str) -> bool:
    """Whether the warehouse, or the loader itself, has a schema of this name."""
    return name in _RESERVED_SCHEMAS or name.startswith("pg_")


def reserved_column(name: str) -> bool:
    """Whether every table has a column of this name, one way or another."""
    return name in _SYSTEM_COLUMNS


def key(raw: str) -> str:
    """The raw name as a warehouse can hold and index it. Different names give different keys."""
    held = all(c != "\0" and not "\ud800" <= c <= "\udfff" for c in raw)
    if held and len(raw) <= LONGEST_KEY:
        return raw
    start = "".join(c if c != "\0" and not "\ud800" <= c <= "\udfff" else "\ufffd" for c in raw[:LONGEST_KEY])
    return start.ljust(LONGEST_KEY) + " " + _digest(raw)  # longer than any that stands as it is


def pointer(path: Path) -> str:
    """The path as a JSON pointer (RFC 6901): `/properties/price`."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


def path_of(text: str) -> Path:
    """The path that people write: `context.page.path`, or a JSON pointer where a key has a dot."""
    if text.startswith("/"):
        return tuple(step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/"))
    return tuple(text.split("."))


def column_base(path: Path) -> str:
    """What a column for the path is called, if nothing else is called so."""
    return identifier(" ".join(path))


def unused(taken: Container[str]) -> Callable[[str], bool]:
    """For columns: whether the name is taken by another or by the warehouse."""
    return lambda name: name in taken or reserved_column(name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
