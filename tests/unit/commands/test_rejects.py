"""Choosing rejections; tests/integration/test_rejects.py runs the command."""

from __future__ import annotations

import pytest

from vortex.commands.rejects import DAY_MS, Choice
from vortex.config.loading import ConfigError


def test_choice_spans_the_day_before_its_end_and_nothing_before_1970() -> None:
    assert Choice(until="2027-01-15T08:00").span == (1_800_000_000_000 - DAY_MS, 1_800_000_000_000)
    assert Choice(until="1970-01-01T01:00").span == (0, 3_600_000)


def test_choice_is_refused_when_it_ends_before_it_begins() -> None:
    for since, until in (("2027-01-15", "2027-01-14"), ("9999-01-01", None)):
        with pytest.raises(ConfigError, match="--since must be before --until"):
            _ = Choice(since, until).span
