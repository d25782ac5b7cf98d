"""The steps that are written in C (`native/`), where they are installed; None where not, and Python does their work.

Both ways give the same answers, byte for byte (tests/unit/core/native/test_native.py); what they cost is in
docs/performance.md.
The one in C takes no decision of its own: whatever is not plain it leaves to Python.

- `plan(nodes, fields, hash_missing, formats, max_bytes)`: paths for `events`. A node is a list of (key, node below or
  -1, path or -1); `fields` has the paths of customer, type, id and time. With `formats` the texts of times are left to
  Python; events over `max_bytes` always are. Raises ValueError for more paths than it has room for.
- `numbers(seed)`: an empty table of numbers, given in order of appearance, for `events` (names) or `group`.
- `events(plan, names, text, bounds, aggregate, period_ms, seed, most)`: the events of records
  `text[bounds[i]:bounds[i + 1]]` by column: where lines begin (int64), their sizes (int32), their records (int32), the
  numbers of their names (int32), their keys (16 bytes), their periods (int64); then what is left to Python of some of
  them (`ASKED`), the pairs of customer and type that got a number since the last call, and which records are left to
  Python. `aggregate` has a byte for each record, 1 for a KPL aggregate whose MD5 fits (`kpl.aggregates`). A record of
  more than `most` events is left to Python.
- `group(groups, name, period)`: a number (int32) for each row's name and period, and the pairs that got one.
- `records(body)`: a GetRecords reply as columns: all data, their bounds (int64), arrivals (seconds, float64), sequence
  numbers (a line each), and the reply without its records. None where it is not plain.
- `aggregate(data, begin, end, most)`: the user records in the protobuf of a KPL aggregate, which lies between these
  places, no more than one above `most`. None where it is in any other shape than the library's.
- `lines(texts, page, start, size, chosen)`: the chosen rows' lines, each with its line break.
- `claim(keys, old, young, new)`: enters keys that neither of the filter's tables knows into `young`; `new` gets a byte
  for each. How many entered. A table has sixteen bytes a slot, zeros where it is free. ValueError for a full one.
- `refill(source, target)`: the keys of one such table into another, empty one; how many. Raises ValueError for one that
  is too small.
- `find(high, low, probe_high, probe_low, places)`: of each probe the first place among sorted keys (int64), or -1; both
  are two columns of words and sorted. `maybe(begins, prints, probes, places)`: the same by fingerprints
  (`core.dedup.index`). Other threads go on meanwhile.
"""

from __future__ import annotations

import sys

import numpy as np

__all__ = ["ASKED", "ASK_KEY", "ASK_TIME", "NO_ID", "NO_PERIOD", "native"]

try:
    if sys.byteorder != "little":  # the build refuses, too; but a file may come from another machine
        raise ImportError("words lie the other way round on this machine: hashes would be others")
    from vortex.core import _native as native
except ImportError:
    native = None  # type: ignore[assignment]  # the rest asks for it

ASKED = np.dtype(
    [("row", "<i4"), ("id_at", "<i4"), ("id_size", "<i4"), ("time_at", "<i4"), ("time_size", "<i4"), ("ask", "<u4")]
)
"""What is left to Python of one event, as `native/events.c` writes it: `row` tells which; the id and the time (as JSON)
lie within its line, `ask` says which of them are meant.
"""
ASK_KEY, ASK_TIME, NO_ID = 1, 2, 4
NO_PERIOD = int(np.iinfo(np.int64).min)
"""Stands for the period of an event without a readable time."""
