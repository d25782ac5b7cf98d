"""A rolling upgrade: `python -m tests.upgrade --old 0.2.0`.

A fleet of the released version shares a stream; one worker after the other is replaced by this version, the second one
after a SIGKILL, while a producer puts events, some twice. Both versions work beside each other in between.
Then one worker goes back to the release: it works on, or refuses newer formats by a sentence. At the end every id must
be in the store exactly once, manifests must match folders, and `vortex verify` of both versions must pass.

The release is what its tag in git says. Without the tag (a shallow clone, a source distribution) nothing is tried, and
the exit code is 0.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import urlparse

from tests.fleet_soak import Watch, wait_for_table
from tests.harness import (
    Producer,
    Site,
    check_exactly_once,
    check_manifests,
    hour_ends_in,
    make_stream,
    settle,
    stopped,
    until,
)
from tests.servers import CREDENTIALS, REPOSITORY, NoMinistack, ministack, moto_server
from vortex.core.log.segment import SEGMENT_TRAILER
from vortex.core.wording import counted

WORKERS = 3
SHARDS = 24
"""More than a worker of this version renews in the failover time: its leases live by each other."""
BESIDE = 20
"""Objects that a mixed fleet must have published before the next worker is replaced."""
LOST_STATE = 5
_REFUSAL = "run the newer one"
_TABLE = "vortex-upgraded"


@dataclass
class Version:
    """A version of the program: a folder with the package, and its name."""

    name: str
    folder: Path

    def run(self, site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        return subprocess.run(
            site.command(*arguments),
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self.folder,
            env=self._environment,
        )

    def start(self, site: Site, log: Path) -> subprocess.Popen[bytes]:
        """A worker, which runs until it is stopped."""
        with log.open("ab") as file:
            return subprocess.Popen(
                site.command("run"), stdout=file, stderr=file, cwd=self.folder, env=self._environment
            )

    def formats(self) -> dict[str, int]:
        """The versions of the files that it writes."""
        known = json.loads((self.folder / "tests/snapshots/formats.json").read_text("utf-8"))
        return {name: one["version"] for name, one in known.items()}

    def check(self) -> None:
        """The package must be this folder's, whatever is installed."""
        code = "import vortex; print(vortex.__file__)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=self.folder, env=self._environment
        )
        if Path(done.stdout.strip()).parent.parent != self.folder:
            raise SystemExit(f"{self.name}: another package is imported: {done.stdout}{done.stderr}")

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.folder)}


