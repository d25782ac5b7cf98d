"""Creates adapters from settings; shared by the service and the one-off commands."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

from botocore.exceptions import BotoCoreError, NoRegionError

from vortex import metrics
from vortex.adapters.aws import preflight as surroundings
from vortex.adapters.aws.client import Session, new_session
from vortex.adapters.disk.store import LocalDirStore
from vortex.adapters.dynamodb.table import DynamoTable, open_dynamo_table
from vortex.adapters.kinesis.put_records import open_kinesis_sink
from vortex.adapters.kinesis.stream import KinesisStream, open_kinesis_stream
from vortex.adapters.s3.store import open_s3_store
from vortex.config import places
from vortex.config.environment import variable
from vortex.config.loading import ConfigError
from vortex.config.settings import Settings
from vortex.config.values import parse_instant
from vortex.core.model import Start
from vortex.ports import Meter, ObjectStore, Sink
from vortex.runtime.first_start import FirstStart

T = TypeVar("T")


@contextlib.asynccontextmanager
async def _opened(opening: AbstractAsyncContextManager[T], section: str) -> AsyncIterator[T]:
    """Create a client. Raises ConfigError, one line that names the invalid setting or environment variable."""
    if problem := surroundings.fault():
        raise ConfigError(problem)
    async with contextlib.AsyncExitStack() as stack:
        try:
            made = await stack.enter_async_context(opening)
        except NoRegionError:
            raise ConfigError(
                f"{section}.region (or {variable(section, 'region')}, or AWS_REGION): no AWS region is set; set one"
                + (", or write the stream's ARN in source.stream" if section == "source" else "")
            ) from None
        except (BotoCoreError, ValueError, OSError) as wrong:
            raise ConfigError(f"[{section}]: {surroundings.blamed(wrong)}") from wrong
        yield made


def _region(*regions: str | None) -> str | None:
    """The first region that is set, else AWS_REGION, which botocore does not read, unlike other SDKs."""
    found = next((one for one in regions if one), None) or os.environ.get("AWS_REGION")
    try:
        return places.region(found, of_aws=False) if found else None
    except ValueError as problem:
        raise ConfigError(f"AWS_REGION: {problem}") from None


def _known(section: str, region: str | None, endpoint_url: str | None) -> None:
    """Raises ConfigError for a set region that AWS does not have, unless an endpoint is set."""
    if region and not endpoint_url and not surroundings.is_region(region):
        raise ConfigError(
            f"{section}.region (or {variable(section, 'region')}): unknown AWS region {region!r}; "
            "if it exists, set endpoint_url as well"
        )


def aws_session(settings: Settings) -> Session:
    """The session that all clients of a process share: credentials and the services' time. Makes no calls.

    Raises ConfigError.
    """
    source = settings.source
    session = new_session(_region(source.region, places.stream_region(source.stream)))
    try:
        session.sources.check()
    except (BotoCoreError, ValueError, OSError) as wrong:
        raise ConfigError(f"AWS credentials: {surroundings.blamed(wrong)}") from wrong
    return session


@contextlib.asynccontextmanager
async def open_store(
    settings: Settings, session: Session | None = None, meter: Meter | None = None
) -> AsyncIterator[ObjectStore]:
    """Open the store of `store.url`. `meter` counts its immediate retries."""

    def retried(cause: str) -> None:
        if meter is not None:
            meter.add(metrics.RETRIES, cause=cause)

    store = settings.store
    place = places.store_place(store.url)
    if isinstance(place, Path):
        if (encoding := sys.getfilesystemencoding()) != "utf-8":
            raise ConfigError(
                f"store.url (or {variable('store', 'url')}): names of files are {encoding} in this environment, and a "
                "store's are UTF-8; set PYTHONUTF8=1, or LANG=C.UTF-8"
            )
        yield LocalDirStore(place)
        return
    if place.region is None:
        _known("store" if store.region else "source", store.region or settings.source.region, store.endpoint_url)
    opening = open_s3_store(
        store.url,
        session=session or aws_session(settings),
        region=_region(store.region, place.region, settings.source.region),
        endpoint_url=store.endpoint_url,
        server_side_encryption=store.server_side_encryption,
        kms_key_id=store.kms_key_id,
        expected_bucket_owner=store.expected_bucket_owner,
        request_checksum_calculation=store.request_checksum_calculation,
        on_retry=retried,
    )
    async with _opened(opening, "store") as opened:
        yield opened


@contextlib.asynccontextmanager
async def open_stream(settings: Settings, session: Session | None = None) -> AsyncIterator[KinesisStream]:
    """Open the stream of `[source]`."""
    source = settings.source
    _known("source", source.region, source.endpoint_url)
    region = _region(source.region, places.stream_region(source.stream))
    session = session or aws_session(settings)
    opening = open_kinesis_stream(source.stream, region, source.endpoint_url, session=session)
    async with _opened(opening, "source") as stream:
        yield stream


@contextlib.asynccontextmanager
async def open_sink(settings: Settings, session: Session | None = None) -> AsyncIterator[Sink]:
    """Open the stream of `[source]` for writing."""
    source = settings.source
    _known("source", source.region, source.endpoint_url)
    region = _region(source.region, places.stream_region(source.stream))
    opening = open_kinesis_sink(source.stream, region, source.endpoint_url, session or aws_session(settings))
    async with _opened(opening, "source") as sink:
        yield sink


def stream_name(settings: Settings) -> str:
    """The name of the stream, also if the setting is an ARN."""
    return settings.source.stream.rpartition("/")[2]


def table_name(settings: Settings) -> str:
    """The name of the lease table."""
    return settings.coordination.table or f"vortex-{stream_name(settings)}"


@contextlib.asynccontextmanager
async def open_lease_table(settings: Settings, session: Session | None = None) -> AsyncIterator[DynamoTable]:
    """Open the lease table of `[coordination]`. It may not exist yet: `ensure` creates it."""
    coordination, source = settings.coordination, settings.source
    _known("coordination", coordination.region, coordination.endpoint_url)
    region = _region(coordination.region, source.region, places.stream_region(source.stream))
    opening = open_dynamo_table(
        table_name(settings),
        session=session or aws_session(settings),
        region=region,
        endpoint_url=coordination.endpoint_url,
    )
    async with _opened(opening, "coordination") as table:
        yield table


def first_start(settings: Settings) -> FirstStart:
    """The start position of a stream that was never read."""
    start = settings.source.start
    if start == "trim_horizon":
        return FirstStart(Start.TRIM_HORIZON)
    if start == "latest":
        return FirstStart(Start.LATEST)
    return FirstStart(Start.AT_TIMESTAMP, parse_instant(start))
