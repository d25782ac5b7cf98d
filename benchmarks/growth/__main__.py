"""Prints a curve: the figures for n, 2n, 4n …, and the exponent e of the fitted power n ** e.

    python -m benchmarks.growth --what members

Requests and bytes are counted over a store in memory whose calls take 25 ms of virtual time. CPU seconds depend on the
machine and what else runs there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.growth.checking import verified
from benchmarks.growth.ground import exponent
from benchmarks.growth.hours import closed
from benchmarks.growth.price import MACHINE_BYTES, Bill, bill, default_limit
from benchmarks.growth.publishing import decided_in_parts, held_indexes, listed, one_folder, planned, published
from benchmarks.growth.reading import behind, resumed
from benchmarks.growth.resharding import resharded
from benchmarks.growth.resolving import resolved
from benchmarks.growth.storing import stored
from benchmarks.growth.upkeep import cleaned
from vortex.core.memory import LEAST_AUTO, MIB


@dataclass(frozen=True, slots=True)
class Curve:
    """What is measured: the unit of n, the sizes, and for each size the figures by name; the first one is fitted."""

    unit: str
    sizes: Sequence[int]
    measure: Callable[[int], dict[str, float]]
    fitted: str


def _members(segments: int) -> dict[str, float]:
    seconds, pieces = listed(segments)
    return {"CPU s": seconds, "members": pieces, "us a member": seconds / pieces * 1e6}


def _gets(shards: int) -> dict[str, float]:
    store, segments = published(shards)
    return {"GETs": store.gets(), "segments": segments, "GETs a segment": store.gets() / segments}


def _many_workers(workers: int) -> dict[str, float]:
    store, segments = published(16, workers=workers)
    in_parts = decided_in_parts(16, workers)
    return {
        "GETs": store.gets(),
        "segments": segments,
        "GETs a segment": store.gets() / segments,
        "parts": in_parts.parts,
        "GETs a segment of segments, in parts": in_parts.segment_gets / segments,
        "GETs of decisions and exchanged ids, in parts": in_parts.other_gets,
    }


def _memory(shards: int) -> dict[str, float]:
    peak, page = behind(shards)
    return {
        "peak, in limits": peak.used / peak.limit,
        "peak above the limit, in pages": (peak.used - peak.limit) / page,
    }


def _cleanup(shards: int) -> dict[str, float]:
    found = cleaned(shards)
    return {
        "s of clean-up": found.clean_s,
        "s of the step": found.step_s,
        "LISTs": found.lists,
        "DELETEs": found.deletes,
    }


def _verify(plans: int) -> dict[str, float]:
    found = verified(plans)
    return {"CPU s": found.cpu_s, "virtual s": found.virtual_s, "GETs": found.gets}


def _hot(megabytes: int) -> dict[str, float]:
    return {"virtual MB/s": one_folder(megabytes, 0.025, 90)}


def _hot_workers(workers: int) -> dict[str, float]:
    return {"virtual MB/s": one_folder(20_000, 0.025, 90, workers)}


def _planner_memory(shards: int) -> dict[str, float]:
    held, whole, gets = held_indexes(shards)
    return {"bytes held": held, "bytes of indexes": whole, "GETs a segment": gets / shards / 10}


def _planner(shards: int) -> dict[str, float]:
    seconds, gets = planned(shards)
    return {"virtual s of the step": seconds, "GETs": gets, "GETs a shard": gets / shards}


def _price(shards: int) -> dict[str, float]:
    return _priced(shards, None)


def _price_with_little_memory(shards: int) -> dict[str, float]:
    return _priced(shards, LEAST_AUTO)


def _priced(shards: int, limit: int | None) -> dict[str, float]:
    found = bill(shards, _workers(shards), minutes=10, limit=limit, warm_s=4500)  # the window is full
    return _dollars(found, limit)


def _price_of_a_fleet(shards: int) -> dict[str, float]:
    """A full window takes too long with so many shards."""
    return _dollars(bill(shards, _workers(shards), minutes=5))


def _workers(shards: int) -> int:
    return max(1, shards // 50)


def _dollars(found: Bill, limit: int | None = None) -> dict[str, float]:
    return {
        "% of Kinesis": found.percent,
        "MiB of memory.limit": (limit or default_limit(50)) / MIB,
        "$ in all": sum(found.parts.values()),
        **{f"$ {name}": dollars for name, dollars in found.parts.items()},
    }


def _manifests(partitions: int) -> dict[str, float]:
    found, bundled = closed(partitions), closed(partitions, bundle=64 * 1024)
    return {
        "virtual s": found.virtual_s,
        "PUTs of manifests": found.manifests,
        "PUTs of objects": found.objects,
        "bytes of manifests held": found.held,
        "PUTs with layout.small": bundled.manifests + bundled.objects,
        "virtual s with layout.small": bundled.virtual_s,
    }


def _bundles(kilobytes: int) -> dict[str, float]:
    """With objects, and so bundles, of 16 KiB: a thousandth of the shipped size."""
    found = closed(1000, 1000 * kilobytes, bundle=8 * 1024, target=16 * 1024)
    return {"PUTs of objects": found.objects, "PUTs of manifests": found.manifests}


def _resume(segments: int) -> dict[str, float]:
    held, whole = resumed(segments)
    return {"bytes of indexes held": held, "bytes of indexes": whole}


def _resolve(shards: int) -> dict[str, float]:
    found = resolved(shards, _workers(shards))
    return {
        "requests": found.requests,
        "requests a segment": found.requests / found.segments,
        "footers a segment": found.footers / found.segments,
        "bytes a segment": (found.id_bytes + 2 * found.exchanged_bytes) / found.segments,
        "CPU s": found.cpu_s,
        "parts": found.parts,
    }


def _stored(customers: int) -> dict[str, float]:
    an_event, share, partitions = stored(customers)
    return {"bytes an event": an_event, "of its line": share, "partitions": partitions}


def _gone(times: int) -> dict[str, float]:
    left = resharded(times)
    return {"bytes of plan.json": left.plan_bytes, "lease rows": left.rows, "shards ever": left.shards}


CURVES = {
    "gone": Curve("splits and merges", (10, 20, 40), _gone, "bytes of plan.json"),
    "resolve": Curve(
        "shards, 50 on a worker, a thousandth of the full rate", (50, 100, 200, 400, 800), _resolve, "requests"
    ),
    "resume": Curve("unpublished segments", (40, 80, 160), _resume, "bytes of indexes held"),
    "planner": Curve("shards, ten commits a plan", (125, 250, 500, 1000), _planner, "virtual s of the step"),
    "price": Curve(f"full shards, 50 on a worker of {MACHINE_BYTES >> 30} GiB", (50, 100), _price, "% of Kinesis"),
    "price-with-little-memory": Curve(
        f"full shards, 50 on a worker, memory.limit = {LEAST_AUTO // MIB}MiB",
        (50, 100),
        _price_with_little_memory,
        "% of Kinesis",
    ),
    "price-of-a-fleet": Curve(
        "full shards, 50 on a worker, a window of 15 to 20 minutes", (1000,), _price_of_a_fleet, "% of Kinesis"
    ),
    "stored": Curve("customers with 8 types, a minute of a full shard", (1, 40, 250), _stored, "bytes an event"),
    "planner-memory": Curve("shards, 20,000 bytes allowed", (4, 8, 16, 32), _planner_memory, "bytes held"),
    "manifests": Curve("partitions of an hour", (2500, 5000, 10_000), _manifests, "virtual s"),
    "bundles": Curve("KB in 1,000 partitions, bundles of 16 KiB", (1000, 2000, 4000), _bundles, "PUTs of objects"),
    "hot": Curve("compressed MB in one folder, 90 MB/s a connection", (640, 1280, 2560), _hot, "virtual MB/s"),
    "hot-by-workers": Curve("workers, 20 GB in one folder", (1, 2, 4), _hot_workers, "virtual MB/s"),
    "verify": Curve("plans of 32 objects", (96, 192, 384, 768), _verify, "CPU s"),
    "cleanup": Curve("shards, 10 old segments each", (125, 250, 500, 1000), _cleanup, "s of clean-up"),
    "memory": Curve("shards behind, a limit of ten pages", (25, 50, 100, 200), _memory, "peak, in limits"),
    "gets": Curve("shards at a hundredth of the full rate", (4, 8, 16, 32), _gets, "GETs"),
    "gets-by-workers": Curve("workers, 16 shards", (1, 2, 4, 8), _many_workers, "GETs"),
    "members": Curve("segments of 2,000 members", (100, 200, 400, 800), _members, "CPU s"),
}


def lines(curve: Curve, sizes: Sequence[int]) -> Iterator[str]:
    """The curve as text: a line for each size, and the exponent if there are several."""
    values = []
    for size in sizes:
        figures = curve.measure(size)
        values.append(figures[curve.fitted])
        yield f"{size:>8,} {curve.unit}: " + ", ".join(f"{name} {value:,.10g}" for name, value in _short(figures))
    if len(sizes) > 1:
        yield f"{curve.fitted}: exponent {exponent(sizes, values):.2f}"


def _short(figures: dict[str, float]) -> list[tuple[str, float]]:
    return [(name, round(value, 3)) for name, value in figures.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the chosen curve. Raises SystemExit with a line of usage for sizes that make no curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=sorted(CURVES), required=True)
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="other sizes, two or more")
    chosen = parser.parse_args(arguments)
    curve = CURVES[chosen.what]
    if chosen.sizes and (min(chosen.sizes) < 1 or len(set(chosen.sizes)) < min(2, len(curve.sizes))):
        parser.error("--sizes: a curve needs two or more different sizes, each of at least 1")
    for line in lines(curve, chosen.sizes or curve.sizes):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
