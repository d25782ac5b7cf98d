"""The first start of a stream: its fixed state, and the remaining data of an earlier stream of the same name."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from vortex.config.environment import variable
from vortex.config.loading import ConfigError
from vortex.core.fleet.kcl_migration import inherited
from vortex.core.fleet.lease import Lease, of_earlier_stream
from vortex.core.fleet.store_mark import ForeignTable, StoreMark, mark_of
from vortex.core.layout import STATE, hour_of, moment
from vortex.core.log.rules import RootStart, StreamState, stream_root
from vortex.core.model import HOUR_MS, Position, ShardInfo, Start, StreamInfo
from vortex.core.periods import EARLIEST_MS
from vortex.core.wording import counted
from vortex.log.store import LogStore
from vortex.ports import ObjectStore, Stream
from vortex.publish.publisher import Publisher
from vortex.retry import Retry

log = logging.getLogger(__name__)

_DIGITS = 40
"""Minimum digits of a sequence number of Kinesis; they have 56."""


class ForeignState(Exception):
    """The store belongs to another stream, or to a later one of this name; the message says what to do."""


@dataclass(frozen=True, slots=True)
class FirstStart:
    """The start position (`source.start`): a Kinesis iterator type, and epoch milliseconds for AT_TIMESTAMP."""

    kind: Start
    at_ms: int = 0


def roots_of(shards: list[ShardInfo]) -> list[ShardInfo]:
    """The shards without a listed parent: their hash ranges cover the key space exactly once."""
    listed = {shard.id for shard in shards}
    return [shard for shard in shards if not listed & set(shard.parents)]


def _refuse_ahead(start: FirstStart, server_ms: int) -> None:
    """Raises ConfigError for a start in the future: the state would close all hours before it, for good."""
    if start.kind is Start.AT_TIMESTAMP and start.at_ms > server_ms:
        raise ConfigError(
            f"source.start (or {variable('source', 'start')}): {moment(start.at_ms):%FT%TZ} is in the future; write a "
            'time in the past, "latest" or "trim_horizon"'
        )


def first_state(
    info: StreamInfo,
    shards: list[ShardInfo],
    start: FirstStart,
    *,
    server_ms: int,
    lateness_ms: int,
    seed: int,
    leases: Sequence[Lease] = (),
) -> StreamState:
    """The content of `stream.json`. `latest` becomes the service's current time, since LATEST differs at each read.

    If `leases` describe the stream's shards, they override `start`.
    """
    created_ms = min(info.created_ms or server_ms, server_ms)  # a wrong reply must not close hours to come
    oldest = max(created_ms, server_ms - info.retention_ms)
    if start.kind is Start.TRIM_HORIZON:
        position, begins = Position(Start.TRIM_HORIZON), oldest
    else:
        begins = server_ms if start.kind is Start.LATEST else start.at_ms
        position = Position(Start.AT_TIMESTAMP, str(begins))
    roots = inherited(shards, leases, otherwise=position, now_ms=server_ms)
    if roots:
        begins = min(begins, oldest)  # a checkpoint has no time, so the next record may be the oldest
    else:
        roots = tuple(RootStart(shard, position) for shard in roots_of(shards))
        if leases:
            log.warning("no row of the lease table (%d) matches the current shards of this stream", len(leases))
    return StreamState(
        stream=info.name,
        arn=info.arn,
        created=info.created_ms,
        roots=roots,
        closed_before=hour_of(max(begins - lateness_ms, EARLIEST_MS)),
        first_hour=hour_of(max(server_ms, oldest)),
        seed=seed,
    )


async def load_or_create_state(
    stream: Stream,
    store: ObjectStore,
    retry: Retry,
    start: FirstStart,
    *,
    lateness_ms: int,
    seed: int,
    older: Callable[[StreamState, LogStore], Publisher],
    leases: Callable[[], Awaitable[list[Lease]]] | None = None,
    table: str = "",
) -> tuple[StreamState, LogStore]:
    """The stream's state and log store, created at the first start. Raises ForeignState, ForeignTable, ConfigError.

    `leases` are the rows of the lease table, if there is one, and `table` is its name: if they match, its checkpoints
    say where to start.
    """
    info = await retry("describe stream", stream.describe)
    root = stream_root(info.name, info.created_ms)
    log_store = LogStore(store, root, retry)
    if (state := await log_store.state()) is not None:
        return state, log_store
    server = await retry("server time", stream.server_time)  # first: this makes sure that the clocks agree
    _refuse_ahead(start, server)
    shards = await retry("list shards", stream.list_shards)
    earlier = await _earlier(store, retry, info, root)
    for known, its_log_store in earlier:
        if is_of_shards(known, shards):
            log.warning(
                "stream %s is described as created at %s, but its shards are those of %s: continuing with that state. "
                "One of the two replies was wrong",
                info.name,
                f"{moment(info.created_ms):%FT%TZ}",
                its_log_store.root,
            )
            return known, its_log_store
    published = await _publish_earlier(store, info, earlier, older)
    # Rows of an earlier stream have the same shard ids, but say nothing about this one.
    rows: list[Lease] = []
    if leases is not None and published is None:
        rows = await retry.of("lease table")("read leases", leases)
    found = [lease for lease in rows if not of_earlier_stream(lease, info.created_ms)]
    if refusal := refused_rows(rows, mark_of(table, store.url, None), info.created_ms):
        if (state := await log_store.state()) is not None:
            return state, log_store  # another worker of this store made both meanwhile
        raise ForeignTable(refusal)
    state = first_state(info, shards, start, server_ms=server, lateness_ms=lateness_ms, seed=seed, leases=found)
    if published is not None and published > state.closed_before:
        # An earlier stream has published below this bound; those keys are never written again.
        closed_before = -(-published // HOUR_MS) * HOUR_MS if published % HOUR_MS else published
        state = _reopened(state, closed_before)
    log.info("first start of stream %s: %s, %s", info.name, counted(len(state.roots), "root shard"), start.kind)
    inherited_roots = [root for root in state.roots if root.position.by_record]
    if inherited_roots:
        log.info("%d of them start at the checkpoints of a KCL application", len(inherited_roots))
    return await log_store.begin(state), log_store


def refused_rows(rows: Sequence[Lease], mark: StoreMark, created: int) -> str:
    """Why the store of `mark` must not use the lease table with these rows for the stream that was `created` then.

    Rows of an earlier stream of this name do not count, unless they serve another store: that may be another stream's.
    """
    return mark.refusal(
        row
        for row in rows
        if not of_earlier_stream(row, created) or (row.store and row.store.partition(" ")[2] != mark.url)
    )


def _reopened(state: StreamState, closed_before: int) -> StreamState:
    return StreamState(
        stream=state.stream,
        arn=state.arn,
        created=state.created,
        roots=state.roots,
        closed_before=closed_before,
        first_hour=max(state.first_hour, closed_before),
        seed=state.seed,
    )


def is_of_shards(state: StreamState, shards: Sequence[ShardInfo]) -> bool:
    """Whether the state is that of the stream with these shards.

    A recreated stream reuses shard ids, but not sequence numbers, which contain the time. A short number is none of
    Kinesis: emulators count from the beginning.
    """
    first = {shard.id: shard.start_sequence for shard in shards if len(shard.start_sequence) >= _DIGITS}
    return any(first.get(root.shard.id) == root.shard.start_sequence for root in state.roots)


async def _earlier(store: ObjectStore, retry: Retry, info: StreamInfo, root: str) -> list[tuple[StreamState, LogStore]]:
    """The other states of streams of this name. Raises ForeignState if there are those of another name."""

    async def folders() -> list[str]:
        return [name async for name in store.list_folders(f"{STATE}/")]

    found = []
    for name in await retry.of("store")(f"list {STATE}/", folders):
        if "@" not in name or f"{STATE}/{name}" == root:
            continue
        if name.rpartition("@")[0] != info.name:
            raise ForeignState(
                f"{store.url} holds the state of stream {name!r}, not of stream {info.name!r}. Two streams in one "
                "prefix would share keys and manifests; give each its own prefix in store.url"
            )
        log_store = LogStore(store, f"{STATE}/{name}", retry)
        if (state := await log_store.state()) is not None:
            found.append((state, log_store))
    return found


async def _publish_earlier(
    store: ObjectStore,
    info: StreamInfo,
    earlier: Sequence[tuple[StreamState, LogStore]],
    older: Callable[[StreamState, LogStore], Publisher],
) -> int | None:
    """Publish the remaining data of earlier streams of this name. Returns the end of what they published, or None."""
    upto: int | None = None
    for state, log_store in earlier:
        if state.created > info.created_ms:
            raise ForeignState(
                f"stream {info.name} was created at {moment(info.created_ms):%FT%TZ}, but {store.url} holds its state "
                f"from {moment(state.created):%FT%TZ}, which is later; check the AWS account and source.endpoint_url"
            )
        log.warning(
            "stream %s was deleted and created again: publishing what the earlier one left in %s",
            info.name,
            log_store.root,
        )
        ended = await older(state, log_store).finish()
        upto = ended if upto is None else max(upto, ended)
    return upto
