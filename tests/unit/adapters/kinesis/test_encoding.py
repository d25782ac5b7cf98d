"""When an endpoint is asked in CBOR."""

from __future__ import annotations

import pytest

from vortex.adapters.kinesis.encoding import Encoding
from vortex.core.native import IN_C

pytestmark = pytest.mark.skipif(not IN_C, reason="the steps in C are not installed")


def test_one_call_tries_cbor_while_others_ask_in_json() -> None:
    """An endpoint that hangs would hold up every shard at once."""
    encoding = Encoding()
    assert [encoding.is_cbor(0) for _ in range(3)] == [True, False, False]
    encoding.worked(records=False)
    assert [encoding.is_cbor(0) for _ in range(3)] == [True, True, True]


def test_json_is_asked_longer_each_time_when_cbor_does_not_work() -> None:
    """A minute first, an hour at most, and it is said once. Records in CBOR begin anew."""
    encoding, now, periods, said = Encoding(), 0.0, [], []
    for _ in range(8):
        assert encoding.is_cbor(now)
        said.append(encoding.failed(now))
        begun = now
        while not encoding.is_cbor(now):
            now += 60
        encoding.undecided()
        periods.append(now - begun)
    assert periods == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert said == [True] + [False] * 7
    encoding.worked(records=True)
    assert [encoding.failed(now) for _ in range(3)] == [False, False, True]
    assert not encoding.is_cbor(now + 59)
    assert encoding.is_cbor(now + 60)


def test_json_is_asked_longer_each_time_when_only_empty_pages_come_in_cbor() -> None:
    """kinesis-mock writes records in a form of its own."""
    encoding, now = Encoding(), 0.0
    for wait_s in (60, 120, 240):
        for _ in range(3):
            assert encoding.is_cbor(now)
            encoding.worked(records=False)
            assert encoding.is_cbor(now)
            encoding.failed(now)
        assert not encoding.is_cbor(now + wait_s - 1)
        now += wait_s


def test_one_failure_does_not_end_cbor_after_a_while_of_json() -> None:
    """What was counted before is forgotten."""
    encoding = Encoding()
    encoding.worked(records=True)
    assert [encoding.failed(0) for _ in range(3)] == [False, False, True]
    assert encoding.is_cbor(60)
    encoding.worked(records=False)
    assert not encoding.failed(60)
    assert encoding.is_cbor(60)


def test_a_failure_of_a_call_under_way_does_not_begin_another_while() -> None:
    encoding = Encoding()
    encoding.worked(records=True)
    assert [encoding.failed(at) for at in (0, 0, 0, 10, 20, 30)] == [False, False, True] + [False] * 3
    assert encoding.is_cbor(60)


def test_the_next_call_tries_cbor_when_neither_encoding_worked() -> None:
    encoding = Encoding()
    assert encoding.is_cbor(0)
    encoding.undecided()
    assert encoding.is_cbor(0)
