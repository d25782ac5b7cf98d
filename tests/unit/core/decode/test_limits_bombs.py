"""Records that cost far more CPU or memory than their size: the loop stays responsive, memory stays bounded, nothing is
lost.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc

import pytest

from tests.bombs import LIMIT, MIB, SETTINGS
from tests.chaos.bombs import BOMBS
from tests.native import native
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.events import EventReader
from vortex.core.decode.records import Records
from vortex.core.model import HOUR_MS, Record
from vortex.runtime.assembly import fields_of

CONSTANT_MIB = 320
"""Fixed memory on top of the limit, as in benchmarks/memory.py."""
BESIDE_MIB = 20
GAP_S = 1.0
"""In CPU time of the thread: wall time depends on the load of the machine."""
WORST = {
    "a gzip record of empty objects": {"too_many_events"},
    "a gzip record of events": set[str](),
    "a gzip record of events on several shards": set[str](),
    "large records of several kinds on several shards": {"event_too_large", "page_too_large", "too_many_events"},
    "an array of numbers": {"too_many_events"},
    "empty lines": {"missing_customer"},
    "empty gzip members": {"too_many_members"},
    "empty gzip members, with blanks between, and a long end": {"empty"},
    "user records of empty gzip members": {"empty", "too_many_members"},
    "user records of one byte": {"rejections_too_large"},
    "empty user records": {"too_many_sub_records"},
    "a customer that is a list": {"bad_customer"},
    "an ambiguous event of many keys": {"too_many_keys"},
    "types of 600 characters": set[str](),
    "packed control characters": {"event_too_large", "page_too_large"},
    "events without a customer": {"missing_customer"},
    "one record with a customer for each event": set[str](),
}
"""The worst of tests/bombs.py (all of it takes minutes), with the expected rejection reasons."""


@pytest.mark.skipif(native is None, reason="takes several times as long without the steps in C")
def test_hostile_pages_keep_the_loop_responsive_and_memory_bounded_and_lose_nothing() -> None:
    """Runs in a separate process, through a shard's loop, with a limit of 64 MiB for lines."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bombs", *WORST], capture_output=True, text=True, timeout=900, check=False
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["name"] for row in rows] == list(WORST), done.stderr
    for row in rows:
        assert row["own_gap"] < GAP_S, row
        assert row["peak"] < LIMIT / MIB + CONSTANT_MIB, row
        assert row["lost"] == 0, row
        assert set(row["reasons"]) == WORST[row["name"]], row
        counts = row["counts"]
        assert counts["events"] == counts["accepted"] + counts["filtered"] + counts["rejected"], row


@pytest.mark.skipif(native is None, reason="the steps in Python take more memory")
@pytest.mark.parametrize("name", BOMBS)
def test_a_record_takes_little_memory_beside_its_decompressed_data(name: str) -> None:
    """So a record that uses up `limits.record` takes at most this much more than that."""
    reader = EventReader(Decoder(fields_of(SETTINGS)), HOUR_MS, 5)
    records = Records.of([Record("1", 1.0, BOMBS[name]())])
    peak = 0
    tracemalloc.start(1)
    try:
        for one in reader.slices(records):
            peak = max(peak, tracemalloc.get_traced_memory()[1])
            del one
            tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB + BESIDE_MIB * MIB
