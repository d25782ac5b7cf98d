"""Whether a stream's state lies where `store.url` points; what is said where it does not."""

from __future__ import annotations

from collections.abc import Sequence

from vortex.config.loading import ConfigError
from vortex.core.layout import STATE
from vortex.core.log.rules import StreamState, stream_root
from vortex.core.model import StreamInfo
from vortex.exits import Exit
from vortex.log.store import LogStore
from vortex.ports import ObjectStore, PortError
from vortex.retry import Once
from vortex.runtime.app import STOPS
from vortex.runtime.first_start import ForeignState


class NoState(Exception):
    """Nothing of the stream lies there; `code` is what a command ends with."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code


def meaning(problem: BaseException) -> Exit | None:
    """The code with which a command ends on an error whose message says all there is to say; None for a bug."""
    if isinstance(problem, ConfigError):
        return Exit.CONFIG
    if isinstance(problem, NoState):
        return problem.code
    if isinstance(problem, PortError):
        return Exit.UNREACHABLE
    return Exit.LOST_STATE if isinstance(problem, (ForeignState, *STOPS)) else None


async def streams_at(store: ObjectStore) -> list[str]:
    """The names of the streams whose state a store holds, one for each life of a stream."""
    return [name.rpartition("@")[0] async for name in store.list_folders(f"{STATE}/") if "@" in name]


def foreign(names: Sequence[str], stream: str) -> str:
    """What is said where other streams have their state there; empty where none has."""
    others = ", ".join(sorted({name for name in names if name != stream}))
    return f"holds the state of stream {others}, and this is stream {stream}: see store.url" if others else ""


async def begun(store: ObjectStore, info: StreamInfo) -> tuple[LogStore, StreamState]:
    """The stream's journal and state. Raises NoState."""
    log_store = LogStore(store, stream_root(info.name, info.created_ms), Once())
    state = await log_store.state()
    if state is not None:
        return log_store, state
    names = await streams_at(store)
    if told := foreign(names, info.name):
        raise NoState(f"{store.url} {told}", Exit.LOST_STATE)
    if names:
        what = f"{store.url} holds an earlier life of stream {info.name}, from before it was made anew"
        raise NoState(f"{what}; `vortex run` goes on above it", Exit.FAILED)
    what = f"{store.url} holds no state of stream {info.name}"
    raise NoState(f"{what}: it was never started there (`vortex run` begins it), or store.url is wrong", Exit.FAILED)
