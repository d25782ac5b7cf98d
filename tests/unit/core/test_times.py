"""The time formats that are read without a pattern."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vortex.core.periods import PeriodReader, floor_period, parse_time

MINUTE = 60_000


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
def test_parse_time_reads_texts_and_numbers_of_common_forms(value: str | float, iso: str) -> None:
    """Texts with and without zone; numbers in seconds and milliseconds."""
    assert parse_time(value) == int(datetime.fromisoformat(iso).timestamp() * 1000)


SECOND = "2018-12-18T07:05:09+00:00"


@pytest.mark.parametrize(
    ("value", "iso"),
    [
        ("2018-12-18t07:05:09z", SECOND),
        ("2018-12-18T07:05:09.5z", "2018-12-18T07:05:09.5+00:00"),
        ("2018-12-18 07:05:09 UTC", SECOND),
        ("2018-12-18 07:05:09 GMT", SECOND),
        ("2018-12-18 07:05:09.123 UTC", "2018-12-18T07:05:09.123+00:00"),
        ("2018-12-18 07:05:09 +0000 UTC", SECOND),
        ("2018-12-18 08:05:09 +0100", SECOND),
        ("2018-12-18T08:05:09+01", SECOND),
        ("2018-12-18T07:05:09-00:00", SECOND),
        ("2018-12-17T07:06:09-23:59", SECOND),
        ("2018-12-18T07:05:09,123Z", "2018-12-18T07:05:09.123+00:00"),
        ("2018-12-18T07:05:09.9999999999999999999Z", "2018-12-18T07:05:09.999+00:00"),
        ("2018-12-18T24:00:00Z", "2018-12-19T00:00:00+00:00"),
        ("2018-12-31T24:00:00.000+00:00", "2019-01-01T00:00:00+00:00"),
        ("2018-12-18T24:00Z", "2018-12-19T00:00:00+00:00"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59+00:00"),
        ("2016-12-31T23:59:60.500Z", "2016-12-31T23:59:59.500+00:00"),
        ("2017-01-01T00:59:60+01:00", "2016-12-31T23:59:59+00:00"),
        ("0999-12-31T23:59:59Z", "0999-12-31T23:59:59+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("20181218T070509Z", SECOND),
        ("20181218T080509.5+0100", "2018-12-18T07:05:09.5+00:00"),
        ("2018-12-18", "2018-12-18T00:00:00+00:00"),
        ("20181218", "2018-12-18T00:00:00+00:00"),
        ("2018-12-18T07", "2018-12-18T07:00:00+00:00"),
        ("2018-W51-2T07:05:09Z", SECOND),
        ("2018-352T07:05:09Z", SECOND),
        ("2018-12-18T07:05:09Z[UTC]", SECOND),
        ("2018-12-18T08:05:09+01:00[Europe/Berlin][u-ca=iso8601]", SECOND),
        (" 2018-12-18T07:05:09Z\n", SECOND),
        ("1545116709.000", SECOND),
        ("1545116709.5", "2018-12-18T07:05:09.5+00:00"),
        ("1.545116709e9", SECOND),
        ("1545116709000.0", SECOND),
        (1.545116709e9, SECOND),
        (1_545_116_709_123_456, "2018-12-18T07:05:09.123+00:00"),
        (1_545_116_709_123_456_789, "2018-12-18T07:05:09.123+00:00"),
        ("1545116709123456789", "2018-12-18T07:05:09.123+00:00"),
        ("-154511670", "1965-02-07T16:05:30+00:00"),
        ("-154511670.5", "1965-02-07T16:05:29.5+00:00"),
        (-0.5, "1969-12-31T23:59:59.5+00:00"),
        (0, "1970-01-01T00:00:00+00:00"),
    ],
)
def test_parse_time_reads_every_form_of_the_standards(value: str | float, iso: str) -> None:
    """RFC 3339, ISO 8601, RFC 9557; epoch numbers of every unit, as numbers and as texts."""
    at = datetime.fromisoformat(iso) - datetime(1970, 1, 1, tzinfo=UTC)
    wanted = at // timedelta(milliseconds=1)
    assert parse_time(value) == wanted
    assert PeriodReader(1000).read(value) == PeriodReader(1000).column([value])[0] == floor_period(wanted, 1000)


@pytest.mark.parametrize("unit", [10**3, 10**6])
def test_parse_time_does_not_round_whole_numbers_into_the_next_millisecond(unit: int) -> None:
    """Floating-point division would round some of them up."""
    for second in range(1_545_116_400, 1_545_116_400 + 300 * 500, 300):
        ms = second * 1000
        assert parse_time(ms * unit) == ms and parse_time(ms * unit - 1) == ms - 1


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
        "9999-12-31T23:59:59-05:00",
        "9999-12-31T24:00:00Z",
        "9" * 400,
        "9" * 5000,
        "1e999",
        "0",
        "12345678.5",
        "2018-12-18T07:05:99Z",
        "2018-12-18T07:65:09Z",
        "2018-12-18T07:05:xx.123Z",
        "2018-12-18T07:05:09.12xZ",
        "2018-12-18T07:05:09.Z",
        "2018-12-18T24:00:01Z",
        "2018-12-18T24:01:00Z",
        "2018-12-18T25:00:00Z",
        "2018-12-18T07:05:61Z",
        "2018-02-29T00:00:00Z",
        "2018-13-01T00:00:00Z",
        "2018-W54-1",
        "2018-366",
        "2018-12-18T07:05:09+24:00",
        "2018-12-18T07:05:09+01:60",
        "2018-12-18T07:05:09+1",
        "2018-12-18T07:05:09 CET",
        "2018-12-18T07:05:09[Europe/Berlin]",
        "12/18/2018",
        "٢٠١٨-12-18T07:05:09Z",
        "2018-12-18T07:05:09\u2212",
        True,
    ],
)
def test_parse_time_returns_none_when_the_value_is_not_a_time(value: str | float | None) -> None:
    """The caller then uses the arrival time."""
    assert parse_time(value) is None
    assert PeriodReader(MINUTE).read(value) is None
