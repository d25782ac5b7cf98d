"""The service's clock and the local clock when they disagree: which time counts, and what the trouble message says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vortex.core.clocks import LEAST, OLDEST_MS, TOLERANCE_MS, Clocks, Times, arrived

NOW = 1_796_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR


def clocks_after(*off_ms: int, every_s: float = 2.0) -> tuple[Clocks, float]:
    """Clocks after replies whose Date headers are off by `off_ms`, and the monotonic time of the last reply."""
    made, at = Clocks(), 0.0
    for number, off in enumerate(off_ms):
        at = number * every_s
        made.heard(NOW + int(at * 1000) + off, at)
    return made, at


def at(mono_s: float, off_ms: int = 0) -> int:
    return NOW + int(mono_s * 1000) + off_ms


def test_clocks_use_the_local_time_before_the_first_reply() -> None:
    assert Clocks().times(NOW, 5.0) == Times(NOW, NOW)
    assert not Clocks().sure
    assert Clocks().trouble(NOW, 5.0) == ""


def test_clocks_report_no_trouble_when_service_and_local_time_agree() -> None:
    made, mono = clocks_after(0, -400, 300, 0, -999)
    times = made.times(at(mono), mono, at(mono))
    assert abs(times.earliest - at(mono)) < 1000
    assert abs(times.latest - at(mono)) < 1000
    assert made.trouble(at(mono), mono) == ""


@pytest.mark.parametrize("off", [2 * DAY, -2 * DAY, 20 * 60_000, 50 * 365 * DAY])
@pytest.mark.parametrize("place", range(LEAST))
def test_clocks_ignore_a_single_wrong_date_at_any_place(off: int, place: int) -> None:
    """A Date two days ahead on an idle shard must not close the next 48 hours."""
    made, mono = clocks_after(*(off if number == place else 0 for number in range(LEAST)))
    assert made.sure
    times = made.times(at(mono), mono)
    assert times == Times(at(mono), at(mono))
    made, mono = clocks_after(0, 0, 0, off)
    assert made.times(at(mono), mono, at(mono, off)).earliest <= at(mono)
    assert made.times(at(mono), mono).earliest == at(mono)
    assert "Date is" in made.trouble(at(mono), mono)
    assert "not believed" in made.trouble(at(mono), mono)


def test_trouble_reports_a_wrong_date_for_a_minute() -> None:
    made, mono = clocks_after(0, 0, 0, 2 * DAY)
    assert "2 days ahead of those of other replies" in made.trouble(at(mono), mono)
    assert made.trouble(at(mono + 61), mono + 61) == ""


@pytest.mark.parametrize("off", [2 * DAY, -2 * DAY])
def test_earliest_time_is_not_after_the_local_clock_when_all_dates_are_wrong(off: int) -> None:
    made, mono = clocks_after(*[off] * 20)
    times = made.times(at(mono), mono, at(mono, off))
    assert times.earliest == min(at(mono), at(mono, off))
    assert times.latest == max(at(mono), at(mono, off))
    assert "the local clock is 2 days" in made.trouble(at(mono), mono)


@pytest.mark.parametrize("off", [3 * HOUR, -3 * HOUR])
def test_earliest_time_is_not_after_the_service_time_when_the_local_clock_is_wrong(off: int) -> None:
    made, mono = clocks_after(*[0] * 9)
    times = made.times(at(mono, off), mono, at(mono))
    assert times.earliest == min(at(mono), at(mono, off))
    assert times.latest == max(at(mono), at(mono, off))
    assert f"3 hours {'ahead of' if off > 0 else 'behind'}" in made.trouble(at(mono, off), mono)


def test_clocks_use_the_local_time_again_after_it_is_corrected() -> None:
    """NTP steps the local clock. Service time follows the monotonic clock, which is never stepped."""
    made, mono = clocks_after(*[0] * 9)
    assert made.trouble(at(mono, -3 * HOUR), mono) != ""
    assert made.times(at(mono), mono) == Times(at(mono), at(mono))
    assert made.trouble(at(mono), mono) == ""


def test_clocks_use_the_earlier_time_after_a_suspend_until_enough_replies_came() -> None:
    """The monotonic clock stops during a suspend; the wall clock and the Dates do not."""
    made, mono = clocks_after(*[0] * 9)
    slept = 5 * HOUR
    assert made.times(at(mono, slept), mono, at(mono, slept)) == Times(at(mono), at(mono, slept))
    for _ in range(9):
        mono += 2
        made.heard(at(mono, slept), mono)
    assert made.times(at(mono, slept), mono) == Times(at(mono, slept), at(mono, slept))
    assert "not believed" in made.trouble(at(mono, slept), mono), "trouble is reported for a minute"
    assert made.trouble(at(mono + 61, slept), mono + 61) == ""


def test_clocks_keep_one_date_a_second_in_a_burst() -> None:
    """A hundred shards ask within a second. Their wrong Dates do not outvote the earlier ones."""
    made, mono = clocks_after(*[0] * 9)
    for number in range(100):
        made.heard(at(mono, 2 * DAY), mono + 1.1 + number / 200)
    assert made.times(at(mono), mono).latest == at(mono)


def test_earliest_time_is_not_after_the_date_of_the_page() -> None:
    """The reply may have been delayed or cached, so the shard need not be empty since."""
    made, mono = clocks_after(*[0] * 9)
    assert made.times(at(mono), mono, at(mono, -HOUR)).earliest == at(mono, -HOUR)
    assert made.times(at(mono), mono, at(mono, -HOUR)).latest == at(mono)


def arrivals(*ms: float) -> list[int]:
    return arrived(np.array(ms) / 1000, NOW, NOW - HOUR, NOW).tolist()


def test_arrived_keeps_plausible_arrival_times() -> None:
    assert arrivals(NOW - 2000, NOW - 3000, NOW - 2 * DAY, NOW) == [NOW - 2000, NOW - 3000, NOW - 2 * DAY, NOW]


def test_arrived_returns_now_when_an_arrival_is_slightly_ahead() -> None:
    """A Date header has whole seconds."""
    assert arrivals(NOW + 700, NOW + TOLERANCE_MS) == [NOW, NOW]


AHEAD = [NOW + 2 * DAY, NOW + TOLERANCE_MS + 1, 1e300, math.inf]
BEHIND = [NOW - OLDEST_MS - 1, 0, -1, -1e300, math.nan]


@pytest.mark.parametrize("impossible", AHEAD + BEHIND)
def test_arrived_repeats_the_previous_arrival_when_a_time_is_impossible(impossible: float) -> None:
    """The record counts as having arrived with the records before it, so it closes no hours."""
    assert arrivals(NOW - 5000, impossible, NOW - 4000) == [NOW - 5000, NOW - 5000, NOW - 4000]
    assert arrived(np.array([impossible, impossible, NOW - 9000.0]) / 1000, NOW, 0, NOW).tolist() == [NOW - 9000] * 3
    assert arrivals(impossible, NOW - 2 * HOUR) == [NOW - HOUR, NOW - 2 * HOUR], "but not before the log's last"


@pytest.mark.parametrize("impossible", AHEAD + BEHIND)
def test_arrived_goes_by_the_given_time_when_no_time_of_the_page_is_possible(impossible: float) -> None:
    """Records of 1970 would not be near their copies, and both would be published."""
    times = np.array([impossible, impossible]) / 1000
    assert arrived(times, NOW, 0, NOW - 4000).tolist() == [NOW - 4000] * 2
    assert arrived(times, NOW, NOW - 3000, NOW - 4000).tolist() == [NOW - 3000] * 2
