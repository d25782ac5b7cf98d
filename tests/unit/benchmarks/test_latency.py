"""The preset for files within seconds, by a small form of `python -m benchmarks.latency`."""

from __future__ import annotations

import pytest

from benchmarks.latency import CASES, measured


@pytest.mark.parametrize("rate", [20.0, 0.5], ids=["busy", "quiet"])
def test_events_are_visible_within_twelve_seconds_with_the_fast_preset(rate: float) -> None:
    """On 16 shards, 99 of 100 events, also where most shards are idle: those wait for a margin of five seconds."""
    sections, _ = CASES['publish.preset = "fast"']
    found = measured(sections, rate, 60)
    assert len(found.seconds) > 30 * rate
    assert found.percentile(99) <= 12.0
    assert 40 < found.dollars["PUT segments"] < 60
