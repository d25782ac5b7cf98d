"""What every fleet is to those who run it: it decides which shards run in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vortex.core.fleet.balance import Roster
from vortex.core.log.rules import BrokenLog
from vortex.core.log.segment import CorruptSegment, Footer, OtherVersion
from vortex.ingest.worker import ShardWorker
from vortex.ports import InvalidPosition

GIVE_UP = (BrokenLog, CorruptSegment, OtherVersion, InvalidPosition)
"""What makes a worker give up its shard: it needs operator action, and the other shards go on meanwhile."""


class Fleet(Protocol):
    """Runs the shards that are this process's."""

    @property
    def alone(self) -> bool:
        """Whether this process has every shard, whatever happens."""
        ...

    @property
    def workers(self) -> Mapping[str, ShardWorker]:
        """Those that run now, by shard."""
        ...

    @property
    def given_up(self) -> Mapping[str, str]:
        """Why shards were given up: they need operator action."""
        ...

    @property
    def roster(self) -> Roster:
        """The workers that there are, and this one's place among them."""
        ...

    async def run(self) -> None:
        """Until all shards are committed after `stop`, or have ended."""
        ...

    def stop(self) -> None:
        """Begin nothing more; commit and stop every shard."""
        ...

    def committed(self, footer: Footer) -> None:
        """One of the workers has committed."""
        ...


class Draining(Protocol):
    """A fleet that reads every shard to its tip, and ends there."""

    async def at_tip(self) -> None:
        """Wait until every live shard has been read to its tip and waits for `finish`."""
        ...

    def finish(self, closed_before: int) -> None:
        """Let the workers write their last segment, closing what lies before `closed_before`."""
        ...
