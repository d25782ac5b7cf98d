"""The kinds of values that settings have: reading, and showing as they are written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from vortex.config.values import (
    Duration,
    ObjectSize,
    Paths,
    Patterns,
    PositiveDuration,
    Written,
    parse_instant,
)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Duration, "0s", 0),
        (PositiveDuration, "5m", 300_000),
        (ObjectSize, "64MiB", 2**26),
        (Paths, "a.b, c", ("a.b", "c")),
        (Paths, '["a.b"]', ("a.b",)),
        (Paths, ["a", "b"], ("a", "b")),
        (Patterns, "%a, %d %b %Y", ("%a, %d %b %Y",)),
        (Patterns, '["%F"]', ("%F",)),
    ],
)
def test_values_are_read_from_what_people_write(kind: Any, text: object, value: object) -> None:
    """A list may be a list, JSON, or texts with commas between; a comma in a pattern is a part of it."""
    assert TypeAdapter(kind).validate_python(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (PositiveDuration, "0s", "must be greater than 0"),
        (ObjectSize, "0", "must be greater than 0"),
        (ObjectSize, "6GiB", 'must be at most "5GiB"'),
        (Paths, "[a", "is not a JSON list"),
        (Paths, [], "write a dotted path"),
        (Paths, ["a", 5], "5 is not a dotted path"),
        (Patterns, 5, "write a pattern"),
    ],
)
def test_values_are_refused_with_what_to_write(kind: Any, text: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(kind).validate_python(text)


def test_written_shows_a_value_as_it_would_be_in_a_file() -> None:
    """A single path stands alone."""
    kinds: tuple[Any, ...] = (Duration, Paths)
    shown = {kind: next(one for one in kind.__metadata__ if isinstance(one, Written)) for kind in kinds}
    assert shown[Duration].text(90_000) == "90s"
    assert shown[Paths].text(("a",)) == "a"
    assert shown[Paths].text(("a", "b")) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "ms"), [("1970-01-01", 0), ("2026-01-31T00:00:00Z", 1_769_817_600_000), ("1970-01-01T01:00+01:00", 0)]
)
def test_parse_instant_reads_a_time_without_a_zone_as_utc(text: str, ms: int) -> None:
    assert parse_instant(text) == ms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yesterday", "invalid time 'yesterday'; write for example "),
        ("2020", "invalid time '2020'; write for example "),
        ("", "invalid time ''; write for example "),
        ("1969-12-31", "time '1969-12-31' is before 1970 or after 9999; write one between"),
        ("0001-01-01T00:00:00+23:00", "is before 1970 or after 9999; write one between"),
        ("9999-12-31T23:59:59-23:59", "is before 1970 or after 9999; write one between"),
    ],
)
def test_parse_instant_says_whether_the_form_or_the_time_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_instant(text)
