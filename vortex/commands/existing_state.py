"""The state of a stream at `store.url`, or the message that it is not there."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from vortex.commands.event_files import FileError
from vortex.config.loading import ConfigError
from vortex.config.settings import Settings
from vortex.core.fleet.lease import Lease
from vortex.core.fleet.store_mark import mark_of
from vortex.core.layout import STATE
from vortex.core.log.rules import StreamState, stream_root
from vortex.core.model import StreamInfo
from vortex.exits import Exit
from vortex.log.store import LogStore
from vortex.lookup.rejections import BrokenRejection
from vortex.ports import ObjectStore, PortError, Stream
from vortex.retry import Once
from vortex.runtime.app import STOPS
from vortex.runtime.factories import table_name
from vortex.runtime.first_start import ForeignState, is_of_shards, refused_rows


class NoState(Exception):
    """The store has no state of the stream; `code` is the exit code of the command."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code


def exit_code(problem: BaseException) -> Exit | None:
    """The exit code for an error whose message is enough for the user; None for a bug."""
    if isinstance(problem, ConfigError):
        return Exit.CONFIG
    if isinstance(problem, FileError):
        return Exit.USAGE
    if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
        return Exit.FAILED  # of standard output: stores raise PortError
    if isinstance(problem, NoState):
        return problem.code
    if isinstance(problem, PortError):
        return Exit.UNREACHABLE
    return Exit.LOST_STATE if isinstance(problem, (ForeignState, BrokenRejection, *STOPS)) else None


async def streams_at(store: ObjectStore) -> list[str]:
    """The names of the streams whose state a store holds; a name occurs twice if its stream was recreated."""
    return [name.rpartition("@")[0] async for name in store.list_folders(f"{STATE}/") if "@" in name]


def foreign(names: Sequence[str], stream: str) -> str:
    """The message if other streams have their state there; empty if none has."""
    others = ", ".join(sorted({name for name in names if name != stream}))
    return f"holds the state of stream {others}, not of stream {stream}; check store.url" if others else ""


async def refused_leases(rows: Sequence[Lease], settings: Settings, stream: Stream, store: ObjectStore) -> str:
    """Why this store must not use the lease table with these rows; empty if it may."""
    info = await stream.describe()
    state = await LogStore(store, stream_root(info.name, info.created_ms), Once()).state()
    return refused_rows(rows, mark_of(table_name(settings), store.url, state), info.created_ms)


def none_yet(store: ObjectStore, stream: str) -> NoState:
    """The error where a store has state of no stream."""
    what = f"{store.url} holds no state of stream {stream}"
    return NoState(f"{what}; start it with `vortex run`, or check store.url", Exit.FAILED)


async def existing_state(
    store: ObjectStore, info: StreamInfo, stream: Stream | None = None
) -> tuple[LogStore, StreamState]:
    """The stream's log store and state. Raises NoState.

    With `stream`, its shards identify the state of another creation time: a worker's first start may have been told a
    wrong one.
    """
    log_store = LogStore(store, stream_root(info.name, info.created_ms), Once())
    state = await log_store.state()
    if state is not None:
        return log_store, state
    names = await streams_at(store)
    if message := foreign(names, info.name):
        raise NoState(f"{store.url} {message}", Exit.LOST_STATE)
    if names and stream is not None:
        shards = await stream.list_shards()
        async for name in store.list_folders(f"{STATE}/"):
            log_store = LogStore(store, f"{STATE}/{name}", Once())
            if "@" in name and (state := await log_store.state()) is not None and is_of_shards(state, shards):
                return log_store, state
    if names:
        what = f"{store.url} holds the state of an earlier stream {info.name}, which was deleted and created again"
        raise NoState(f"{what}; `vortex run` starts the new one", Exit.FAILED)
    raise none_yet(store, info.name)


async def newest_life(store: ObjectStore, stream: str) -> tuple[LogStore, StreamState]:
    """The logs and state of the stream's newest life, found without the stream itself. Raises NoState."""
    names = [name async for name in store.list_folders(f"{STATE}/") if "@" in name]
    lives = [name for name in names if name.rpartition("@")[0] == stream and name.rpartition("@")[2].isdecimal()]
    for name in sorted(lives, key=lambda name: -int(name.rpartition("@")[2])):
        log_store = LogStore(store, f"{STATE}/{name}", Once())
        state = await log_store.state()
        if state is not None:
            return log_store, state
    if message := foreign([name.rpartition("@")[0] for name in names], stream):
        raise NoState(f"{store.url} {message}", Exit.LOST_STATE)
    raise none_yet(store, stream)
