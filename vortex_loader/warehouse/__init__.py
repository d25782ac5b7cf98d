"""Warehouses: one way to load for all, and the parts that differ."""

from __future__ import annotations

from urllib.parse import urlsplit

from vortex_loader.model import LoaderError
from vortex_loader.store import local_path
from vortex_loader.warehouse.base import UNREADABLE, Warehouse


def connect(address: str, *, wait: float = 60.0) -> Warehouse:
    """The warehouse at `duckdb:///path`, a path that ends in `.duckdb`, `postgresql://…` or `redshift://…`.

    Raises LoaderError for another kind of address; Passing where it cannot be reached.
    """
    try:
        parts = urlsplit(address)
        scheme = parts.scheme
    except ValueError:
        raise LoaderError(UNREADABLE) from None
    if parts.netloc.count("@") > 1:  # drivers take the first for the last, and tell the rest of the password
        raise LoaderError(UNREADABLE)
    if scheme in ("postgresql", "postgres"):
        from vortex_loader.warehouse.postgres import Postgres

        return Postgres(address)
    if scheme == "redshift":
        from vortex_loader.warehouse.redshift import Redshift, driver

        return Redshift(driver(address), address)
    if scheme in ("duckdb", "file") or address.endswith((".duckdb", ".ddb")):
        from vortex_loader.warehouse.duck import DuckDb

        return DuckDb(str(local_path(address)) if "://" in address else address, wait)
    raise LoaderError(
        "this is no address of a warehouse (it is not shown, for it may hold a password). Write duckdb:///path, a path "
        "that ends in .duckdb, postgresql://… or redshift://…"
    )
