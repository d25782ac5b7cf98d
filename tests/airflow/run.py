"""`python -m tests.airflow.run PATH`: the DAGs of examples/airflow in a real Airflow, whose environment is at PATH.

Moto is the S3, an own Postgres the warehouse. Each run is `airflow dags test`, as a user would type it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psycopg

from tests.loader import servers
from tests.loader.stores import hour, page, publish
from tests.servers import moto_server

REPOSITORY = Path(__file__).parents[2]
DAGS = REPOSITORY / "examples" / "airflow"
CATALOG = """
[customer.acme]
events = ["page", "Order Completed"]
[customer."wayne/retail"]
"""
LATER = """
[customer.acme]
events = ["identify", "Order Completed", "Refund Issued"]
[customer.initech]
"""
_RUN_S = 600


class Airflow:
    """An Airflow of its own, with its database in SQLite."""

    def __init__(self, programs: Path, home: Path, settings: dict[str, str]) -> None:
        self._home = home
        self._program = programs / "bin" / "airflow"
        self._environment = {
            **os.environ,
            **settings,
            "PYTHONPATH": str(REPOSITORY),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }

    def __call__(self, *arguments: str, each_line: Any = None) -> str:
        """What a command prints. `each_line` is called with each line."""
        process = subprocess.Popen(
            [self._program, *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        end = threading.Timer(_RUN_S, process.kill)
        end.start()
        lines = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if each_line is not None:
                each_line(line)
        end.cancel()
        said = "".join(lines)
        if process.wait():
            raise AssertionError(f"airflow {' '.join(arguments)} ended with {process.returncode}:\n{said[-6000:]}")
        return said

    @contextlib.contextmanager
    def processing(self) -> Iterator[None]:
        """The processor of DAGs runs, and reads the files all the time."""
        eager = dict.fromkeys(("MIN_FILE_PROCESS_INTERVAL", "PARSING_CLEANUP_INTERVAL", "STALE_DAG_THRESHOLD"), "1")
        variables = {f"AIRFLOW__DAG_PROCESSOR__{name}": value for name, value in eager.items()}
        process = subprocess.Popen(
            [self._program, "dag-processor"],
            env=self._environment | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)

    def dags(self) -> set[str]:
        """Those that are there and not stale."""
        with contextlib.closing(sqlite3.connect(self._home / "airflow.db")) as database:
            return {row[0] for row in database.execute("SELECT dag_id FROM dag WHERE NOT is_stale")}

    def run(self, dag: str, n: int, each_line: Any = None) -> None:
        """One customer's hour n: the run of the hour's end. AssertionError where it does not succeed."""
        begun = time.monotonic()
        said = self("dags", "test", dag, hour(n + 1).isoformat(), each_line=each_line)
        assert "failed" not in said.lower() or each_line is not None, said[-6000:]
        print(f"  {dag}, hour {n}: {time.monotonic() - begun:.0f} s", flush=True)


def upload(client: Any, folder: Path) -> None:
    """Two hours: initech has none in the second, acme has a type that appears in it."""
    pages = [page(n) for n in range(50)]
    first = {("acme", "page"): pages, ("acme", "Order Completed"): pages[:20], ("acme", "identify"): pages[:7]}
    first |= {("wayne/retail", "page"): pages[:9], ("initech", "page"): pages[:30]}
    second = {("acme", kind): pages[:12] for kind in ("page", "Order Completed", "identify", "Refund Issued")}
    publish(folder, hour(0), first, url="s3://bucket/clickstream")
    publish(folder, hour(1), second, url="s3://bucket/clickstream")
    for path in folder.rglob("*"):
        if path.is_file():
            client.put_object(Bucket="bucket", Key=f"clickstream/{path.relative_to(folder)}", Body=path.read_bytes())


def check(warehouse: str, schema: str, expected: list[tuple[int, str, int]]) -> None:
    """The audit of the schema, and each table's rows, by hour of the day and event."""
    with psycopg.connect(warehouse) as connection:
        sql = "SELECT extract(hour FROM hour AT TIME ZONE 'UTC')::int, event_type, row_count, table_name FROM {}._loads"
        rows = connection.execute(sql.format(schema).encode()).fetchall()
        assert sorted(row[:3] for row in rows) == sorted(expected), rows
        for table in {row[3] for row in rows}:
            found = connection.execute(f'SELECT count(*) FROM {schema}."{table}"'.encode()).fetchone()
            assert found == (sum(row[2] for row in rows if row[3] == table),), (table, found)


