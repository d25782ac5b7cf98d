"""Memory against `memory.limit`: `python -m benchmarks.memory`.

Events of the last 24 hours in 2,000 partitions, all accepted into their own hours, several times more of them than the
limit allows in memory. Prints the worker's peak (the operating system's figure) and that of a worker with
nothing to do. Fails if the peak is over limit + CONSTANT.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from benchmarks.arguments import positive
from tests.harness import Site, make_stream
from tests.servers import CREDENTIALS, moto_server

PARTITIONS = 2000
HOURS = 24
CONSTANT_MIB = 320
"""What the process takes beside the limit: interpreter and libraries, pages on their way, publishing."""
_PER_RECORD = 50


def produce(site: Site, events: int) -> None:
    """`events` events of about 1 KB, fifty a record, over all partitions and hours alike."""
    kinesis = make_stream(site.kinesis, site.stream, 2)
    rng = Random(1)
    now = time.time()
    rows: list[dict[str, object]] = []
    for first in range(0, events, _PER_RECORD):
        lines = []
        for number in range(first, first + _PER_RECORD):
            place = number % (PARTITIONS * HOURS)
            event = {
                "id": f"e{number}",
                "customer": f"c{place % PARTITIONS // 8}",
                "type": f"t{place % 8}",
                "at": now - 3600 * (place // PARTITIONS) - rng.random() * 3000,
                "x": f"{rng.getrandbits(3200):x}",
            }
            lines.append(json.dumps(event).encode())
        rows.append({"Data": b"\n".join(lines), "PartitionKey": str(first)})
        if len(rows) == 50:
            kinesis.put_records(StreamName=site.stream, Records=rows)
            rows = []
    if rows:
        kinesis.put_records(StreamName=site.stream, Records=rows)


def peak_mib(site: Site) -> float:
    """The peak memory of a drain, in MiB. Raises RuntimeError where the worker fails."""
    command = site.command("run", "--drain")
    pid = os.posix_spawn(command[0], command, {**os.environ, "VORTEX_MEMORY__LIMIT": LIMIT})
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"the worker ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 1024


LIMIT = "64MiB"


def main() -> int:
    """0 when the peak stays below limit + constant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=positive, default=300_000)
    options = parser.parse_args()
    os.environ.update(CREDENTIALS)
    with moto_server() as url, tempfile.TemporaryDirectory(prefix="vortex-memory-") as folder:
        idle = Site(url, "idle", (Path(folder) / "idle").as_uri(), Path(folder) / "idle.toml")
        full = Site(url, "full", (Path(folder) / "full").as_uri(), Path(folder) / "full.toml")
        make_stream(url, "idle", 2)
        for site in (idle, full):
            site.configure(every="30s", period="1h", lateness="26h")
        produce(full, options.events)
        base, peak = peak_mib(idle), peak_mib(full)
        rows = len(full.lines())
    print(f"{options.events} events of about 1 KB, {PARTITIONS} partitions x {HOURS} hours, limit {LIMIT}")
    print(
        f"idle {base:.0f} MiB, peak {peak:.0f} MiB; limit + constant = {64 + CONSTANT_MIB} MiB; {rows} rows published"
    )
    return 0 if rows == options.events and peak <= 64 + CONSTANT_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
