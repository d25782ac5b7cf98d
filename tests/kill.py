"""Kill a worker at random moments, restart it, and count: `python -m tests.kill --rounds 50 --store disk`.

A producer puts events all the while; the worker commits and publishes every second and keeps no published segment, so
that a kill falls into commits, plans, objects, manifests and clean-up alike. The events' times lie some hours back,
chosen so that an hour closes on the way. At the end every id must be in the store exactly once, `vortex verify` must
pass, and manifests must match folders.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

from tests.harness import (
    Producer,
    Site,
    check_exactly_once,
    check_manifests,
    client,
    hour_ends_in,
    make_stream,
    stopped,
)
from tests.servers import CREDENTIALS, kinesis_local, moto_server


def site_for(stack: ExitStack, stream: str, store: str, folder: Path) -> Site:
    """The emulators, and a configuration for them."""
    moto = stack.enter_context(moto_server())
    kinesis = stack.enter_context(kinesis_local()) if stream == "kinesis-local" else moto
    make_stream(kinesis, "killed", 4)
    if store == "s3":
        client("s3", moto).create_bucket(Bucket="bucket")
        return Site(kinesis, "killed", "s3://bucket/out", folder / "vortex.toml", moto)
    return Site(kinesis, "killed", (folder / "out").as_uri(), folder / "vortex.toml")


def kill(site: Site, rounds: int, rng: Random, log: Path) -> None:
    """Start and kill, `rounds` times. A worker that ends by itself is a failure."""
    for number in range(rounds):
        worker = site.start(log)
        with stopped(worker):
            time.sleep(0.9 + rng.random() * 2.5)  # a random moment, from imports to later plans
            if worker.poll() is not None:
                raise SystemExit(f"round {number}: the worker ended by itself with {worker.returncode}; see {log}")
            worker.send_signal(signal.SIGKILL)
        if number % 10 == 9 or number + 1 == rounds:
            print(f"  {number + 1} of {rounds} kills", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run one store; 0 when everything holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--store", choices=["disk", "s3"], default="disk")
    parser.add_argument("--stream", choices=["moto", "kinesis-local"], default="moto")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args(arguments)
    print(f"{options.rounds} kills, {options.stream}, store on {options.store}, seed {options.seed}", flush=True)
    import os

    os.environ.update(CREDENTIALS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-kill-")))
        site = site_for(stack, options.stream, options.store, folder)
        # The frontier passes a full hour half-way through: kills fall around its manifests, too.
        shift = hour_ends_in(options.rounds * 1.3)
        site.configure(lateness=f"{shift + 1}s")
        producer = Producer(site, Random(options.seed), shift_s=shift)
        producer.start()
        kill(site, options.rounds, Random(options.seed + 1), folder / "worker.log")
        sent = producer.finish()
        site.drain()
        ids = check_exactly_once(site, sent)
        hours = check_manifests(site)
        verified = site.call("verify")
        print(verified.stdout + verified.stderr)
        print(
            f"{sum(sent.values())} events put, {ids} ids, each exactly once; {hours} hours closed; "
            f"verify {'passes' if verified.returncode == 0 else 'FAILS'}"
        )
        return verified.returncode


if __name__ == "__main__":
    sys.exit(main())
