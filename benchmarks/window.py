"""The deduplication window alone: memory an id and time an id, growing, at a steady size, and rebuilt from a log."""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from vortex.core.window import KEY_BYTES, Window

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_WORTH_ASKING = 100_000
"""Ids below which a window's fixed costs say nothing about the cost of an id."""


def resident() -> float:
    """Bytes of memory that the process holds now; not a number where the system has no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return math.nan


def blocks_of(seed: int, ids: int, segment: int) -> list[bytes]:
    """Distinct keys, by segment."""
    rng = Random(seed)
    return [rng.randbytes(KEY_BYTES * min(segment, ids - begin)) for begin in range(0, ids, segment)]


def claim(window: Window, block: bytes, page: int) -> tuple[int, float]:
    """Enter one segment, a page at a time; its tag, and the CPU seconds of the window alone."""
    size = KEY_BYTES * page
    pages = [block[begin : begin + size] for begin in range(0, len(block), size)]
    begun = time.process_time()
    tag = window.open_segment()
    for one in pages:
        window.claim(tag, one)
    return tag, time.process_time() - begun


def rebuilt(blocks: list[bytes], ids: int) -> float:
    """CPU seconds for a window made of a log's blocks, the youngest first."""
    begun = time.process_time()
    window = Window(ids)
    for block in reversed(blocks):
        window.load(block)
    spent = time.process_time() - begun
    if len(window) != ids:
        raise SystemExit(f"the rebuilt window holds {len(window)} ids, not {ids}")
    return spent


def measure(ids: int, page: int, segment: int) -> dict[str, Any]:
    """The figures: bytes an id, CPU microseconds an id, CPU seconds for the rebuilding."""
    first, second = blocks_of(1, ids, segment), blocks_of(2, ids, segment)
    before, peak = resident(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    window, tags, sizes = Window(), [], []
    grown = 0.0
    for block in first:
        tag, spent = claim(window, block, page)
        tags.append(tag)
        grown += spent
        if len(window) >= _WORTH_ASKING:
            sizes.append(window.nbytes / len(window))
    held = resident() - before
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * _RSS_UNIT
    again = b"".join(first[-4:])
    known, seen = claim(window, again, page)
    window.forget([known])
    steady, turned = [], 0.0
    for old, block in zip(tags, second, strict=True):
        window.forget([old])
        turned += claim(window, block, page)[1]
        steady.append(window.nbytes / len(window))
    if len(window) != ids:
        raise SystemExit(f"the window holds {len(window)} ids, not {ids}")
    repeated = len(again) // KEY_BYTES
    return {
        "ids": ids,
        "page": page,
        "segment": segment,
        "bytes_per_id": {"growing_mean": sum(sizes) / len(sizes), "growing_worst": max(sizes), "steady": max(steady)},
        "resident_bytes_per_id": {"held": held / ids, "peak": peak / ids},
        "us_per_id": {
            "growing": grown / ids * 1e6,
            "steady": turned / ids * 1e6,
            "seen": seen / repeated * 1e6,
        },
        "rebuild_s": rebuilt(second, ids),
    }


def main() -> None:
    """Print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=3_600_000)
    parser.add_argument("--page", type=int, default=1000, help="ids that come at once")
    parser.add_argument("--segment", type=int, default=30_000, help="ids between two commits")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.ids, arguments.page, arguments.segment)))


if __name__ == "__main__":
    main()
