"""The steps in C: the same answers as Python for any input, and never a read beyond the end of a buffer."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sysconfig
from pathlib import Path
from random import Random

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import kpl
from tests.native import installed, native, without_native
from tests.random_pages import FIELDS, PERIOD, decode_plainly, decoded, differences, differing_aggregate, read, reply
from vortex.adapters.kinesis.get_records import decode_reply
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.events import EventReader
from vortex.core.decode.fields import Fields
from vortex.core.decode.kpl import aggregates
from vortex.core.decode.reasons import Reason


def test_native_is_installed_where_it_can_be_built() -> None:
    """With a compiler and Python's headers, and in CI, nothing may silently fall back to Python."""
    can = shutil.which("cc") and Path(sysconfig.get_path("include"), "Python.h").exists()
    assert native is not None or not (can or os.environ.get("CI"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_pages_and_replies_give_the_same_result_in_c_and_in_python(seed: int) -> None:
    """The same lines, names, keys, periods and rejections in the same order."""
    assert not differences(Random(seed))


def test_deep_and_long_events_give_the_same_result_in_c_and_in_python() -> None:
    """At every depth and length around the limits of the fast path."""
    deep = [b'{"c":"a","t":"b","id":"%d","x":%s}' % (n, b"[" * n + b"]" * n) for n in [*range(55, 75), 5000]]
    long = [b'{"c":"%s","t":"b","id":"1","at":0}' % (b"x" * n) for n in (65_534, 65_535, 65_536, 65_537)]
    keys = [b'{"c":"%s","t":"b","id":"%s"}' % (b"c" * n, b"i" * m) for n in range(1, 130, 7) for m in range(1, 130)]
    found = read(deep + long + keys, FIELDS[2])
    with without_native():
        assert read(deep + long + keys, FIELDS[2]) == found


@installed
def test_native_hash_equals_that_of_the_xxhash_library() -> None:
    """For each length that is hashed in C, and seeds of all sizes."""
    assert native
    rng = Random(3)
    paths = native.paths([[(b"c", -1, 0), (b"t", -1, 1), (b"id", -1, 2)]], [[0], [1], [2], []], True)
    for size in range(1, 140):
        for seed in (0, 1, 2**64 - 1, rng.getrandbits(64)):
            key = "".join(rng.choices("abcdef0123-", k=size))
            line = json.dumps({"c": "cé", "t": "t", "id": key}, ensure_ascii=False).encode()
            answer = native.events(paths, native.numbers(0), line, np.array([0, len(line)]), b"\0", PERIOD, seed, 100)
            text = f"2:cé{key}".encode()
            if 17 <= len(text) <= 128:
                assert answer[4] == xxhash.xxh3_128_digest(text, seed)
            assert bool(answer[6]) != (17 <= len(text) <= 128)


# Replies.


@installed
def test_native_base64_accepts_and_refuses_the_same_as_msgspec() -> None:
    """For each length, with and without padding, and with any other byte at any place."""
    assert native
    rng = Random(9)

    def body(data: bytes) -> bytes:
        record = b'{"Data":"%s","SequenceNumber":"1","ApproximateArrivalTimestamp":1}' % data
        return b'{"MillisBehindLatest":0,"Records":[%s]}' % record

    for size in range(200):
        wanted = rng.randbytes(size)
        found = native.records(body(base64.b64encode(wanted)))
        assert found is not None and found[0] == wanted
    for size in (2, 58, 100):
        text = base64.b64encode(rng.randbytes(size))
        for at in range(len(text)):
            for other in range(256):
                one = body(text[:at] + bytes([other]) + text[at + 1 :])
                assert decoded(decode_reply, one) == decoded(decode_plainly, one)


@installed
def test_native_handles_ordinary_replies_and_events_itself() -> None:
    """A mistake here would only cost time, and no other test would fail."""
    assert native
    rng = Random(5)
    assert all(native.records(reply(rng)) is not None for _ in range(200))
    paths = EventReader(Decoder(FIELDS[2]), PERIOD, 7)._paths
    plain = [
        b'{"c":"\xc3\xa9","x":[1,{"y":"\\n\\u00e9"}],"t":"b","id":5,"at":"2018-12-18T07:05:09Z"} ',
        b'{"c":"a","t":"b"}\n{"t":"b","c":7}',
    ]
    for text in plain:
        for whole in text, kpl.aggregate([text, text], (b"key", b"other")):
            bounds = np.array([0, len(whole)])
            start, *_, left_to_python = native.events(
                paths, native.numbers(0), whole, bounds, aggregates(whole, bounds), PERIOD, 7, 100
            )
            assert start and not left_to_python


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_aggregates_give_the_same_result_in_c_and_in_python(seed: int) -> None:
    """As the library writes them, with everything else that protobuf allows, and broken with a valid digest."""
    rng = Random(seed)
    assert not differing_aggregate(rng)


@pytest.mark.parametrize("keys", [(), (b"key",), (b"key", b"other")])
def test_aggregate_without_user_records_is_rejected_in_c_as_in_python(keys: tuple[bytes, ...]) -> None:
    """Its record would leave no trace otherwise."""
    event = b'{"c":"a","t":"b","id":"1"}'
    datas = [event, kpl.aggregate([], keys), event]
    rows, rejected = read(datas, FIELDS[2])
    assert len(rows) == 2
    assert rejected == [(1, 0, Reason.EMPTY, "a KPL aggregate without user records", datas[1])]
    with without_native():
        assert read(datas, FIELDS[2]) == (rows, rejected)


@installed
def test_native_handles_aggregates_of_the_library_itself() -> None:
    assert native
    whole = kpl.aggregate([b"one", b"x" * 300, b"y" * 70_000], (b"key", b"other"))
    assert native.aggregate(whole, 4, len(whole) - 16, 3) == [b"one", b"x" * 300, b"y" * 70_000]
    for begin, end in ((-1, 5), (5, 4), (4, len(whole) + 1)):
        assert native.aggregate(whole, begin, end, 9) is None


# Inconsistent arguments are refused, not read.


@pytest.mark.parametrize("bounds", [[0, 5], [-1, 2], [2, 1], [0, 2**62]])
@installed
def test_native_events_refuses_bounds_outside_the_text(bounds: list[int]) -> None:
    assert native
    paths = native.paths([[(b"c", -1, 0)]], [[0], [0], [0], [0]], True)
    with pytest.raises(ValueError, match="bounds"):
        native.events(paths, native.numbers(0), b"{}{}", np.array(bounds), b"\0", PERIOD, 0, 100)


@pytest.mark.parametrize(("bounds", "aggregate"), [([0, 19], b"\1"), ([0, 40], b"\1\0"), ([0, 20, 40], b"\1")])
@installed
def test_native_events_refuses_impossible_aggregates(bounds: list[int], aggregate: bytes) -> None:
    """Too short for magic and MD5, or not one flag per record."""
    assert native
    paths = native.paths([[(b"c", -1, 0)]], [[0], [0], [0], [0]], True)
    with pytest.raises(ValueError, match="aggregates"):
        native.events(paths, native.numbers(0), b"{}" * 20, np.array(bounds), aggregate, PERIOD, 0, 100)


def test_events_with_too_many_paths_for_native_are_read_by_python() -> None:
    fields = Fields(tuple(f"c{n}" for n in range(40)), ("t",), ("id",), ("at",))
    assert read([b'{"c39":"a","t":"b","id":"1","at":0}'], fields)[0][0][1] == ("a", "b")
