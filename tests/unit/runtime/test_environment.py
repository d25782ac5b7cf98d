"""What publisher and ingest take from the settings."""

from __future__ import annotations

from typing import Any

import pytest

from simulation import vtime
from tests.loops import World
from vortex.config.settings import Settings
from vortex.core.memory import MIB, AutoLimit, room_bytes
from vortex.core.publish.bundles import BUNDLE_BYTES
from vortex.runtime.environment import memory_limit, publish_rules, too_little_memory


def settings_with(**sections: dict[str, Any]) -> Settings:
    needed = {"source": {"stream": "s"}, "event": dict.fromkeys(("customer", "type", "id", "time"), "x")}
    return Settings.model_validate({**needed, "store": {"url": "file:///nowhere"}, **sections})


@pytest.mark.parametrize(
    ("sections", "shards", "mebibytes"),
    [
        ({}, 1, 256),
        ({}, 10, 640),
        ({"commit": {"max_bytes": "1MiB"}}, 500, 500),
        ({"commit": {"max_bytes": "1GiB", "every": "2m"}}, 10, 10 * 120 * 1_150_000 / MIB),
        ({"commit": {"every": "1h", "max_bytes": "5GiB"}}, 1, 300 * 1_150_000 / MIB),
        ({"publish": {"preset": "fast"}}, 50, 256),
        ({"memory": {"limit": "1MiB"}}, 1, 1),
        ({"memory": {"limit": "9TiB"}}, 1000, 9 * MIB),
        ({"memory": {"limit": "auto", "keys": "5GiB"}}, 100, (6144 - 150 - 80 - 5120 - 400) - 96),
    ],
)
def test_limit_of_memory_is_the_setting_or_follows_what_shards_gather_between_two_commits(
    sections: dict[str, dict[str, Any]], shards: int, mebibytes: float
) -> None:
    """As far as 6 GiB go; a period ends with a commit, too."""
    expected = max(mebibytes, 256) if sections.get("memory", {}).get("limit", "auto") == "auto" else mebibytes
    assert memory_limit(settings_with(**sections), 6144 * MIB)(shards, shards) == int(expected * MIB)


@pytest.mark.parametrize(
    ("memory", "needed"),
    [
        ({}, 1094),
        ({"limit": "512MiB"}, 512 + 128 + 742),
        ({"limit": "64MiB", "keys": "64MiB"}, 64 + 96 + 64 + 230),
    ],
)
def test_memory_is_too_little_when_the_process_may_use_less_than_it_may_need(
    memory: dict[str, str], needed: int
) -> None:
    """The sentence names both figures and the settings."""
    settings = settings_with(memory=memory)
    said = too_little_memory(settings, needed * MIB - 1)
    assert f"may use {needed - 1:,} MiB here, and may need {needed:,} MiB" in said
    assert "memory.limit and memory.keys" in said
    assert too_little_memory(settings, needed * MIB) == ""


@pytest.mark.parametrize(("shards", "mebibytes"), [(0, 96), (8, 96), (12, 96), (24, 192), (50, 400), (100, 432)])
def test_room_for_large_work_follows_half_of_a_limit_that_follows_the_shards(shards: int, mebibytes: int) -> None:
    """So a worker with eight shards publishes within as little memory as one with four."""

    async def scenario() -> None:
        env = World(limit_of=AutoLimit(64 * MIB, 512 * MIB, usable=16 * 1024 * MIB)).environment()
        for shard in range(shards):
            env.memory.at_tip(str(shard))
        assert env.room.limit == mebibytes * MIB <= room_bytes(env.memory.limit)

    vtime.run(scenario())


@pytest.mark.parametrize(
    ("small", "target", "bundle"),
    [
        ("0", "8MiB", 0),
        ("64KiB", "8MiB", 64 * 1024),
        ("1GiB", "8MiB", 8 * 1024 * 1024),
        ("1GiB", "1GiB", BUNDLE_BYTES),
    ],
)
def test_publish_rules_bundle_what_is_below_layout_small_and_never_what_fills_an_object_or_a_bundle(
    small: str, target: str, bundle: int
) -> None:
    settings = settings_with(layout={"small": small}, publish={"target_object_size": target})
    assert publish_rules(settings).bundle == bundle