class Obstacle:
    """Holds a lock that makes loads fail, until the first has failed."""

    def __init__(self, warehouse: str, table: str) -> None:
        self._connection = psycopg.connect(warehouse)
        self._connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        self.failures = 0

    def __call__(self, line: str) -> None:
        if "lock timeout" in line:
            self.failures += 1
            self._connection.close()


def scenario(airflow: Airflow, warehouse: str, catalog: Path) -> None:
    """The runs, one after the other."""
    airflow("db", "migrate")
    airflow.run("vortex_acme", 0)
    check(warehouse, "acme", [(9, "page", 50), (9, "Order Completed", 20)])
    print("an hour is loaded; what the catalogue does not name is not", flush=True)
    airflow.run("vortex_acme", 0)
    check(warehouse, "acme", [(9, "page", 50), (9, "Order Completed", 20)])
    print("the same hour again changes nothing", flush=True)
    catalog.write_text(LATER)
    obstacle = Obstacle(warehouse, "acme._loads")
    airflow.run("vortex_acme", 1, each_line=obstacle)
    assert obstacle.failures > 0
    after = [(10, kind, 12) for kind in ("Order Completed", "identify", "Refund Issued")]
    check(warehouse, "acme", [(9, "page", 50), (9, "Order Completed", 20), *after])
    print(f"one type removed, two that appear, after {obstacle.failures} failed tries", flush=True)
    airflow.run("vortex_initech", 0)
    check(warehouse, "initech", [(9, "page", 30)])
    airflow.run("vortex_initech", 1)
    check(warehouse, "initech", [(9, "page", 30)])
    print("a customer that was added has a DAG, and its empty hour succeeds", flush=True)


def customers_come_and_go(airflow: Airflow, catalog: Path) -> None:
    """While the processor of DAGs runs, and is not started again."""
    catalog.write_text(CATALOG)
    with airflow.processing():
        first = until(lambda: (names := airflow.dags()) and "vortex_initech" not in names and names)
        assert "vortex_acme" in first and any(name.startswith("vortex_wayne_retail_") for name in first), first
        catalog.write_text(LATER)
        until(lambda: airflow.dags() == {"vortex_acme", "vortex_initech"})
    print("a DAG comes and one goes with the catalogue, without a restart", flush=True)


def until(found: Callable[[], Any]) -> Any:
    """What it finds, once it is not nothing: another program takes its time."""
    end = time.monotonic() + _RUN_S
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.5)  # another program: there is nothing to await
    raise AssertionError("it did not come")


def main() -> None:
    """AssertionError at the first thing that is wrong."""
    with (
        tempfile.TemporaryDirectory(prefix="vortex-airflow-") as name,
        moto_server() as address,
        servers.postgres() as warehouse,
    ):
        folder = Path(name)
        keys = {"aws_access_key_id": "t", "aws_secret_access_key": "t", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=address, **keys)
        client.create_bucket(Bucket="bucket")
        upload(client, folder / "store")
        catalog = folder / "catalog.toml"
        catalog.write_text(CATALOG)
        connection = {
            "conn_type": "aws",
            "login": "t",
            "password": "t",
            "extra": {"endpoint_url": address, "region_name": "us-east-1"},
        }
        settings = {
            "VORTEX_LOADER_STORE": "s3://bucket/clickstream",
            "VORTEX_LOADER_ENDPOINT_URL": address,
            "VORTEX_LOADER_WAREHOUSE": warehouse,
            "VORTEX_LOADER_CATALOG": str(catalog),
            "VORTEX_LOADER_RETRY_S": "1",
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
            "AWS_ACCESS_KEY_ID": "t",
            "AWS_SECRET_ACCESS_KEY": "t",
            "AWS_DEFAULT_REGION": "us-east-1",
            "PGOPTIONS": "-c lock_timeout=3s",
        }
        airflow = Airflow(Path(sys.argv[1]), folder / "airflow", settings)
        scenario(airflow, warehouse, catalog)
        customers_come_and_go(airflow, catalog)
    print("Airflow: all runs are as they should be")


if __name__ == "__main__":
    main()
