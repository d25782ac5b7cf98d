"""What `vortex plan` computes."""

from __future__ import annotations

import dataclasses

import pytest

from vortex.commands.sizing import MIB, Load, size

SMALL = Load(events=100, event_bytes=1000, shards=1, customers=10, types=10)
HUGE = Load(events=500_000, event_bytes=1000, shards=1000, customers=1000, types=20)


def dollars(load: Load, name: str) -> float:
    return next(cost.dollars for cost in size(load).costs if cost.name == name)


def test_sizing_gives_one_process_and_no_lease_table_when_the_stream_is_small() -> None:
    sizing = size(SMALL)
    assert sizing.processes == 1
    assert not [cost for cost in sizing.costs if "lease" in cost.name]


def test_sizing_matches_the_published_price_of_a_thousand_shards() -> None:
    """docs/how-to/size.md: heartbeats of 1,000 shards cost $492 a month, segments every 30 s $438."""
    assert dollars(HUGE, "lease heartbeats") == pytest.approx(492, rel=0.01)
    assert dollars(HUGE, "PUT segments") == pytest.approx(438, rel=0.01)


def test_sizing_grows_in_a_straight_line_with_the_load() -> None:
    """Twice the events, shards and customers: twice the cores and the requests of each kind."""
    twice = dataclasses.replace(HUGE, events=2 * HUGE.events, shards=2 * HUGE.shards, customers=2 * HUGE.customers)
    assert size(twice).cores == pytest.approx(2 * size(HUGE).cores)
    for one, two in zip(size(HUGE).costs, size(twice).costs, strict=True):
        bound = 4.1 if one.name == "lease table reads" else 2.01  # processes times rows
        assert two.count <= bound * one.count, one.name


def test_sizing_holds_the_window_in_memory() -> None:
    """20 bytes an id."""
    sizing = size(dataclasses.replace(SMALL, events=10_000, window=3600))
    assert sizing.keys >= 10_000 * 3600 * 20
    assert sizing.memory > sizing.keys + sizing.limit // sizing.processes + 256 * MIB


def test_sizing_counts_no_more_objects_than_events() -> None:
    """A thousand customers that send ten events a period make ten objects."""
    sizing = size(Load(events=10 / 300, event_bytes=500, shards=1, customers=1000, types=10))
    assert sizing.objects_hour == pytest.approx(120)


def test_sizing_warns_when_the_shards_are_too_few() -> None:
    assert "10 are needed" in size(dataclasses.replace(SMALL, events=10_000, event_bytes=100)).warnings[0]


def test_sizing_warns_when_objects_cost_more_than_their_events() -> None:
    found = size(dataclasses.replace(SMALL, customers=1000, types=30, events=1000, shards=4)).warnings
    assert 'publish.period = "1h"' in found[0]
