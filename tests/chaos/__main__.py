"""Every fault at once: `python -m tests.chaos --minutes 10`.

A worker, and a fleet of two processes with a lease table, read streams whose shards split and merge, through a proxy
that injects all faults of the table (`tests.faults`): over TLS of a private authority, with credentials that live 20 s
and half of whose renewals fail. Some records are bombs (`tests.bombs`). Then the faults stop, and everything must drain
and close in bounded time: each id exactly once, a rejection for every bomb, `vortex verify` passes, manifests match. No
process may have ended, no log may contain a traceback, a secret or a payload, `/livez` must have answered within a
second, and memory must have stayed below the limit plus a constant. A long run also fails if a fault never struck.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from botocore.exceptions import BotoCoreError

from benchmarks.memory import CONSTANT_MIB
from tests.chaos.bombs import BOMBS, Bomber
from tests.chaos.pulse import Felt, Pulse
from tests.chaos.workers import Worker, clean_environment
from tests.faultproxy import Deck, FaultProxy, in_thread, no_fault
from tests.faults import FAULTS
from tests.faults.wire import Origin
from tests.fleet_soak import reshard
from tests.harness import (
    Producer,
    Site,
    check_exactly_once,
    check_manifests,
    client,
    hour_ends_in,
    make_stream,
    settle,
    until,
)
from tests.issuer import CONTAINER, Issuer
from tests.privateca import private_ca
from tests.servers import CREDENTIALS, kinesis_local, ministack, moto_server

LIMIT_MIB = 64
LIFE_S = 20.0
SILENT_S = 1.0
LONG_MINUTES = 8.0
"""From this many minutes on every fault of the table must have been injected."""
BRIEF_MINUTES = 0.5
"""Up to this many minutes, faults that make callers wait for long are left out."""
SETTLE_S = 180.0
LAG_S = 30.0
"""The lag that a shard may have after the faults: commits are slow on a busy machine."""
_START_S = 90.0
_RESHARD_S, _RESTART_S = 20.0, 40.0
_RATE, _BRIEF_RATE = 0.08, 0.2
_RATES = {
    # Asked three times a renewal: half of the renewals fail.
    "credentials": 0.8,
    "sts": 0.8,
    "GetRecords": 0.15,
    # Rarely called, so few would get a fault.
    "ListShards": 0.3,
    "DescribeStreamSummary": 0.3,
    "GetShardIterator": 0.3,
    "ListObjectsV2": 0.2,
    "DeleteObjects": 0.2,
    "Scan": 0.2,
    "UpdateItem": 0.15,
}
_CONFIG = """
[memory]
limit = "{limit}MiB"
[dedup]
window = "1h"
"""


@dataclass
class Stand:
    """One stream with its store and its workers, as seen through the proxy and without it."""

    name: str
    direct: Site
    behind: Site
    workers: list[Worker]
    producer: Producer
    bomber: Bomber
    faults: list[str] = field(default_factory=list)


class Chaos:
    """Servers, proxies and both sites."""

    def __init__(self, stack: ExitStack, folder: Path, seed: int, minutes: float, names: str) -> None:
        self.rng, self.folder, self.minutes = Random(seed), folder, minutes
        self.long = minutes >= LONG_MINUTES
        self.faults = [
            fault
            for fault in FAULTS.values()
            if re.fullmatch(names, fault.name) and (fault.every == 1 or minutes > BRIEF_MINUTES)
        ]
        moto, kinesis, leases = (stack.enter_context(server()) for server in (moto_server, kinesis_local, ministack))
        self.issuer = Issuer(LIFE_S, seed=seed)
        context, self.bundle = private_ca(folder)
        origins: dict[str, str | Origin] = {"kinesis": kinesis, "s3": moto, "dynamodb": leases}
        origins |= {"sts": self.issuer, "credentials": self.issuer}
        deck = Deck(seed, _BRIEF_RATE if minutes <= BRIEF_MINUTES else _RATE, _RATES, self.faults)
        self.proxy = FaultProxy(origins, deck, tls=context, seed=seed, guard=self.issuer.guard, cbor=True)
        self.endpoint = FaultProxy(origins, deck, seed=seed, cbor=True)
        """The container's credential endpoint, which speaks plain HTTP."""
        stack.enter_context(in_thread(self.proxy, self.endpoint))
        self.pulse = Pulse()
        stack.callback(self.pulse.kill)
        client("s3", moto).create_bucket(Bucket="chaos")
        self.stands = [self._stand(stack, name, kinesis, moto, leases) for name in ("single", "fleet")]

    def _stand(self, stack: ExitStack, name: str, kinesis: str, moto: str, leases: str) -> Stand:
        make_stream(kinesis, name, 3)
        shift = hour_ends_in(self.minutes * 30)
        url = f"s3://chaos/{name}"
        direct = Site(kinesis, name, url, self.folder / f"{name}-direct.toml", moto)
        behind = Site(self.proxy.url, name, url, self.folder / f"{name}.toml", self.proxy.url)
        for site, table in ((direct, leases), (behind, self.proxy.url)):
            site.configure(lateness=f"{shift + 1}s")
            text = site.config.read_text().replace('level = "warning"', 'level = "debug"\nformat = "json"')
            text = text.replace("[source]", '[source]\npoll = "500ms"') + _CONFIG.format(limit=LIMIT_MIB)
            if name == "fleet":
                text += f'[coordination]\nmode = "dynamodb"\nfailover = "5s"\nendpoint_url = "{table}"\n'
            site.config.write_text(text)
        names = ["worker"] if name == "single" else ["member-1", "member-2"]
        workers = [
            Worker(each, behind, self._environment(sts=each == "member-2"), self.folder / f"{each}.log", self.pulse)
            for each in names
        ]
        for worker in workers:
            stack.callback(worker.kill)
        producer = Producer(direct, Random(self.rng.random()), pause_s=0.2, shift_s=shift)
        bomber = Bomber(direct, Random(self.rng.random()), max(0.5, self.minutes * 60 / (4 * len(BOMBS))))
        return Stand(name, direct, behind, workers, producer, bomber)

    def _environment(self, *, sts: bool = False) -> dict[str, str]:
        """Credentials from the container endpoint, or from STS by web identity."""
        environment = clean_environment(AWS_CA_BUNDLE=str(self.bundle), HOME=str(self.folder))
        if not sts:
            return {**environment, "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.endpoint.url + CONTAINER}
        token = self.folder / "web-identity"
        token.write_text("not-a-real-token")
        return {
            **environment,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/vortex",
            "AWS_ENDPOINT_URL_STS": self.proxy.url,
        }

    @property
    def workers(self) -> list[Worker]:
        """The workers of both sites."""
        return [worker for stand in self.stands for worker in stand.workers]

    def check(self) -> None:
        """Note workers that ended by themselves."""
        for worker in self.workers:
            worker.check()

    def storm(self) -> None:
        """Run for the requested time, once a worker reads."""
        until(lambda: self.proxy.calls["GetRecords"] > 0, _START_S)
        begin = time.monotonic()
        other, again = begin + _RESHARD_S / 2, begin + _RESTART_S
        while (now := time.monotonic()) < begin + self.minutes * 60:
            self.check()
            if now >= other:
                other += _RESHARD_S
                stand = self.rng.choice(self.stands)
                self.say(f"{stand.name}: {reshard(stand.direct, self.rng, 3)}")
            elif now >= again:
                again += _RESTART_S
                worker = self.rng.choice(self.workers)
                self.say(f"{worker.name} is started again")
                worker.ask_to_stop()
                worker.has_stopped()
                worker.start()
            time.sleep(0.2)  # real processes in real time: there is nothing to await

    def calm(self) -> None:
        """End the faults; drain, stop and close everything."""
        self.proxy.choose = self.endpoint.choose = no_fault
        for stand in self.stands:
            stand.producer.finish()
            stand.bomber.finish()
        for stand in self.stands:
            self._attempt(stand, "settles", lambda stand=stand: settle(stand.direct, self.check, LAG_S, SETTLE_S))  # type: ignore[misc]
        for worker in self.workers:
            worker.ask_to_stop()
        for worker in self.workers:
            worker.has_stopped()
        for stand in self.stands:
            self._attempt(stand, "drains", stand.direct.drain)
            self._attempt(stand, "is read", stand.direct.freeze)
            self._attempt(stand, "each id exactly once", lambda stand=stand: self._once(stand))  # type: ignore[misc]
            self._attempt(stand, "every bomb a rejection", lambda stand=stand: _rejected(stand))  # type: ignore[misc]
            self._attempt(stand, "verify", lambda stand=stand: _verified(stand))  # type: ignore[misc]

    def _once(self, stand: Stand) -> str:
        ids = check_exactly_once(stand.direct, stand.producer.sent)
        return f"{sum(stand.producer.sent.values())} puts, {ids} ids, {check_manifests(stand.direct)} hours closed"

    def _attempt(self, stand: Stand, what: str, check: Callable[[], object]) -> None:
        begin = time.monotonic()
        try:
            detail = check()
        except (AssertionError, SystemExit, OSError, BotoCoreError, subprocess.TimeoutExpired) as problem:
            stand.faults.append(f"{stand.name}: {what}: {type(problem).__name__}: {str(problem)[-1500:]}")
            self.say(stand.faults[-1])
        else:
            text = f": {detail}" if isinstance(detail, str) else ""
            self.say(f"{stand.name}: {what}{text} ({time.monotonic() - begin:.1f} s)")

    def say(self, text: str) -> None:
        """Print an event with its time."""
        print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)

    def verdict(self, felt: dict[str, Felt]) -> list[str]:
        """Everything that does not hold."""
        faults = [fault for stand in self.stands for fault in stand.faults]
        for worker in self.workers:
            faults += worker.faults
            faults += worker.said(self.issuer.secrets)
        for name, row in felt.items():
            if row.silent_s > SILENT_S:
                faults.append(f"{name}: /livez was silent for {row.silent_s:.1f} s")
            if row.peak_mib > LIMIT_MIB + CONSTANT_MIB:
                stand = next(each for each in self.stands if name in [worker.name for worker in each.workers])
                allowed = LIMIT_MIB + CONSTANT_MIB
                faults.append(f"{name}: {row.peak_mib:.0f} MiB, {allowed} are allowed; {_rises(row, stand)}")
        if self.proxy.followed + self.endpoint.followed:
            faults.append(f"redirects were followed {self.proxy.followed + self.endpoint.followed} times")
        never = [fault.name for fault in self.faults if not self.strikes()[fault.name]]
        if never and self.long:
            faults.append(f"{len(never)} faults never struck: {', '.join(never)}")
        return faults

    def strikes(self) -> dict[str, int]:
        """The number of injected faults, by fault."""
        counts = self.proxy.strikes() + self.endpoint.strikes()
        return {name: counts[name] for name in FAULTS}


