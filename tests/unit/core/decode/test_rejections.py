"""The size of rejections, and their cost in memory and time."""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
from random import Random

import numpy as np
import pytest

from tests.native import native
from tests.unit.core.decode.test_limits import NOW, ingest
from vortex.core.decode.limits import Limits
from vortex.core.decode.reasons import Reason
from vortex.core.decode.records import Records
from vortex.core.decode.rejections import LINE_BYTES, Rejected, lines_bytes, lines_of
from vortex.core.model import Page, Record

PAGES, RECORDS = 15, 4_000
_PAD = {"context": {"a": "x" * 200, "b": ["y"] * 20}, "pad": "z" * 450}


def page_without_customers(number: int) -> Page:
    """A page of ordinary events of 1 KB, in which the customer's field has another name."""
    records = []
    for event in range(number * RECORDS, (number + 1) * RECORDS):
        data = json.dumps({"customer": "acme", "t": "page", "id": f"{event:08d}", "at": NOW, **_PAD}).encode()
        records.append(Record(str(event + 1), NOW / 1000, data))
    return Page(Records.of(records), "i", 0, NOW)


def test_rejections_take_at_most_a_third_more_memory_than_is_counted() -> None:
    """Most of it is the events' own bytes."""
    shard = ingest(Limits())
    shard.take(page_without_customers(0))
    shard = ingest(Limits())
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(3):
            shard.take(page_without_customers(number))
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    print(f"{held / shard.pending.rejected:.0f} bytes a rejection, {held / shard.buffered:.2f} times what is counted")
    assert shard.pending.rejected == 3 * RECORDS
    assert held <= 1.3 * shard.buffered


@pytest.mark.skipif(native is None, reason="the bound is for an installation with the steps in C")
def test_a_rejection_costs_less_than_40_microseconds_of_cpu_time() -> None:
    """It takes 10 µs of the thread's time; other work on the machine can double that."""
    pages, shard, least = [page_without_customers(number) for number in range(5)], ingest(Limits()), 1.0
    for page in pages:
        begun = time.thread_time()
        shard.take(page)
        least = min(least, (time.thread_time() - begun) / RECORDS)
    print(f"{1e6 * least:.1f} us a rejection")
    assert least < 40e-6


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"c":"a","t":"b","id":0,' + b"x" * 170,
        b"\x01\n" * 500,
        b'"\\' * 500,
        "é☃".encode() * 500,
        Random(1).randbytes(900),
        b"\0\xff" * 500,
        b"x" * 3_000_000,
        b"\x01" * 2_000_000,
        b"x" * LINE_BYTES,
    ],
    ids=lambda data: f"{data[:2]!r}{len(data)}",
)
def test_lines_bytes_is_nearly_the_size_of_the_lines(data: bytes) -> None:
    several = [Rejected(0, sub, Reason.NOT_JSON, "JSON is malformed (byte 9)", data) for sub in range(10)]
    lines, besides = lines_of(
        several, ["4" * 56], np.array([1545116709.123]), "shardId-000000000000", "_rejected/d/records"
    )
    real = len(lines) + len(besides)
    assert abs(lines_bytes(several, 1 << 30) - real) < 0.1 * real
    assert lines_bytes(several, len(data)) > len(data)
