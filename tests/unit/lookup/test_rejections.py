"""Rejection lines, and what lies beside them."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from simulation.memstore import MemoryStore
from simulation.vtime import VirtualClock
from vortex.core.decode.reasons import Reason
from vortex.core.decode.rejections import LINE_BYTES, Rejected, lines_of
from vortex.core.layout import Layout
from vortex.core.model import HOUR_MS
from vortex.lookup.rejections import BrokenRejection, RejectionStore, rejection_of, rejections_in

LAYOUT = Layout("c={customer}/t={event_type}/d={date}/h={hour}", "_rejected/d={date}/h={hour}")
HOUR = 1_800_000_000_000 // HOUR_MS * HOUR_MS


def rejected(*datas: bytes, sequence: str = "7", hour: int = HOUR) -> tuple[bytes, bytes]:
    """The lines of rejections of one record, and those beside them."""
    several = [Rejected(0, sub, Reason.NOT_JSON, "no", data) for sub, data in enumerate(datas)]
    return lines_of(several, [sequence], np.array([hour / 1000]), "s-1", LAYOUT.beside_folder(hour))


def test_rejections_in_gives_the_original_bytes_of_texts_and_others() -> None:
    lines, _ = rejected(b'{"a', b"\xff\x00", "é\x1b".encode())
    found = list(rejections_in(gzip.compress(lines), "k"))
    assert [one.bytes for one in found] == [b'{"a', b"\xff\x00", "é\x1b".encode()]
    assert [(one.identity, one.where) for one in found] == [(("s-1", "7", n), f"k line {n + 1}") for n in range(3)]


@pytest.mark.parametrize(
    "line", [b"{}", b"x", b'{"reason":"a","shard":"s","sequence":"1","sub":0,"arrival":1,"data_base64":"!"}']
)
def test_rejection_of_names_the_place_of_a_broken_line(line: bytes) -> None:
    with pytest.raises(BrokenRejection, match="k line 3"):
        rejection_of(line, "k line 3")


async def test_store_reads_the_hours_in_order_and_the_bytes_beside() -> None:
    store = MemoryStore(VirtualClock())
    large = b"\xfe" * (LINE_BYTES + 1)
    for hour, sequence in ((HOUR, "1"), (HOUR + HOUR_MS, "2"), (HOUR + 5 * HOUR_MS, "3")):
        lines, beside = rejected(b"x", large, sequence=sequence, hour=hour)
        folder = LAYOUT.rejected_folder(hour)
        store.put_now(f"{folder}/0000-000.json.gz", gzip.compress(lines))
        store.put_now(f"{folder}/records/0000-001.json.gz", gzip.compress(beside))
    rejections = RejectionStore(store, LAYOUT)
    found = [one async for one in rejections.between(HOUR, HOUR + 2 * HOUR_MS)]
    assert [(one.sequence, one.bytes) for one in found] == [("1", b"x"), ("1", None), ("2", b"x"), ("2", None)]
    wanted = {found[1].identity: found[1]}
    joined = [one async for one in rejections.data_of(f"{LAYOUT.rejected_folder(HOUR)}/0000-000.json.gz", wanted)]
    assert [one.bytes for one in joined] == [large]
    assert wanted == {}
    whole = [one async for one in rejections.with_data(0, HOUR + 3 * HOUR_MS)]  # one listing, and the bytes beside
    assert [(one.sequence, one.bytes) for one in whole] == [("1", b"x"), ("1", large), ("2", b"x"), ("2", large)]
    assert json.loads(rejected(b"x")[0])["reason"] == "not_json"


@pytest.mark.parametrize("line", [b"{}", b'{"shard":"s-1","sequence":"7","sub":0,"data_base64":"!"}'])
async def test_store_names_the_object_beside_when_a_line_of_it_is_broken(line: bytes) -> None:
    store, folder = MemoryStore(VirtualClock()), LAYOUT.rejected_folder(HOUR)
    store.put_now(f"{folder}/0000-000.json.gz", gzip.compress(rejected(b"\xfe" * (LINE_BYTES + 1))[0]))
    store.put_now(f"{folder}/records/0000-001.json.gz", gzip.compress(line + b"\n"))
    with pytest.raises(BrokenRejection, match="001.json.gz: a line is not the bytes".replace(".", r"\.")):
        _ = [one async for one in RejectionStore(store, LAYOUT).with_data(HOUR, HOUR + 1)]
