"""`python -m tests.simulation --seed S --trace`, or `--seeds N [--from K] [--jobs 2]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from simulation.world import Outcome, run


def outcomes(seeds: Iterable[int], jobs: int, fleet: bool) -> Iterator[Outcome]:
    """Each seed's outcome, in order."""
    live = partial(run, fleet=fleet)
    if jobs <= 1:
        yield from map(live, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(live, seeds, chunksize=4)


def _one(seed: int, trace: bool, fleet: bool) -> int:
    outcome = run(seed, trace=trace, fleet=fleet)
    print("\n".join(outcome.log))
    if trace:
        print("\n".join(f"{key} {digest}" for key, digest in outcome.digests.items()))
    print(f"seed {seed}: {outcome.numbers}")
    print("\n".join(outcome.violations) or "no violation")
    return int(bool(outcome.violations))


def _many(seeds: range, jobs: int, fleet: bool) -> int:
    begun, totals, failed = time.perf_counter(), Counter[str](), 0
    for outcome in outcomes(seeds, jobs, fleet):
        totals.update(outcome.numbers)
        if outcome.violations:
            failed += 1
            again = f"python -m tests.simulation --seed {outcome.seed} --trace{' --fleet' * fleet}"
            print(f"{outcome.violations[0]}\n    {again}", flush=True)
    took = time.perf_counter() - begun
    print(f"{len(seeds)} seeds, {failed} failed, {took:.0f} s ({len(seeds) / took * 60:.0f} a minute); {dict(totals)}")
    return int(failed > 0)


def main() -> int:
    """The exit code: 1 if any seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trace", action="store_true", help="print the run's log, and digests of what it left")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fleet", action="store_true", help="several workers share the shards by leases")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return _one(chosen.seed, chosen.trace, chosen.fleet)
    return _many(range(chosen.first, chosen.first + chosen.seeds), chosen.jobs, chosen.fleet)


if __name__ == "__main__":
    sys.exit(main())
