"""Times in options: what is said of wrong ones."""

from __future__ import annotations

import pytest

from vortex.commands.event_files import FileError
from vortex.commands.instants import instant, instant_or_none, ordered


def test_instant_names_its_option_when_the_time_is_wrong() -> None:
    assert instant("--since", "1970-01-01T00:00:01") == 1000
    with pytest.raises(FileError, match=r"^--since: invalid time 'noon'; write for example "):
        instant("--since", "noon")


def test_instant_or_none_takes_an_option_that_is_not_given() -> None:
    assert instant_or_none("--since", None) is None
    assert instant_or_none("--since", "1970-01-01") == 0


def test_ordered_refuses_a_span_that_holds_nothing() -> None:
    for since, until in ((None, None), (None, 1), (1, None), (1, 2)):
        ordered(since, until)
    for since, until in ((1, 1), (2, 1)):
        with pytest.raises(FileError, match=r"^--since must be before --until, or so$"):
            ordered(since, until, ", or so")
