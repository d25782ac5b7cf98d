"""The stories of heartbeats find planted bugs: each breaks one rule by which a lease lives, ends or is handed over.

Simulated fleets have too few shards for that: a worker renews a lease of few often enough by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

import vortex.core.fleet.balance
import vortex.fleet.lease_holder
from tests import heartbeat_stories as stories
from tests.leased_fleet import scenario
from vortex.core.fleet.balance import STANDS, Seen
from vortex.fleet.leased import LeasedFleet


class Bug(NamedTuple):
    """A bug, and the story that fails with this message."""

    name: str
    plant: Callable[[], AbstractContextManager[Any]]
    story: stories.Story
    says: str


def _one_by_one() -> AbstractContextManager[Any]:
    return patch.object(vortex.fleet.lease_holder, "shown_life", lambda rows, failover_s: rows)


def _whatever_the_token() -> AbstractContextManager[Any]:
    return patch.object(vortex.core.fleet.balance, "beats_together", lambda lease: lease.owner is not None)


def _older_ones_not_minded() -> AbstractContextManager[Any]:
    return patch.object(vortex.fleet.lease_holder, "beat_alone", lambda *_: False)


def _alive_for_ever() -> AbstractContextManager[Any]:
    def alive(rows: list[Seen], failover_s: float) -> list[Seen]:
        return [one._replace(unchanged_for_s=0.0) if one.unchanged_for_s < STANDS * failover_s else one for one in rows]

    return patch.object(vortex.fleet.lease_holder, "shown_life", alive)


def _kept_unknown() -> AbstractContextManager[Any]:
    async def nothing(self: LeasedFleet, rows: Any) -> None:
        return

    return patch.object(LeasedFleet, "_give_back", nothing)


BUGS = (
    Bug("each lease judged by its own counter", _one_by_one, stories.rest, "a live lease was taken"),
    Bug("leases of any token beat together", _whatever_the_token, stories.older_joins, "an older worker finds"),
    Bug("older programs not minded", _older_ones_not_minded, stories.older_joins, "an older worker finds"),
    Bug("an owner that never dies", _alive_for_ever, stories.one_dies, "the shards of a dead worker are not read"),
    Bug("an unknown lease kept", _kept_unknown, stories.unknown_lease, "a shard is not read"),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_story_of_heartbeats_finds_the_planted_bug(bug: Bug) -> None:
    """With the expected message."""
    with bug.plant(), pytest.raises(AssertionError, match=bug.says):
        scenario(bug.story())
