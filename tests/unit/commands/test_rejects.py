"""Choosing rejections; tests/integration/test_rejects.py runs the command."""

from __future__ import annotations

import asyncio
import os
import signal
from unittest.mock import Mock

import pytest

from vortex.commands.event_files import FileError
from vortex.commands.rejects import DAY_MS, Choice, customer_of, stopping_on_signals
from vortex.lookup.rejections import Rejection
from vortex.lookup.replay import Replay


def test_choice_spans_the_day_before_its_end_and_nothing_before_1970() -> None:
    assert Choice(until="2027-01-15T08:00").span == (1_800_000_000_000 - DAY_MS, 1_800_000_000_000)
    assert Choice(until="1970-01-01T01:00").span == (0, 3_600_000)


def test_choice_is_refused_when_it_ends_before_it_begins() -> None:
    for since, until in (("2027-01-15", "2027-01-14"), ("9999-01-01", None)):
        with pytest.raises(FileError, match="--since must be before --until"):
            _ = Choice(since, until).span


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (("not_json", "duplicate_key"), ""),
        (("not_jsn",), "; there is no reason 'not_jsn'; did you mean not_json?"),
        (("empty", "é" * 5000), "reasons are empty, not_json, "),
    ],
)
def test_choice_says_what_may_be_meant_when_a_reason_is_unknown(reasons: tuple[str, ...], said: str) -> None:
    """Another version may have had it, so it is looked for all the same."""
    doubt = Choice(reasons=reasons).doubt
    assert said in doubt
    assert bool(doubt) == bool(said)
    assert len(doubt) < 700


@pytest.mark.parametrize(
    ("data", "customer"),
    [
        (b'{"c": "acme", "x": "\\ud83d"}', "acme"),
        (b'{"c": "acme", "x": 1e999}', "acme"),
        (b'{"c": ' + b"7" * 5000 + b"}", "7" * 100),
        (b'{"c": ""}', "(none)"),
        (b"{", "(not JSON)"),
    ],
)
def test_customer_of_reads_what_only_some_readers_take(data: bytes, customer: str) -> None:
    rejection = Rejection("lone_surrogate", "s", "1", 0, 0.0, data=data.decode())
    assert customer_of(rejection, [("c",)]) == customer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_replay_ends_after_its_batch_at_the_first_signal_and_at_once_at_the_second(
    number: signal.Signals,
) -> None:
    replay, stopped, usual = Mock(Replay), asyncio.Event(), signal.getsignal(number)
    replay.stop.side_effect = stopped.set
    with stopping_on_signals(replay):
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stopped.wait(), 10)
        assert signal.getsignal(number) is (signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.signal(number, usual)
    replay.stop.assert_called_once_with()
