"""Airflow 3: a DAG for each customer of the catalogue, a task for each event type of each closed hour.

Nothing here names a customer or an event. The catalogue does; a customer that is added there has a DAG, and one that is
removed has none, when Airflow next reads this file. See README.md beside it for what to set.
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.sdk import CronDataIntervalTimetable, dag, get_current_context, task

from vortex_loader.catalog import Catalog
from vortex_loader.model import LoaderError, parse_hour
from vortex_loader.names import own_identifier
from vortex_loader.sources import catalog_source
from vortex_loader.status import status
from vortex_loader.store import Store, open_store
from vortex_loader.warehouse import connect
from vortex_loader.warehouse.load import load as load_partition

STORE = os.environ["VORTEX_LOADER_STORE"]  # s3://bucket/prefix
WAREHOUSE = os.environ["VORTEX_LOADER_WAREHOUSE"]
CATALOG = os.environ["VORTEX_LOADER_CATALOG"]
ENDPOINT = os.environ.get("VORTEX_LOADER_ENDPOINT_URL")
FIRST_HOUR = datetime.fromisoformat(os.environ.get("VORTEX_LOADER_FIRST_HOUR", "2026-01-01T00:00:00+00:00"))
POOL = os.environ.get("VORTEX_LOADER_POOL", "default_pool")
SALT = os.environ.get("VORTEX_LOADER_HASH_SALT", "")
RETRY_S = float(os.environ.get("VORTEX_LOADER_RETRY_S", "60"))
AT_A_TIME = 4
"""Tasks of one customer that run at once: a huge customer leaves the pool to the others."""

BUCKET, _, PREFIX = STORE.removeprefix("s3://").partition("/")
DAY_AND_HOUR = "date={{ data_interval_start.strftime('%Y-%m-%d') }}/hour={{ data_interval_start.strftime('%H') }}"
HOUR = "{{ data_interval_start.strftime('%Y-%m-%dT%H') }}"


def catalog() -> Catalog:
    """As it is now; the last good copy where its address does not answer."""
    return catalog_source(CATALOG, endpoint_url=ENDPOINT).read().catalog


def store() -> Store:
    """What Vortex has published."""
    return open_store(STORE, endpoint_url=ENDPOINT)


def loading(customer: str) -> Any:
    """The DAG of one customer."""

    @dag(
        dag_id=f"vortex_{own_identifier(customer)}",
        description=f"The closed hours of {customer}",
        # A plain cron string is a trigger in Airflow 3: its run would begin an hour before the hour can close.
        schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
        start_date=FIRST_HOUR,
        catchup=True,
        max_active_runs=8,
        max_active_tasks=AT_A_TIME,
        tags=["vortex"],
        default_args={
            "pool": POOL,
            "retries": 5,
            "retry_delay": timedelta(seconds=RETRY_S),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=30),
        },
    )
    def hours() -> None:
        # One exact key: one HEAD a poke, in the triggerer, so that no worker waits.
        closed = S3KeySensor(
            task_id="hour_is_closed",
            bucket_name=BUCKET,
            bucket_key=f"{PREFIX}/_hours/{DAY_AND_HOUR}/manifest.json".lstrip("/"),
            deferrable=True,
            poke_interval=30,
            timeout=timedelta(days=2).total_seconds(),
        )

        @task
        def plan(hour: str) -> list[str]:
            """The event types of the hour that the catalogue asks for."""
            wanted = catalog().wanted
            partitions = store().hour(parse_hour(hour)).partitions
            return [
                one.event_type for one in partitions if one.customer == customer and wanted(customer, one.event_type)
            ]

        @task(map_index_template="{{ event_type }}")
        def load(event_type: str, hour: str) -> int:
            """One partition, in one transaction; loading it again changes nothing."""
            context = get_current_context()
            context["event_type"] = event_type  # type: ignore[typeddict-unknown-key]
            partitions = store().hour(parse_hour(hour)).partitions
            (partition,) = (one for one in partitions if (one.customer, one.event_type) == (customer, event_type))
            target = catalog().target(customer, event_type)
            with contextlib.closing(connect(WAREHOUSE)) as warehouse:
                done = load_partition(warehouse, store(), partition, target, run_id=context["run_id"], salt=SALT)
                return done.rows

        @task(trigger_rule="none_failed")
        def audit(hour: str) -> dict[str, int]:
            """What the manifests say is in the warehouse."""
            with contextlib.closing(connect(WAREHOUSE)) as warehouse:
                found = status(store(), catalog(), warehouse, [parse_hour(hour)])
            missing = [one.name for one in found.waiting if one.customer == customer]
            if missing:
                raise LoaderError(f"closed, asked for, and not loaded: {', '.join(missing)}")
            left = {kind: rows for (whose, kind), rows in found.left.items() if whose == customer}
            if left:
                print(f"seen, and not in the catalogue: {left}")
            return left

        types = plan(HOUR)
        closed >> types
        load.partial(hour=HOUR).expand(event_type=types) >> audit(HOUR)

    return hours()


for name in catalog().customers():
    globals()[f"vortex_{own_identifier(name)}"] = loading(name)
