"""Deduplication alone, `python -m benchmarks.dedup`: the filter at ingest, and deciding on a plan.

Memory an id and time an id for the one; for the other time a row, where some rows have a copy in the plan or in an
earlier one, bytes a row of the file, and bytes a key in memory.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from vortex.core.dedup.decided import encode
from vortex.core.dedup.keys import Keys
from vortex.core.dedup.resolve import resolve
from vortex.core.dedup.rows import RUN, PlanRuns, Rows
from vortex.core.filter import KEY_BYTES, Filter

_WINDOW_MS = 3_600_000
_RUN_ROWS = 30_000


def _timed(step: Callable[[], Any]) -> float:
    begun = time.process_time()
    step()
    return time.process_time() - begun


def of_filter(ids: int, page: int) -> dict[str, float]:
    """Bytes an id that is known, CPU microseconds an id: new ones at a steady rate, and ones that were seen."""
    rng, found = Random(1), Filter(600_000)
    pages = [rng.randbytes(KEY_BYTES * page) for _ in range(2 * ids // page)]
    every_ms, spent = 300_000 * page // ids + 1, 0.0
    for number, keys in enumerate(pages):
        spent += _timed(lambda keys=keys, at=number * every_ms: found.claim(keys, at, at))
    last = len(pages) * every_ms
    seen = _timed(lambda: [found.claim(keys, last, last) for keys in pages[-10:]])
    return {
        "bytes_per_id": found.nbytes / len(found),
        "us_new": spent / (len(pages) * page) * 1e6,
        "us_seen": seen / (10 * page) * 1e6,
    }


def _rows(rng: np.random.Generator, count: int, again: Rows | None, share: float) -> Rows:
    """Random rows; a share of them have keys of `again`, or of the rows before."""
    high, low = (rng.integers(0, 2**64, count, dtype=np.uint64) for _ in range(2))
    copies = rng.random(count) < share
    source = again if again is not None else Rows(high, low, high, low)  # type: ignore[arg-type]
    which = rng.integers(0, len(source.high), int(copies.sum()))
    high[copies], low[copies] = source.high[which], source.low[which]
    number = np.arange(count, dtype=np.uint32)
    return Rows(high, low, number // _RUN_ROWS, number % _RUN_ROWS)


def _runs(rows: int, at_ms: int) -> PlanRuns:
    table = np.zeros(-(-rows // _RUN_ROWS), dtype=RUN)
    table["lo"], table["hi"] = at_ms, at_ms + 30_000
    return PlanRuns(["shard"], table, [], [])


def of_deciding(rows: int, plans: int, share: float) -> dict[str, float]:
    """CPU microseconds a row, bytes a row of a file, bytes a key in memory; against so many plans of as many rows."""
    rng = np.random.default_rng(1)
    known, last = list[Keys](), None
    for number in range(plans):
        made, runs = _rows(rng, rows, None, 0.0), _runs(rows, number * 300_000)
        order = np.lexsort((made.low, made.high))
        lo, hi = runs.table["lo"].copy(), runs.table["hi"].copy()
        known.append(Keys(made.high[order], made.low[order], made.run[order], lo, hi))
        last = made
    mine, runs = _rows(rng, rows, last, share), _runs(rows, plans * 300_000)
    found: list[Any] = []
    spent = _timed(lambda: found.append(resolve(mine, runs.table, known, _WINDOW_MS)))
    dropped, order = found[0]
    body: list[bytes] = []
    writing = _timed(lambda: body.append(encode(0, 0, 1, runs, mine, dropped, order)))
    return {
        "dropped": int(dropped.sum()),
        "us_per_row": spent / rows * 1e6,
        "us_per_row_written": writing / rows * 1e6,
        "bytes_per_row": len(body[0]) / rows,
        "bytes_per_key": sum(keys.nbytes for keys in known) / max(1, sum(map(len, known))),
    }


def measure(ids: int, page: int, rows: int, plans: int, share: float) -> dict[str, Any]:
    """All figures."""
    return {
        "ids": ids,
        "page": page,
        "rows": rows,
        "plans": plans,
        "share": share,
        "filter": of_filter(ids, page),
        "deciding": of_deciding(rows, plans, share),
    }


def main() -> None:
    """Print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=600_000, help="that a filter knows")
    parser.add_argument("--page", type=int, default=1000, help="ids that come at once")
    parser.add_argument("--rows", type=int, default=300_000, help="of a plan")
    parser.add_argument("--plans", type=int, default=14, help="before it")
    parser.add_argument("--share", type=float, default=0.01, help="of the rows that have a copy in an earlier plan")
    chosen = parser.parse_args()
    print(json.dumps(measure(chosen.ids, chosen.page, chosen.rows, chosen.plans, chosen.share)))


if __name__ == "__main__":
    main()
