"""The interface of a fleet, which decides which shards run in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vortex.core.fleet.balance import Roster
from vortex.core.log.rules import BrokenLog
from vortex.core.log.segment import Footer
from vortex.core.log.trailer import CorruptSegment, OtherVersion
from vortex.ingest.worker import ShardWorker
from vortex.ports import InvalidPosition

GIVE_UP = (BrokenLog, CorruptSegment, OtherVersion, InvalidPosition)
"""Errors that make a worker give up its shard: it needs operator action. The other shards continue."""


class Fleet(Protocol):
    """Runs the shards of this process."""

    @property
    def alone(self) -> bool:
        """Whether this process always runs every shard."""
        ...

    @property
    def workers(self) -> Mapping[str, ShardWorker]:
        """The running workers, by shard."""
        ...

    @property
    def given_up(self) -> Mapping[str, str]:
        """Why shards were given up: they need operator action."""
        ...

    @property
    def owners(self) -> Mapping[str, str]:
        """The live shards and their workers, as last seen in the lease table; empty without one."""
        ...

    @property
    def roster(self) -> Roster:
        """All workers, and this one's rank among them."""
        ...

    async def run(self) -> None:
        """Run until all shards are committed after `stop`, or have ended."""
        ...

    def stop(self) -> None:
        """Start no more shards; commit and stop every shard."""
        ...

    def committed(self, footer: Footer) -> None:
        """One of the workers has committed."""
        ...


class Draining(Protocol):
    """A fleet that reads every shard to its tip, and ends there."""

    async def at_tip(self) -> None:
        """Wait until every live shard is read to its tip and waits for `finish`."""
        ...

    def finish(self, closed_before: int) -> None:
        """Let the workers write their last segment and close the periods before `closed_before`."""
        ...
