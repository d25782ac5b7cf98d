"""From settings to adapters; shared by the service and the one-off commands."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

from botocore.exceptions import NoRegionError

from vortex.adapters.dynamodb import DynamoTable, open_dynamo_table
from vortex.adapters.kinesis import open_kinesis_stream, region_of
from vortex.adapters.localdir import LocalDirStore
from vortex.adapters.s3 import open_s3_store
from vortex.config import ConfigError, Settings, parse_instant
from vortex.core.model import Start
from vortex.ports import ObjectStore, Stream
from vortex.start import FirstStart


@contextlib.contextmanager
def _region_said() -> Iterator[None]:
    """Raises ConfigError, which names the key, where no region is known for a client."""
    try:
        yield
    except NoRegionError:
        raise ConfigError(
            "source.region (or VORTEX_SOURCE__REGION, or AWS_REGION): no AWS region is set; or give the stream's ARN"
        ) from None


@contextlib.asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[ObjectStore]:
    """The store that `store.url` names."""
    store = settings.store
    if store.url.startswith("file://"):
        yield LocalDirStore(Path(unquote(urlparse(store.url).path)))
        return
    async with open_s3_store(
        store.url,
        region=store.region or settings.source.region,
        endpoint_url=store.endpoint_url,
        server_side_encryption=store.server_side_encryption,
        kms_key_id=store.kms_key_id,
        expected_bucket_owner=store.expected_bucket_owner,
        request_checksum_calculation=store.request_checksum_calculation,
    ) as opened:
        yield opened


@contextlib.asynccontextmanager
async def open_stream(settings: Settings) -> AsyncIterator[Stream]:
    """The stream that `[source]` names."""
    source = settings.source
    with _region_said():
        async with open_kinesis_stream(source.stream, source.region, source.endpoint_url) as stream:
            yield stream


def table_name(settings: Settings) -> str:
    """The lease table's; a stream that is given by its ARN counts by its name."""
    return settings.coordination.table or f"vortex-{settings.source.stream.rpartition('/')[2]}"


@contextlib.asynccontextmanager
async def open_lease_table(settings: Settings) -> AsyncIterator[DynamoTable]:
    """The table that `[coordination]` names, which may not exist yet: `ensure` makes it."""
    coordination = settings.coordination
    async with open_dynamo_table(
        table_name(settings),
        region=coordination.region or settings.source.region or region_of(settings.source.stream),
        endpoint_url=coordination.endpoint_url,
    ) as table:
        yield table


def first_start(settings: Settings) -> FirstStart:
    """Where a stream that was never read begins."""
    start = settings.source.start
    if start == "trim_horizon":
        return FirstStart(Start.TRIM_HORIZON)
    if start == "latest":
        return FirstStart(Start.LATEST)
    return FirstStart(Start.AT_TIMESTAMP, parse_instant(start))
