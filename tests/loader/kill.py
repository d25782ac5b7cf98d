"""`python -m tests.loader.kill --rounds 30`: loaders killed with SIGKILL at random moments, then loaded again.

After each kill a partition is loaded as a whole or not at all, and the audit says which. After the next load every
count equals the manifests'. Every second round kills a loader that replaces what is there (`--force`).
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.loader import servers
from tests.loader.stores import hour, page, publish
from vortex_loader.catalog import Catalog, Document
from vortex_loader.model import hour_text, hours_between
from vortex_loader.status import status
from vortex_loader.store import open_store
from vortex_loader.warehouse import connect
from vortex_loader.warehouse.base import qualified
from vortex_loader.warehouse.registry import audits

CUSTOMERS = ("acme", "wayne/retail", "wayne_retail")
TYPES = ("page", "Product Viewed", "product_viewed", "Order Completed")
HOURS, ROWS = 2, 400
CATALOG = 'customers = "all"\n'


class Round:
    """A store with closed hours, and one warehouse."""

    def __init__(self, folder: Path, warehouse: str) -> None:
        self.store, self.catalog, self.warehouse = folder / "store", folder / "catalog.toml", warehouse
        self.catalog.write_text(CATALOG)

    def command(self, *more: str) -> list[str]:
        """Loads all hours."""
        places = ["--store", str(self.store), "--warehouse", self.warehouse, "--catalog", str(self.catalog)]
        span = ["--from", hour_text(hour(0)), "--to", hour_text(hour(HOURS))]
        return [sys.executable, "-m", "vortex_loader", "backfill", *places, *span, *more]

    def load(self, *more: str) -> float:
        """To the end; how long that took."""
        begun = time.monotonic()
        subprocess.run(self.command(*more), check=True, stdout=subprocess.DEVNULL, timeout=300)
        return time.monotonic() - begun

    def kill(self, after: float, *more: str) -> bool:
        """Killed after so many seconds; whether it was still at work."""
        process = subprocess.Popen(self.command(*more), stdout=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        alive = process.poll() is None
        process.kill()
        process.wait()
        return alive

    def loaded(self) -> int:
        """How many partitions are loaded. AssertionError where one is so in part, or the audit says otherwise."""
        catalog = Catalog(Document(customers="all"))
        store = open_store(str(self.store))
        partitions = 0
        with contextlib.closing(connect(self.warehouse)) as warehouse:
            if self.warehouse.startswith("postgres"):
                _settled(warehouse.run)
            found = status(store, catalog, warehouse, hours_between(hour(0), hour(HOURS)))
            for (customer, kind), (table, _) in found.tables.items():
                schema, _, name = table.partition(".")
                rows = warehouse.run(f"SELECT _hour::varchar, count(*) FROM {qualified(schema, name)} GROUP BY 1")
                audited = audits(warehouse, schema, f"table_name = '{name}'")
                assert sorted(count for _, count in rows) == sorted(row.rows for row in audited), (customer, kind)
                assert {count for _, count in rows} == {ROWS}, (customer, kind, rows)
                partitions += len(rows)
            assert sum(one.loaded for one in found.hours) == partitions * ROWS
        return partitions


def _settled(run: object) -> None:
    """Waits until the server has noticed that the killed loader is gone."""
    for _ in range(600):
        ((others,),) = run(  # type: ignore[operator]
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        if not others:
            return
        time.sleep(0.05)  # another program's doing: there is nothing to await
    raise AssertionError("the killed loader's connections stay")


@contextlib.contextmanager
def warehouses(kind: str, folder: Path) -> Iterator[Iterator[str]]:
    """New ones, as many as are asked for."""
    if kind == "duckdb":
        yield (str(folder / f"{n}.duckdb") for n in range(10**6))
        return
    import psycopg

    with servers.postgres() as address, psycopg.connect(address, autocommit=True) as connection:

        def made() -> Iterator[str]:
            for n in range(10**6):
                connection.execute(f"CREATE DATABASE round_{n}".encode())
                yield address.rpartition("/")[0] + f"/round_{n}"

        yield made()


def rounds(kind: str, count: int, seed: int) -> int:
    """Kills until `count` of them have met a loader at work; how many it took."""
    rng = Random(seed)
    whole, met = len(CUSTOMERS) * len(TYPES) * HOURS, 0
    with tempfile.TemporaryDirectory(prefix="vortex-kill-") as name, warehouses(kind, Path(name)) as fresh:
        folder = Path(name)
        events = [page(n) for n in range(ROWS)]
        for n in range(HOURS):
            publish(folder / "store", hour(n), {(customer, kind_): events for customer in CUSTOMERS for kind_ in TYPES})
        now = Round(folder, next(fresh))
        takes = now.load()
        number = 0
        while met < count:
            replacing = number % 2 == 1
            if not replacing:
                now = Round(folder, next(fresh))
            more = ("--force",) if replacing else ()
            at_work = now.kill(rng.uniform(0.2 * takes, takes), *more)
            met += at_work
            if not at_work:
                takes *= 0.85  # the machine has become faster
            after = now.loaded()
            assert not replacing or after == whole, "a partition that was loaded is gone"
            now.load(*(more if number % 4 == 3 else ()))
            assert now.loaded() == whole
            moment = "at work" if at_work else "too late"
            print(f"{kind} {number}: killed {moment}, {after} of {whole} partitions loaded; then all", flush=True)
            number += 1
    return number


def main() -> None:
    """Exit code 1 at the first count that is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--warehouse", choices=["duckdb", "postgres"], action="append")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for kind in arguments.warehouse or ("duckdb", "postgres"):
        kills = rounds(kind, arguments.rounds, arguments.seed)
        print(f"{kind}: {kills} kills, {arguments.rounds} at work: every count equals the manifests'", flush=True)


if __name__ == "__main__":
    main()
