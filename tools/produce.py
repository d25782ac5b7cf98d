"""Puts sample events on a stream until it is stopped; makes the stream and the bucket where they are missing.

For deploy/compose and `make up`. The events' times lie so far back that an hour of theirs ends soon, and can be loaded.
boto3 finds the emulator by AWS_ENDPOINT_URL: nothing is put anywhere else.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from vortex.commands.demo_traffic import traffic

_SPREAD_S = 20
_FIRST_HOUR_S = 60
"""After this time an hour of the events is over."""
_SOON = (ConnectionError, HTTPClientError)
"""The emulator is starting."""


def made(stream: str, shards: int, bucket: str) -> Any:
    """The stream and the bucket are there; a client of Kinesis."""
    kinesis, s3 = boto3.client("kinesis"), boto3.client("s3")
    while True:
        try:
            with contextlib.suppress(kinesis.exceptions.ResourceInUseException):
                kinesis.create_stream(StreamName=stream, ShardCount=shards)
            with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
                s3.create_bucket(Bucket=bucket)
            return kinesis
        except _SOON:
            time.sleep(0.5)  # another process: there is nothing to await


def produce(kinesis: Any, stream: str, rate: int, shift: timedelta) -> None:
    """About `rate` events a second, without end: some twice, some broken; their times lie `shift` back."""
    while True:
        begin = time.monotonic()
        puts = list(traffic(rate, time.time_ns(), datetime.now(UTC) - shift, _SPREAD_S))
        try:
            kinesis.put_records(
                StreamName=stream, Records=[{"Data": put.data, "PartitionKey": put.key} for put in puts]
            )
        except (ClientError, *_SOON) as problem:
            print(problem, file=sys.stderr, flush=True)
        time.sleep(max(0.0, begin + 1 - time.monotonic()))


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stream", default="clickstream")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--bucket", default="vortex")
    parser.add_argument("--rate", type=int, default=50, help="events a second, at most 500")
    parser.add_argument("--ready", type=Path, help="is written once stream and bucket are there: the workers' lateness")
    options = parser.parse_args()
    if "AWS_ENDPOINT_URL" not in os.environ:
        parser.error("AWS_ENDPOINT_URL must name the emulator")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    kinesis = made(options.stream, options.shards, options.bucket)
    shift = time.time() % 3600 + _FIRST_HOUR_S
    if options.ready:
        begun = options.ready.with_suffix(".tmp")
        begun.write_text(f"export VORTEX_HOURS__ALLOWED_LATENESS={shift + 2 * _SPREAD_S:.0f}s\n")
        begun.rename(options.ready)
    produce(kinesis, options.stream, options.rate, timedelta(seconds=shift))


if __name__ == "__main__":
    main()
