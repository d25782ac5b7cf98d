"""What the benchmark itself does in a store, over the protocol of S3."""

from __future__ import annotations

import boto3
from botocore.config import Config

_LOG = ("/shards/", "/stream.json")
"""Of the keys below the state's folder those of the logs, and of the stream they are of."""


def forget_published(url: str, bucket: str) -> None:
    """Leave the shard logs alone: no plan, no object, no manifest, as if nothing had been published yet."""
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
        config=Config(s3={"addressing_style": "path"}),
    )
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        keys = [each["Key"] for each in page.get("Contents", ())]
        gone = [{"Key": key} for key in keys if not (key.startswith("_vortex/") and any(part in key for part in _LOG))]
        if gone:
            client.delete_objects(Bucket=bucket, Delete={"Objects": gone})
