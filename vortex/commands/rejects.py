"""`vortex rejects`: what was rejected and why, and how to put it back on the stream once the cause is mended."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import msgspec

from vortex.adapters.clock import SystemClock
from vortex.commands.bars import bars
from vortex.commands.event_files import new_file
from vortex.commands.existing_state import newest_life
from vortex.commands.instants import instant_or_none, ordered
from vortex.commands.printing import print_line
from vortex.config.quoting import quoted
from vortex.config.settings import Settings
from vortex.core.decode.codecs import format_name
from vortex.core.decode.reasons import Reason
from vortex.core.ingest.policy import Policy
from vortex.core.layout import date_and_hour, moment
from vortex.core.wording import counted
from vortex.exits import Exit
from vortex.log.store import LogStore
from vortex.lookup.fields import decoded, value_at
from vortex.lookup.identity import reader_of
from vortex.lookup.progress import Progress
from vortex.lookup.receipts import Receipts, Standing
from vortex.lookup.rejections import Rejection, RejectionStore
from vortex.lookup.replay import Mended, Replay, Replayed
from vortex.retry import Once
from vortex.runtime.assembly import policy_of
from vortex.runtime.factories import open_sink, open_store, open_stream, stream_name

DAY_MS = 86_400_000
_ROWS = 20
_COUNTED = 10_000
_PARALLEL = 32
_EXCERPT = 80
_LOOKED_INTO = 1 << 20


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rejections: of the last day by default; of some reasons and shards."""

    since: str | None = None
    until: str | None = None
    reasons: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()

    @property
    def span(self) -> tuple[int, int]:
        """Epoch milliseconds. Raises FileError."""
        until = instant_or_none("--until", self.until)
        until = time.time_ns() // 1_000_000 if until is None else until
        since = instant_or_none("--since", self.since)
        since = max(0, until - DAY_MS) if since is None else since
        ordered(since, until, ", which is now if it is not given")
        return since, until

    def settled(self) -> Choice:
        """The same with both times, so that each reading has the same. Raises FileError."""
        since, until = map(_iso, self.span)
        return replace(self, since=since, until=until)

    @property
    def doubt(self) -> str:
        """Where a reason is none of this version's: what may be meant."""
        for reason in self.reasons:
            if reason not in list(Reason):
                near = get_close_matches(reason, list(Reason), 1)
                hint = f"did you mean {near[0]}?" if near else f"reasons are {', '.join(Reason)}"
                return f"; there is no reason {quoted(reason)}; {hint}"
        return ""

    def has(self, one: Rejection) -> bool:
        """Whether it is one of these."""
        return (not self.reasons or one.reason in self.reasons) and (not self.shards or one.shard in self.shards)


@dataclass(frozen=True, slots=True)
class _Opened:
    log_store: LogStore
    policy: Policy
    seed: int
    rejections: RejectionStore
    progress: Progress


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[_Opened]:
    async with open_store(settings) as store:
        log_store, state = await newest_life(store, stream_name(settings))
        policy = policy_of(settings, state)
        with bars() as progress:
            rejections = RejectionStore(store, policy.layout, progress)
            yield _Opened(log_store, policy, state.seed, rejections, progress)


# summary


def summary(settings: Settings, choice: Choice, as_json: bool) -> int:
    """Print how many there are by reason, customer and hour. Raises PortError, NoState, FileError."""
    counts = asyncio.run(_counts(settings, choice.settled()))
    if as_json:
        click.echo(json.dumps({name: dict(counter) for name, counter in counts.items()}, indent=1))
        return Exit.OK
    print_line(counted(counts["reason"].total(), "rejection") + choice.doubt)
    for name, counter in counts.items():
        rows = sorted(counter.items()) if name == "hour" else counter.most_common()
        shown = rows[-_ROWS:] if name == "hour" else rows[:_ROWS]
        if rows:
            print_line(f"by {name}:" + (f" ({len(shown)} of {len(rows)})" if len(rows) > len(shown) else ""))
        for row, number in shown:
            print_line(f"  {number:>10,}  {row[:100]}")
    return Exit.OK


