"""Time patterns of the configuration: read as strptime reads them, with English names in any locale."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.decode.time_formats import time_format
from vortex.core.periods import PeriodReader


@given(
    st.datetimes(datetime(1000, 1, 1), datetime(9998, 1, 1)).map(lambda at: at.replace(microsecond=0)),
    st.integers(-14 * 60, 14 * 60),
    st.sampled_from(
        [
            "%a %b %d %H:%M:%S %z %Y",
            "%d/%b/%Y:%H:%M:%S %z",
            "%A, %d. %B %Y %I:%M:%S %p %z",
            "%Y%m%d%H%M%S%z",
            "%Y-%j %H:%M:%S%z",
            "%d.%m.%Y  %H:%M:%S %z",
            "100%% %Y-%m-%d/%H.%M.%S %z",
        ]
    ),
)
def test_time_format_reads_what_strftime_writes(at: datetime, minutes: int, pattern: str) -> None:
    """Python's strftime, in the C locale."""
    there = at.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = there.strftime(pattern)
    wanted = (there - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert time_format(pattern)(text) == time_format(pattern)(text.upper()) == wanted


@pytest.mark.parametrize(
    ("pattern", "text", "iso"),
    [
        ("%a %b %d %H:%M:%S %z %Y", "Sun Aug 31 00:29:15 +0000 2014", "2014-08-31T00:29:15+00:00"),
        ("%d/%b/%Y:%H:%M:%S %z", "29/Nov/2026:10:00:00 +0000", "2026-11-29T10:00:00+00:00"),
        ("%a, %d %b %Y %H:%M:%S %Z", "Tue, 18 Dec 2018 07:05:09 GMT", "2018-12-18T07:05:09+00:00"),
        ("%m/%d/%Y %I:%M %p", "12/18/2018 12:05 AM", "2018-12-18T00:05:00+00:00"),
        ("%m/%d/%Y %I:%M %p", "2/8/2018 1:05 pm", "2018-02-08T13:05:00+00:00"),
        ("%D %T", "12/18/18 07:05:09", "2018-12-18T07:05:09+00:00"),
        ("%d%m%y", "181269", "1969-12-18T00:00:00+00:00"),
        ("%Y-%m-%d %H:%M:%S.%f", "2018-12-18 07:05:09.123456789", "2018-12-18T07:05:09.123+00:00"),
        ("%Y-%m-%d %H:%M:%S,%f", " 2018-12-18 07:05:09,5 ", "2018-12-18T07:05:09.5+00:00"),
        ("%F %T%z", "2018-12-18 24:00:00Z", "2018-12-19T00:00:00+00:00"),
        ("%F %T%z", "2016-12-31 23:59:60 +00:00", "2016-12-31T23:59:59+00:00"),
        ("%b %e %Y", "Dec  8 2018", "2018-12-08T00:00:00+00:00"),
        ("%Y%m%d%H%M%S", "20181218070509", "2018-12-18T07:05:09+00:00"),
    ],
)
def test_time_format_reads_common_texts_of_producers(pattern: str, text: str, iso: str) -> None:
    wanted = (datetime.fromisoformat(iso) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert time_format(pattern)(text) == wanted


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%d/%b/%Y:%H:%M:%S %z", "31/Feb/2026:10:00:00 +0000"),
        ("%d/%b/%Y:%H:%M:%S %z", "29/Nov/2026:10:00:00 +2500"),
        ("%d/%b/%Y:%H:%M:%S %z", "29/Nov/2026:10:00:00"),
        ("%d/%b/%Y:%H:%M:%S %z", "29/Foo/2026:10:00:00 +0000"),
        ("%d/%b/%Y:%H:%M:%S %z", "29/Nov/2026:10:00:00 +0000 more"),
        ("%d/%b/%Y", "٢٩/Nov/2026"),
        ("%Y-%j", "2018-366"),
        ("%Y.%m.%d", "0000.01.01"),
        ("%Y.%m.%d", "2018-01-01"),
        ("%F %T", "2018-12-18 24:00:01"),
        ("%F %z", "2018-12-18" + " " * 100_000 + "x"),
    ],
)
def test_time_format_returns_none_when_the_text_does_not_match(pattern: str, text: str) -> None:
    assert time_format(pattern)(text) is None


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("%Q", "unknown directive %Q"),
        ("%d/%b/%Y %", "unknown directive %;"),
        ("%d/%b", "must have a year"),
        ("%H:%M", "must have a year"),
        ("%Y-%m", "must have a year"),
        ("", "must have a year"),
        ("%Y-%m-%d %I:%M", "needs %p"),
        ("%F %Y", "twice"),
        ("%G-W%V-%u", "unknown directive %G"),
    ],
)
def test_time_format_raises_value_error_when_a_pattern_is_invalid(pattern: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        time_format(pattern)


def test_period_reader_tries_patterns_in_order_before_the_standard_forms() -> None:
    """Texts that match no pattern are read in the standard forms, and numbers always."""
    first, second = time_format("%Y%m%d%H%M%S"), time_format("%Y-%d-%m")
    reader = PeriodReader(1000, [first, second])
    values = ["20181218070509", "2018-03-02", "2018-12-18T07:05:09Z", 1_545_116_709, "20181218070509", "no"]
    seconds = [1_545_116_709, 1_517_616_000, 1_545_116_709, 1_545_116_709, 1_545_116_709, None]
    assert reader.column(values) == [None if second is None else second * 1000 for second in seconds]
    assert reader.column(["2018-03-02"] * 3) == [1_517_616_000_000] * 3