def tag_of(version: str) -> str | None:
    """The tag of a release; None where git, the repository's history or the tag is missing."""
    try:
        listed = subprocess.run(["git", "tag", "--list"], cwd=REPOSITORY, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return next((tag for tag in (f"v{version}", version) if tag in listed.stdout.split()), None)


def checked_out(tag: str, folder: Path) -> Version:
    """The tagged version in `folder`, with its steps in C where there is a compiler."""
    archive = subprocess.run(["git", "archive", tag], cwd=REPOSITORY, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    build = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "build_ext", "--inplace"]
    subprocess.run(build, cwd=folder, capture_output=True)
    how = "with" if list(folder.glob("vortex/core/*.so")) else "without"
    print(f"  {tag} is checked out, {how} its steps in C", flush=True)
    return Version(tag, folder)


@dataclass
class Fleet:
    """The workers by number, each with its version."""

    site: Site
    watch: Watch
    stack: ExitStack
    folder: Path
    running: list[tuple[Version, subprocess.Popen[bytes]]] = field(default_factory=list)
    started: int = 0

    def start(self, version: Version) -> None:
        """One more worker."""
        self.started += 1
        worker = version.start(self.site, self.log(self.started))
        self.stack.enter_context(stopped(worker))
        self.running.append((version, worker))

    def log(self, number: int) -> Path:
        """What a worker said."""
        return self.folder / f"worker-{number}.log"

    def end(self, number: signal.Signals) -> None:
        """The oldest worker gets the signal, and ends."""
        _, worker = self.running.pop(0)
        worker.send_signal(number)
        code = worker.wait(120)
        if number is signal.SIGTERM and code:
            raise SystemExit(f"a worker that was asked to stop ended with {code}; {self.said()}")

    def check(self) -> None:
        """None ends by itself."""
        for version, worker in self.running:
            if worker.poll() is not None:
                raise SystemExit(f"a worker of {version.name} ended by itself with {worker.returncode}; {self.said()}")

    def settled(self) -> None:
        """Wait until each worker has a shard, each shard an owner, and the fleet has published more."""
        before = self.site.published()

        def shared() -> bool:
            self.check()
            owners = set(self.watch.owners.values())
            mine = {worker.pid for _, worker in self.running}
            busy = {pid for pid in mine for owner in owners if f":{pid}:" in owner}
            return busy == mine and len(owners) == len(mine) and self.site.published() >= before + BESIDE

        until(shared, 90)
        names = ", ".join(version.name for version, _ in self.running)
        print(f"  {self.site.published()} objects; the fleet is {names}", flush=True)

    def said(self) -> str:
        """The end of all logs."""
        return "\n".join(
            path.read_text("utf-8", "replace")[-1000:] for path in sorted(self.folder.glob("worker-*.log"))
        )


def newer_files(site: Site, version: Version) -> bool:
    """Whether a plan or a segment in the store has a format that the version does not know."""
    known, root = version.formats(), Path(urlparse(site.store).path, "_vortex")
    if any(json.loads(path.read_bytes())["version"] > known["plan.json"] for path in root.rglob("plan.json")):
        return True
    for path in root.rglob("*.seg"):
        with suppress(FileNotFoundError):  # cleaned up
            if SEGMENT_TRAILER.version(path.read_bytes()) > known["segment"]:
                return True
    return False


def upgrade(fleet: Fleet, old: Version, new: Version) -> None:
    """One worker after the other; the second one dies."""
    for number in range(WORKERS):
        fleet.end(signal.SIGKILL if number == 1 else signal.SIGTERM)
        fleet.start(new)
        fleet.settled()


def go_back(fleet: Fleet, old: Version, new: Version) -> None:
    """One worker of the old version again: it works on, or refuses formats that are newer and stands aside."""
    fleet.end(signal.SIGTERM)
    fleet.start(old)
    if not newer_files(fleet.site, old):
        fleet.settled()
        return
    log = fleet.log(fleet.started)
    until(lambda: _REFUSAL in log.read_text("utf-8", "replace"), 90)
    _, worker = fleet.running.pop()
    worker.send_signal(signal.SIGTERM)
    if worker.wait(120) != LOST_STATE:
        raise SystemExit(f"{old.name} refused newer files and ended with {worker.returncode}; {fleet.said()}")
    print(f"  {old.name} refuses what is newer, and stands aside", flush=True)
    fleet.start(new)
    fleet.settled()


def _story(stack: ExitStack, folder: Path, old: Version, new: Version, seed: int) -> int:
    kinesis, dynamodb = stack.enter_context(moto_server()), stack.enter_context(ministack())
    make_stream(kinesis, "upgraded", SHARDS)
    site = Site(kinesis, "upgraded", (folder / "out").as_uri(), folder / "vortex.toml")
    shift = hour_ends_in(30)
    site.configure(lateness=f"{shift + 1}s")
    with site.config.open("a") as config:
        config.write(f'[coordination]\nmode = "dynamodb"\nendpoint_url = "{dynamodb}"\nfailover = "3s"\n')
    watch = Watch(dynamodb, _TABLE)
    fleet = Fleet(site, watch, stack, folder)
    for _ in range(WORKERS):
        fleet.start(old)
    producer = Producer(site, Random(seed), pause_s=0.1, shift_s=shift)
    producer.start()
    wait_for_table(dynamodb, _TABLE)
    watch.start()
    fleet.settled()
    upgrade(fleet, old, new)
    go_back(fleet, old, new)
    settle(site, fleet.check)
    sent = producer.finish()
    while fleet.running:
        fleet.end(signal.SIGTERM)
    watch.finish()
    drained = new.run(site, "run", "--drain")
    assert drained.returncode == 0, drained.stderr
    ids, hours = check_exactly_once(site, sent), check_manifests(site)
    print(f"{sum(sent.values())} events put, {ids} ids, each exactly once; {counted(hours, 'hour')} closed", flush=True)
    failed = 0
    for version in (old, new):
        verified = version.run(site, "verify")
        said = (verified.stdout + verified.stderr).strip().splitlines()[-1]
        print(f"verify of {version.name}: {said}", flush=True)
        refuses = newer_files(site, version) and verified.returncode == LOST_STATE and _REFUSAL in said
        failed |= 0 if refuses else verified.returncode
    return failed


def main(arguments: list[str] | None = None) -> int:
    """0 when everything holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", default="0.2.0", help="the release to begin with")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args(arguments)
    tag = tag_of(options.old)
    if tag is None:
        print(f"skipped: no tag v{options.old} here; `git fetch --tags` in a clone of the repository brings it")
        return 0
    print(f"from {tag} to this version, {WORKERS} workers, {SHARDS} shards, seed {options.seed}", flush=True)
    os.environ.update(CREDENTIALS)
    begin = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-upgrade-"))).resolve()
        old, new = checked_out(tag, folder / "old"), Version("this version", REPOSITORY)
        old.check()
        new.check()
        try:
            code = _story(stack, folder, old, new, options.seed)
        except NoMinistack as problem:
            print(f"skipped: {problem}")
            return 0
    print(f"{time.monotonic() - begin:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