async def _counts(settings: Settings, choice: Choice) -> dict[str, Counter[str]]:
    counts = {name: Counter[str]() for name in ("reason", "customer", "hour")}
    async with _opened(settings) as opened:
        paths = opened.policy.decoder.paths["customer"]
        async for one in opened.rejections.between(*choice.span, choice.has):
            customers = counts["customer"]
            customer = customer_of(one, paths)
            counts["reason"][one.reason] += 1
            customers[customer if customer in customers or len(customers) < _COUNTED else "(others)"] += 1
            date, hour = date_and_hour(int(one.arrival * 1000))
            counts["hour"][f"{date} {hour}:00"] += 1
    return counts


def customer_of(one: Rejection, paths: list[tuple[str, ...]]) -> str:
    """The customer in its bytes, by the current paths."""
    data = one.bytes
    if data is None or len(data) > _LOOKED_INTO:
        return "(large)"
    event = decoded(data)
    if event is None:
        return "(not JSON)"
    found: list[Any] = [value for path in paths if (value := value_at(event, path)) not in (None, "")]
    return str(found[0]) if found and isinstance(found[0], str | int) else "(none)"


# list


def show(settings: Settings, choice: Choice, limit: int, as_json: bool) -> int:
    """Print the first ones, one a line. Raises PortError, NoState, FileError."""
    asyncio.run(_show(settings, choice.settled(), limit, as_json))
    return Exit.OK


