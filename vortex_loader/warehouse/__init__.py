"""Warehouses: one way to load for all, and the parts that differ."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from vortex_loader.model import LoaderError
from vortex_loader.warehouse.base import UNREADABLE, Warehouse


def connect(address: str, *, wait: float = 60.0) -> Warehouse:
    """The warehouse at `duckdb:///path`, a path that ends in `.duckdb`, `postgresql://…` or `redshift://…`.

    Raises LoaderError for another kind of address; Passing where it cannot be reached.
    """
    try:
        scheme = urlsplit(address).scheme
    except ValueError:
        raise LoaderError(UNREADABLE) from None
    if scheme in ("postgresql", "postgres"):
        from vortex_loader.warehouse.postgres import Postgres

        return Postgres(address)
    if scheme == "redshift":
        from vortex_loader.warehouse.redshift import Redshift, driver

        return Redshift(driver(address), address)
    if scheme in ("duckdb", "file") or address.endswith((".duckdb", ".ddb")):
        from vortex_loader.warehouse.duck import DuckDb

        return DuckDb(unquote(urlsplit(address).path) if "://" in address else address, wait)
    raise LoaderError(
        f"{address.split('@')[-1]}: a warehouse is duckdb:///path, a .duckdb file, postgresql://… or redshift://…"
    )