def _rejected(stand: Stand) -> str:
    rows = {str(row.get("sequence")) for row in stand.direct.rejections()}
    missing = [f"{put.name} ({put.shard}, {n})" for n, put in stand.bomber.put.items() if n not in rows]
    assert not missing, f"no rejection of: {', '.join(missing)}"
    return f"{len(stand.bomber.put)} bombs"


def _rises(felt: Felt, stand: Stand) -> str:
    """The last times that a peak rose, and the bombs that were put in the ten seconds before."""
    rises = []
    for at, mib in felt.rises[-3:]:
        names = [put.name for put in stand.bomber.put.values() if at - 10 < put.at <= at]
        rises.append(f"to {mib:.0f} MiB after {', '.join(names) or 'no bomb'}")
    return "; ".join(rises)


def _verified(stand: Stand) -> None:
    done = stand.direct.call("verify")
    assert done.returncode == 0, done.stdout + done.stderr


def report(chaos: Chaos, felt: dict[str, Felt]) -> int:
    """Print the results; the exit code."""
    strikes = chaos.strikes()
    print(f"{sum(strikes.values())} faults in {sum((chaos.proxy.calls + chaos.endpoint.calls).values())} calls:")
    names = [f"{name} {times}" for name, times in sorted(strikes.items(), key=lambda row: -row[1]) if times]
    print("  " + ", ".join(names))
    for call, times in sorted((chaos.proxy.calls + chaos.endpoint.calls).items()):
        struck = sum(n for (each, _), n in (chaos.proxy.struck + chaos.endpoint.struck).items() if each == call)
        print(f"  {call}: {times}, {struck} struck")
    print(f"  refused for an expired key: {chaos.issuer.refused}")
    for name, row in felt.items():
        worst = sorted(row.longest, key=lambda each: -each[2])[:3]
        print(
            f"  {name}: /livez silent for {row.silent_s:.2f} s at most ({row.silent_raw_s:.2f} with what the machine "
            f"took) in {row.polls} polls{f', longest {worst}' if worst else ''}; {row.peak_mib:.0f} MiB at most"
        )
    for worker in chaos.workers:
        print(f"  {worker.name}: polite stops took {', '.join(f'{s:.1f}' for s in worker.stop_s)} s")
    faults = chaos.verdict(felt)
    for fault in faults:
        print(f"FAULT {fault}")
    print(f"{len(faults)} faults of Vortex" if faults else "everything holds")
    return int(bool(faults))


def main(arguments: list[str] | None = None) -> int:
    """0 when everything holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--faults", default=".*", help="only those whose names match this regular expression")
    parser.add_argument("--no-bombs", action="store_true")
    parser.add_argument("--keep", type=Path, help="an empty folder for logs and settings, which stay there")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything that was started is stopped
    print(f"{options.minutes:g} minutes, seed {options.seed}", flush=True)
    for name in [name for name in os.environ if name.startswith(("AWS_", "VORTEX_"))]:
        del os.environ[name]
    os.environ.update(CREDENTIALS)
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-chaos-")))
        folder.mkdir(exist_ok=True)
        chaos = Chaos(stack, folder, options.seed, options.minutes, options.faults)
        for worker in chaos.workers:
            worker.start()
        for stand in chaos.stands:
            stand.producer.start()
            if not options.no_bombs:
                stand.bomber.start()
        chaos.storm()
        chaos.say("the faults stop")
        chaos.calm()
        return report(chaos, chaos.pulse.finish())


if __name__ == "__main__":
    sys.exit(main())
