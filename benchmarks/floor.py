"""The floor: the cost of compressing the same lines alone, with the library and the level of the worker.

Lines are gathered by partition, as they are published, and compressed in chunks of 256 KiB; only that is timed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable

from isal import isal_zlib

from benchmarks.baseline import lines_of
from benchmarks.workload import add_arguments, chosen, records

LEVEL = 2
CHUNK = 256 * 1024
_GZIP = 31


class Floor:
    """Adds up CPU seconds, bytes in and bytes out."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.raw = 0
        self.packed = 0

    def add(self, lines: Iterable[bytes]) -> None:
        """Compress the lines as one gzip member."""
        chunk = b"\n".join(lines) + b"\n"
        begun = time.process_time()
        packed = isal_zlib.compress(chunk, LEVEL, _GZIP)
        self.cpu_s += time.process_time() - begun
        self.raw += len(chunk)
        self.packed += len(packed)


def main() -> None:
    """Print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args()
    workload, count = chosen(arguments)
    floor, seen = Floor(), set()
    waiting: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for record in records(workload, arguments.seed, count, arguments.start_ms):
        for line in lines_of(record.data):
            event = json.loads(line)
            if event["messageId"] in seen:
                continue
            seen.add(event["messageId"])
            cell = event["context"]["app"]["namespace"], event.get("event") or event["type"]
            waiting[cell].append(line)
            sizes[cell] += len(line) + 1
            if sizes[cell] >= CHUNK:
                floor.add(waiting.pop(cell))
                sizes[cell] = 0
    for lines in waiting.values():
        floor.add(lines)
    print(json.dumps({"cpu_s": floor.cpu_s, "raw_bytes": floor.raw, "bytes": floor.packed}))


if __name__ == "__main__":
    main()
