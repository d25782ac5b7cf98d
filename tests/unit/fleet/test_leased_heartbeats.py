"""One heartbeat a worker: leases live as long as any lease of their owner is renewed, and free up with the worker."""

from __future__ import annotations

import pytest

from tests import heartbeat_stories as stories
from tests.leased_fleet import scenario

STORIES = (
    stories.rest,
    stories.older_joins,
    stories.newer_joins,
    stories.another_joins,
    stories.one_dies,
    stories.cut_off,
    stories.unknown_lease,
    stories.shard_ends,
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_fleet_keeps_live_leases_and_takes_free_ones(story: stories.Story) -> None:
    """Each story says what holds."""
    scenario(story())
