"""What a segment takes in storage."""

from __future__ import annotations

import json
from random import Random

from benchmarks.growth.ground import T0, segment
from benchmarks.workload import events
from vortex.core.log.segment import Cell, Folder, folder_hash

_MINUTE = 60_000
"""Events of 1 KB that a full shard takes in `commit.every`."""


def stored(customers: int, number: int = _MINUTE) -> tuple[float, float, int]:
    """Of a segment with so many events of these customers: bytes an event, their share of the lines' bytes, and the
    number of its partitions. An id takes 16 bytes.
    """
    lines: dict[tuple[str, str], list[bytes]] = {}
    for line in events(1, number, customers=customers):
        event = json.loads(line)
        lines.setdefault((event["context"]["app"]["name"], event.get("event", event["type"])), []).append(line)
    cells = {_cell(customer, kind): some for (customer, kind), some in lines.items()}
    size = len(segment("shardId-000000000000", 0, "", T0, cells, Random(1).randbytes(16 * number)).body)
    return size / number, size / sum(len(line) + 1 for some in lines.values() for line in some), len(cells)


def _cell(customer: str, kind: str) -> Cell:
    path = f"customer={customer}/event_type={kind}/date=2023-11-14/hour=22"
    return Cell(Folder(path, folder_hash(path), customer, kind), T0)
