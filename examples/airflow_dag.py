"""One DAG per customer: wait for the hour's manifest (one exact key, one HEAD), then COPY each partition by its own.

Needs apache-airflow-providers-amazon. The hour's manifest lists the partitions, so a customer without events in an hour
has nothing to load, and nothing is guessed from file names.
"""

import json
from datetime import datetime

from airflow.decorators import dag, task
from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor

BUCKET = "my-bucket"
PREFIX = "clickstream"
ROLE = "arn:aws:iam::123456789012:role/loader"
CUSTOMERS = ("acme", "globex")
HOUR = "date={{ data_interval_start.strftime('%Y-%m-%d') }}/hour={{ data_interval_start.strftime('%H') }}"


def load(customer: str):
    """The DAG of one customer."""

    @dag(dag_id=f"load_{customer}", schedule="@hourly", start_date=datetime(2026, 1, 1), catchup=True)
    def loading():
        closed = S3KeySensor(
            task_id="hour_is_closed",
            bucket_name=BUCKET,
            bucket_key=f"{PREFIX}/_hours/{HOUR}/manifest.json",
            mode="reschedule",
        )

        @task
        def copy(hour: str):
            manifest = json.loads(S3Hook().read_key(f"{PREFIX}/_hours/{hour}/manifest.json", BUCKET))
            for partition in manifest["partitions"]:
                if partition["customer"] == customer:
                    RedshiftSQLHook().run(
                        f"COPY events FROM 's3://{BUCKET}/{PREFIX}/{partition['manifest']}' "
                        f"IAM_ROLE '{ROLE}' MANIFEST GZIP FORMAT JSON 'auto'"
                    )

        closed >> copy(HOUR)

    return loading()


for name in CUSTOMERS:
    globals()[f"load_{name}"] = load(name)
