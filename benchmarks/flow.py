"""CPU time of the core for an event, while new pages arrive: `python -m benchmarks.flow`.

`benchmarks.core` processes the same pages repeatedly. This reads new replies of several shards in turn, fills filters,
cuts segments, and waits before pages like a worker. It prints the mean, not the least, which includes cold caches,
memory that is touched for the first time, and growing tables.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.arguments import positive
from benchmarks.core import fresh, pages, reply_of
from benchmarks.workload import WORKLOADS
from vortex.adapters.kinesis.get_records import decode_reply
from vortex.core.model import Page

_SEGMENT_BYTES = 64 * 2**20


@dataclass(slots=True)
class Spent:
    """CPU seconds of the process."""

    reply: float = 0.0
    take: float = 0.0
    seal: float = 0.0

    def per_event(self, events: int) -> str:
        """In microseconds an event."""
        parts = {"reply": self.reply, "take": self.take, "seal": self.seal}
        parts["all"] = sum(parts.values())
        return "   ".join(f"{name} {spent / events * 1e6:5.2f}" for name, spent in parts.items())


def flow(replies: Sequence[bytes], server_ms: int, shards: int, wait_s: float, burst: int) -> Spent:
    """Read the replies, shard by shard in turn; `wait_s` is slept before every `burst` of them."""
    spent, states = Spent(), [fresh() for _ in range(shards)]
    buffer = bytearray(max(map(len, replies)))
    for number, reply in enumerate(replies):
        state = states[number % shards]
        body = memoryview(buffer)[: len(reply)]
        body[:] = reply
        if wait_s and number % burst == 0:
            time.sleep(wait_s)
        begun = time.process_time()
        page = Page(decode_reply(body).records, "next", 0, server_ms, size=len(reply))
        decoded = time.process_time()
        state.take(page)
        del page
        sealing = time.process_time()
        if state.buffered >= _SEGMENT_BYTES or number >= len(replies) - shards:
            state.cut("benchmark", 0).seal("")
        spent.reply += decoded - begun
        spent.take += sealing - decoded
        spent.seal += time.process_time() - sealing
    return spent


def main() -> None:
    """Print microseconds an event, for each way of waiting, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="a", choices=sorted(set(WORKLOADS) - {"e", "f", "two", "empty"}))
    parser.add_argument("--pages", type=positive, default=200)
    parser.add_argument("--page-events", type=positive, default=1000)
    parser.add_argument("--shards", type=positive, default=8)
    parser.add_argument("--rounds", type=positive, default=3)
    arguments = parser.parse_args()
    made = pages(arguments.workload, arguments.pages * arguments.page_events, arguments.page_events)
    replies, server_ms = [reply_of(page) for page in made], made[0].server_ms
    del made
    for _ in range(arguments.rounds):
        for wait_s, burst in ((0.0, 1), (0.05, 1), (0.4, 8), (0.4, 32)):
            spent = flow(replies, server_ms, arguments.shards, wait_s, burst)
            waits = f"{wait_s} s before every {burst} pages" if wait_s else "without a pause"
            print(f"{waits:32} {spent.per_event(arguments.pages * arguments.page_events)}", flush=True)


if __name__ == "__main__":
    main()
