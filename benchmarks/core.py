"""CPU time of the core for an event, step by step: `python -m benchmarks.core`.

Each step that a worker takes with a page of GetRecords is timed separately. The least of many rounds counts: it is the
time of the step when no other program uses the processor.
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from benchmarks.arguments import positive
from benchmarks.workload import WORKLOADS, recent_start, records
from vortex.adapters.kinesis import get_records as getrecords
from vortex.adapters.kinesis.get_records import decode_reply
from vortex.core.decode import events, interning
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.events import EventReader
from vortex.core.decode.fields import Fields
from vortex.core.decode.records import Records
from vortex.core.ingest import filter
from vortex.core.ingest.filter import Filter
from vortex.core.ingest.policy import Policy
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.layout import Layout
from vortex.core.log import lines
from vortex.core.model import Page, Position, Record, ShardInfo, Start
from vortex.core.native import pure
from vortex.core.periods import Rules

_FIELDS = Fields(("context.app.namespace",), ("event", "type"), ("messageId",), ("timestamp", "receivedAt"))
_PERIOD_MS = 300_000


def policy() -> Policy:
    """What the benchmarks' worker is configured with."""
    layout = Layout(
        "customer={customer}/event_type={event_type}/date={date}/hour={hour}", "_rejected/date={date}/hour={hour}"
    )
    return Policy(Decoder(_FIELDS), layout, Rules(_PERIOD_MS, 60_000), 3_600_000, seed=7)


def pages(workload: str, events: int, page_events: int) -> list[Page]:
    """One shard's pages."""
    chosen, start = WORKLOADS[workload], recent_start(1_800_000_000_000)
    rows = list(records(chosen, 1, events, start))
    size = max(1, page_events // chosen.per_record)
    made = [Record(str(number), row.arrival_ms / 1000, row.data) for number, row in enumerate(rows)]
    return [
        Page(
            made[at : at + size], "next", 0, start + 2 * _PERIOD_MS, size=sum(len(r.data) for r in made[at : at + size])
        )
        for at in range(0, len(made), size)
    ]


def fresh() -> ShardIngest:
    """A shard that was never read."""
    position = Position(Start.TRIM_HORIZON)
    return ShardIngest(
        ShardInfo("shard"),
        policy(),
        n=-1,
        position=position,
        watermark=0,
        closed_before=0,
    )


def reply_of(page: Page) -> bytes:
    """The page as a body of GetRecords."""
    rows = [
        {
            "SequenceNumber": record.sequence.zfill(56),
            "ApproximateArrivalTimestamp": record.arrival,
            "Data": base64.b64encode(record.data).decode(),
            "PartitionKey": "key",
        }
        for record in page.records
    ]
    return msgspec.json.encode({"MillisBehindLatest": 0, "NextShardIterator": "next", "Records": rows})


def least(step: Callable[[], Any], rounds: int) -> float:
    """CPU seconds of the quickest round."""
    spent = []
    for _ in range(rounds):
        begun = time.process_time()
        step()
        spent.append(time.process_time() - begun)
    return min(spent)


def steps_of(page: Page, rounds: int) -> dict[str, float]:
    """CPU seconds of each step for one page."""
    body, records, rules = reply_of(page), Records.of(page.records), policy().rules
    reader = EventReader(policy().decoder, rules.period_ms, policy().seed)
    found = reader.page(records)
    keys, arrived = found.keys.tobytes(), (records.arrivals * 1000).astype(np.int64)

    def claimed() -> None:
        Filter(600_000).claim(keys, 0, 0)

    def grouped() -> None:
        ingest = fresh()
        period, _ = ingest._routed(found, arrived, found.record)
        ingest._keep(found, period, found.start, found.size, found.name, found.keys)

    return {
        "GetRecords reply to records": least(lambda: decode_reply(body), rounds),
        "records to events": least(lambda: reader.page(records), rounds),
        "filter, empty": least(claimed, rounds),
        "events to groups": least(grouped, rounds),
    }


def taking(some: Sequence[Page], rounds: int) -> float:
    """CPU seconds for taking one page, once a shard has seen some: all of the above but the reply."""
    spent = []
    for _ in range(rounds):
        ingest = fresh()
        for number, page in enumerate(some[:-1]):  # the last one may hold less
            begun = time.process_time()
            ingest.take(page)
            if number > 2:
                spent.append(time.process_time() - begun)
    return min(spent)


def sealing(some: Sequence[Page], rounds: int) -> float:
    """CPU seconds for sealing one segment of these pages."""
    spent = []
    for _ in range(rounds):
        ingest = fresh()
        for page in some:
            ingest.take(page)
        draft = ingest.cut("benchmark", 0)
        begun = time.process_time()
        draft.seal("")
        spent.append(time.process_time() - begun)
    return min(spent)


def main() -> None:
    """Print microseconds an event."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="a", choices=sorted(set(WORKLOADS) - {"e", "f", "empty"}))
    parser.add_argument("--page-events", type=positive, default=1000)
    parser.add_argument("--rounds", type=positive, default=60)
    parser.add_argument("--python", action="store_true", help="without the steps in C")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.python:
        for module in (events, filter, interning, lines, getrecords):
            module.steps = pure  # type: ignore[attr-defined]
    gc.freeze()
    several = pages(arguments.workload, 30 * arguments.page_events, arguments.page_events)
    figures = {
        name: spent / arguments.page_events * 1e6 for name, spent in steps_of(several[3], arguments.rounds).items()
    }
    figures["whole page"] = taking(several, 5) / arguments.page_events * 1e6
    figures["a segment sealed, 30 pages"] = sealing(several, 5) / (30 * arguments.page_events) * 1e6
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:32} {figure:6.3f} us an event")


if __name__ == "__main__":
    main()
