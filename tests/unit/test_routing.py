"""Periods and times."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.routing import PeriodReader, Rules, floor_period, parse_time

MINUTE = 60_000


@given(st.integers(-(10**13), 10**13), st.sampled_from([MINUTE, 5 * MINUTE, 60 * MINUTE]), st.integers(0, 10**9))
def test_open_from_is_the_least_open_period(watermark: int, period: int, lateness: int) -> None:
    """P is open while p + period + lateness > W: true of open_from, false of the one before it."""
    least = Rules(period, lateness).open_from(watermark)
    assert least % period == 0
    assert least + period + lateness > watermark
    assert least - period + period + lateness <= watermark


@pytest.mark.parametrize(
    ("value", "iso"),
    [
        ("2018-12-18T07:05:09.123Z", "2018-12-18T07:05:09.123+00:00"),
        ("2018-12-18T09:05:09+02:00", "2018-12-18T07:05:09+00:00"),
        ("2018-12-18 07:05:09", "2018-12-18T07:05:09+00:00"),
        (1_545_116_709, "2018-12-18T07:05:09+00:00"),
        (1_545_116_709_000, "2018-12-18T07:05:09+00:00"),
        ("1545116709", "2018-12-18T07:05:09+00:00"),
        (1_545_116_709.5, "2018-12-18T07:05:09.500+00:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59+00:00"),
    ],
)
def test_readable_times(value: str | float, iso: str) -> None:
    """Texts with and without zone; numbers in seconds and milliseconds."""
    assert parse_time(value) == int(datetime.fromisoformat(iso).timestamp() * 1000)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "yesterday",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        1e300,
        float("nan"),
        "0001-01-01T00:00:00+05:00",
        "9" * 400,
    ],
)
def test_unreadable_times(value: str | float | None) -> None:
    """None, so that the arrival time is taken; never an exception."""
    assert parse_time(value) is None
    assert PeriodReader(MINUTE).read(value) is None


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from([1000, 10_000, MINUTE, 5 * MINUTE, 60 * MINUTE]))
def test_the_remembering_reader_agrees_with_the_plain_one(at: datetime, period: int) -> None:
    """The shortcut over prefixes is only a shortcut."""
    text = f"{at.year:04d}-" + at.strftime("%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
    ms = parse_time(text)
    assert ms is not None
    reader = PeriodReader(period)
    assert reader.read(text) == reader.read(text) == floor_period(ms, period)


@given(st.text(max_size=30) | st.integers() | st.floats() | st.none())
def test_no_time_raises(value: str | float | None) -> None:
    """Whatever stands in the field."""
    PeriodReader(5 * MINUTE).read(value)