async def _show(settings: Settings, choice: Choice, limit: int, as_json: bool) -> None:
    number = 0
    async with _opened(settings) as opened:
        async for one in opened.rejections.between(*choice.span, choice.has):
            number += 1
            if number > limit:
                print_line(f"… and more; --limit {10 * limit} shows them", err=True)
                return
            if as_json:
                click.echo(json.dumps(msgspec.to_builtins(one)))
                continue
            at = moment(int(one.arrival * 1000)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            print_line(f"{at} {one.reason}: {one.detail}")
            print_line(f"    {one.shard} {one.sequence} part {one.sub}; {one.where}")
            print_line(f"    {excerpt(one)}")
    if not number:
        print_line(f"no rejections{choice.doubt}; without --since, the last day is searched", err=True)


def excerpt(one: Rejection) -> str:
    """The beginning of its bytes."""
    data = one.bytes
    if data is None:
        return f"(its bytes are in {one.data_beside})"
    text = data[: 4 * _EXCERPT].decode("utf-8", "backslashreplace")
    return text if len(text) <= _EXCERPT else f"{text[: _EXCERPT - 1]}…"


# replay


@dataclass(frozen=True, slots=True)
class Options:
    """How to replay. `file`: write texts there instead of putting records on the stream."""

    yes: bool = False
    dry_run: bool = False
    keep_rejected: bool = False
    resend_unknown: bool = False
    file: Path | None = None


def replay(settings: Settings, choice: Choice, options: Options) -> int:
    """Put rejections back, each once. FAILED if some were not put. Raises PortError, NoState, FileError."""
    choice = choice.settled()
    ready, still, done = asyncio.run(_counted(settings, choice, options))
    print_line(counted(ready + still.total() + done.total(), "rejection"))
    for standing, number in done.items():
        print_line(f"  {number:,} {standing}")
    for reason, number in still.most_common():
        print_line(f"  {number:,} would be rejected again: {reason}")
    print_line(f"  {ready:,} to put back")
    if options.dry_run or not (ready or (done and options.resend_unknown)):
        return Exit.OK
    if options.file is not None:
        return asyncio.run(_to_file(settings, choice, options, options.file))
    if not options.yes:
        if not (sys.stdin and sys.stdin.isatty()):
            raise click.UsageError("nobody can be asked here; --yes puts them back without asking")
        click.confirm(f"Put them back on stream {stream_name(settings)}?", abort=True)
    return _print_result(asyncio.run(_replay(settings, choice, options)))


def _iso(ms: int) -> str:
    return moment(ms).isoformat(timespec="milliseconds")


async def _counted(settings: Settings, choice: Choice, options: Options) -> tuple[int, Counter[str], Counter[str]]:
    """How many would be put, how many are still rejected, and how many have receipts."""
    ready, still, done = 0, Counter[str](), Counter[str]()
    batch: list[Rejection] = []

    async def look(receipts: Receipts) -> int:
        """Count a batch by its receipts. Returns how many have none."""
        standings = Counter(await asyncio.gather(*map(receipts.look, batch)))
        batch.clear()
        done["were put back before"] += standings[Standing.SENT]
        done["have an attempt of unknown outcome"] += standings[Standing.UNKNOWN]
        return standings[Standing.MINE]

    async with _opened(settings) as opened:
        mended, receipts = Mended(reader_of(opened.policy, opened.seed)), _receipts(opened)
        async for one in opened.rejections.with_data(*choice.span, choice.has):
            data = one.bytes
            reason = "" if options.keep_rejected or data is None else mended.still_rejected(data)
            if reason:
                still[reason] += 1
            elif options.file is not None:
                ready += 1
            else:
                batch.append(msgspec.structs.replace(one, data=None, data_base64=None))
                if len(batch) == _PARALLEL:
                    ready += await look(receipts)
        ready += await look(receipts)
    return ready, still, +done


def _receipts(opened: _Opened) -> Receipts:
    by = f"{socket.gethostname()}:{os.getpid()}"
    store = opened.log_store.store
    return Receipts(store, opened.log_store.root, Once(), run=secrets.token_hex(16), by=by)


async def _replay(settings: Settings, choice: Choice, options: Options) -> Replayed:
    async with _opened(settings) as opened, open_stream(settings) as stream, open_sink(settings) as sink:
        await stream.describe()  # before the first receipt: an attempt that cannot reach the stream would be unknown
        run = Replay(
            _receipts(opened),
            sink,
            Mended(reader_of(opened.policy, opened.seed)),
            SystemClock(),
            keep_rejected=options.keep_rejected,
            resend_unknown=options.resend_unknown,
            progress=opened.progress,
        )
        rejections = opened.rejections.with_data(*choice.span, choice.has)
        async with aclosing(rejections):
            with stopping_on_signals(run):
                return await run.run(rejections)


@contextmanager
def stopping_on_signals(run: Replay) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the run after its batch; a second one ends the command at once."""
    loop, signals = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        print_line("stopping after this batch; a second Ctrl-C leaves its outcome unknown", err=True)
        run.stop()
        usual()

    def usual() -> None:
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        usual()


def _print_result(result: Replayed) -> int:
    print_line(f"{result.sent:,} put back, {result.before:,} were put back before")
    failed = [
        (
            result.unknown,
            "of unknown outcome: they may be on the stream or not. `vortex explain` tells, once they are "
            "read; `--resend-unknown` puts them again after an hour",
        ),
        (result.refused, "refused by the stream; run the same command again"),
        (result.too_large, "too large for a record"),
        (result.missing, "without their bytes"),
    ]
    for number, what in failed:
        if number:
            print_line(f"{number:,} {what}", err=True)
    for line in result.named:
        print_line(f"  {line}", err=True)
    if result.stopped:
        print_line("stopped before the end; the same command puts back the rest", err=True)
    return Exit.FAILED if result.stopped or any(number for number, _ in failed) else Exit.OK


async def _to_file(settings: Settings, choice: Choice, options: Options, path: Path) -> int:
    """Write the texts, one after another, for `vortex preview --file`."""
    written = binary = 0
    async with _opened(settings) as opened:
        mended = Mended(reader_of(opened.policy, opened.seed))
        with new_file(path) as file:
            async for one in opened.rejections.with_data(*choice.span, choice.has):
                data = one.bytes
                if data is None or (not options.keep_rejected and mended.still_rejected(data)):
                    continue
                if one.data is None and format_name(data) != "JSON":
                    binary += 1
                    continue
                file.write(data.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
                written += 1
    print_line(f"wrote {written:,} to {path}" + (f"; {binary:,} are no texts and were left out" if binary else ""))
    return Exit.OK
