"""When an endpoint is asked in CBOR."""

from __future__ import annotations

import pytest

from vortex.adapters.kinesis.encoding import Encoding
from vortex.core.native import IN_C

pytestmark = pytest.mark.skipif(not IN_C, reason="the steps in C are not installed")
HOUR = 3600.0


def test_one_call_tries_cbor_while_others_ask_in_json() -> None:
    """An endpoint that hangs would hold up every shard at once."""
    encoding = Encoding()
    assert [encoding.is_cbor(0) for _ in range(3)] == [True, False, False]
    encoding.worked(records=False)
    assert [encoding.is_cbor(0) for _ in range(3)] == [True, True, True]


def test_json_is_asked_for_an_hour_when_the_first_reply_is_no_cbor() -> None:
    encoding = Encoding()
    assert encoding.is_cbor(0)
    assert encoding.failed(0, replied=True)
    assert not encoding.is_cbor(HOUR - 1)
    assert [encoding.is_cbor(HOUR), encoding.is_cbor(HOUR)] == [True, False]


def test_json_is_asked_longer_each_time_when_calls_in_cbor_bring_no_reply() -> None:
    """Up to an hour; a call that works begins anew."""
    encoding, now, periods = Encoding(), 0.0, []
    for _ in range(8):
        assert encoding.is_cbor(now)
        assert encoding.failed(now, replied=False)
        begun = now
        while not encoding.is_cbor(now):
            now += 60
        encoding.undecided()
        periods.append(now - begun)
    assert periods == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    encoding.worked(records=True)
    assert [encoding.failed(now, replied=False) for _ in range(3)] == [False, False, True]
    assert not encoding.is_cbor(now + 59)
    assert encoding.is_cbor(now + 60)


def test_one_failure_does_not_end_cbor_after_an_hour_of_json() -> None:
    """What was counted before the hour is forgotten."""
    encoding = Encoding()
    encoding.worked(records=True)
    assert [encoding.failed(0, replied=True) for _ in range(3)] == [False, False, True]
    assert encoding.is_cbor(HOUR)
    encoding.worked(records=False)
    assert not encoding.failed(HOUR, replied=True)


def test_a_failure_of_a_call_under_way_does_not_begin_another_hour() -> None:
    encoding = Encoding()
    encoding.worked(records=True)
    assert [encoding.failed(at, replied=True) for at in (0, 0, 0, 10, 20, 30)] == [False, False, True] + [False] * 3
    assert encoding.is_cbor(HOUR)


def test_the_next_call_tries_cbor_when_neither_encoding_worked() -> None:
    encoding = Encoding()
    assert encoding.is_cbor(0)
    encoding.undecided()
    assert encoding.is_cbor(0)
