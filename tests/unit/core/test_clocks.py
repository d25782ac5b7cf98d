"""Clocks that disagree: what closes nothing, what is still believed, and what is said of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vortex.core.clocks import LEAST, OLDEST_MS, TOLERANCE_MS, Clocks, Times, arrived

NOW = 1_796_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR


def clocks(*off_ms: int, every_s: float = 2.0) -> tuple[Clocks, float]:
    """After replies whose Dates are so far off, and the monotonic time after the last of them."""
    made, at = Clocks(), 0.0
    for number, off in enumerate(off_ms):
        at = number * every_s
        made.heard(NOW + int(at * 1000) + off, at)
    return made, at


def at(mono_s: float, off_ms: int = 0) -> int:
    return NOW + int(mono_s * 1000) + off_ms


def test_the_local_clock_counts_until_a_reply_has_come() -> None:
    assert Clocks().times(NOW, 5.0) == Times(NOW, NOW)
    assert not Clocks().sure
    assert Clocks().trouble(NOW, 5.0) == ""


def test_clocks_that_agree_are_all_well() -> None:
    made, mono = clocks(0, -400, 300, 0, -999)
    times = made.times(at(mono), mono, at(mono))
    assert abs(times.earliest - at(mono)) < 1000
    assert abs(times.latest - at(mono)) < 1000
    assert made.trouble(at(mono), mono) == ""


@pytest.mark.parametrize("off", [2 * DAY, -2 * DAY, 20 * 60_000, 50 * 365 * DAY])
@pytest.mark.parametrize("place", range(LEAST))
def test_one_wrong_date_moves_nothing_wherever_it_comes(off: int, place: int) -> None:
    """Two days ahead, on an idle shard, it closed 48 hours that were still to come."""
    made, mono = clocks(*(off if number == place else 0 for number in range(LEAST)))
    assert made.sure
    times = made.times(at(mono), mono)
    assert times == Times(at(mono), at(mono))
    made, mono = clocks(0, 0, 0, off)
    assert made.times(at(mono), mono, at(mono, off)).earliest <= at(mono)
    assert made.times(at(mono), mono).earliest == at(mono)
    assert "Date is" in made.trouble(at(mono), mono)
    assert "not believed" in made.trouble(at(mono), mono)


def test_an_odd_date_is_told_of_for_a_minute() -> None:
    made, mono = clocks(0, 0, 0, 2 * DAY)
    assert "2 days ahead of those of other replies" in made.trouble(at(mono), mono)
    assert made.trouble(at(mono + 61), mono + 61) == ""


@pytest.mark.parametrize("off", [2 * DAY, -2 * DAY])
def test_dates_that_are_wrong_for_long_close_nothing_beyond_the_local_clock(off: int) -> None:
    made, mono = clocks(*[off] * 20)
    times = made.times(at(mono), mono, at(mono, off))
    assert times.earliest == min(at(mono), at(mono, off))
    assert times.latest == max(at(mono), at(mono, off))
    assert "the local clock is 2 days" in made.trouble(at(mono), mono)


@pytest.mark.parametrize("off", [3 * HOUR, -3 * HOUR])
def test_a_local_clock_that_is_hours_off_closes_nothing_beyond_the_service(off: int) -> None:
    made, mono = clocks(*[0] * 9)
    times = made.times(at(mono, off), mono, at(mono))
    assert times.earliest == min(at(mono), at(mono, off))
    assert times.latest == max(at(mono), at(mono, off))
    assert f"3 hours {'ahead of' if off > 0 else 'behind'}" in made.trouble(at(mono, off), mono)


def test_the_local_clock_may_be_set_and_counts_from_then_on() -> None:
    """NTP steps it; the service's time goes by the monotonic clock, which nobody steps."""
    made, mono = clocks(*[0] * 9)
    assert made.trouble(at(mono, -3 * HOUR), mono) != ""
    assert made.times(at(mono), mono) == Times(at(mono), at(mono))
    assert made.trouble(at(mono), mono) == ""


def test_a_machine_that_was_suspended_waits_for_some_replies() -> None:
    """The monotonic clock stood still, wall clock and Dates went on: the earlier counts until replies outvote it."""
    made, mono = clocks(*[0] * 9)
    slept = 5 * HOUR
    assert made.times(at(mono, slept), mono, at(mono, slept)) == Times(at(mono), at(mono, slept))
    for _ in range(9):
        mono += 2
        made.heard(at(mono, slept), mono)
    assert made.times(at(mono, slept), mono) == Times(at(mono, slept), at(mono, slept))
    assert "not believed" in made.trouble(at(mono, slept), mono), "for a minute after the first of them"
    assert made.trouble(at(mono + 61, slept), mono + 61) == ""


def test_a_burst_of_wrong_dates_outvotes_nobody() -> None:
    """A hundred shards ask within a second: one Date a second is kept."""
    made, mono = clocks(*[0] * 9)
    for number in range(100):
        made.heard(at(mono, 2 * DAY), mono + 1.1 + number / 200)
    assert made.times(at(mono), mono).latest == at(mono)


def test_a_page_proves_nothing_beyond_its_own_date() -> None:
    """Its reply was under way, or in a cache, for so long: the shard need not be empty since."""
    made, mono = clocks(*[0] * 9)
    assert made.times(at(mono), mono, at(mono, -HOUR)).earliest == at(mono, -HOUR)
    assert made.times(at(mono), mono, at(mono, -HOUR)).latest == at(mono)


def arrivals(*ms: float) -> list[int]:
    return arrived(np.array(ms) / 1000, NOW, NOW - HOUR).tolist()


def test_arrivals_count_as_they_are() -> None:
    assert arrivals(NOW - 2000, NOW - 3000, NOW - 2 * DAY, NOW) == [NOW - 2000, NOW - 3000, NOW - 2 * DAY, NOW]


def test_an_arrival_a_little_ahead_counts_as_now() -> None:
    """A Date has whole seconds."""
    assert arrivals(NOW + 700, NOW + TOLERANCE_MS) == [NOW, NOW]


AHEAD = [NOW + 2 * DAY, NOW + TOLERANCE_MS + 1, 1e300, math.inf]
BEHIND = [NOW - OLDEST_MS - 1, 0, -1, -1e300, math.nan]


@pytest.mark.parametrize("odd", AHEAD + BEHIND)
def test_an_impossible_arrival_says_nothing(odd: float) -> None:
    """It neither closes hours nor takes its record anywhere: the record came with those before it."""
    assert arrivals(NOW - 5000, odd, NOW - 4000) == [NOW - 5000, NOW - 5000, NOW - 4000]
    assert arrivals(odd) == [NOW - HOUR]
    assert arrived(np.array([odd, odd, NOW - 9000.0]) / 1000, NOW, 0).tolist() == [NOW - 9000] * 3
    assert arrived(np.array([odd]) / 1000, NOW, 0).tolist() == [0]
