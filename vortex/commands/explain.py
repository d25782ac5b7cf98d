"""`vortex explain`: where an event is, or why it is not there."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import asdict, dataclass

import click

from vortex.commands.bars import bars
from vortex.commands.event_files import standard_input
from vortex.commands.existing_state import newest_life
from vortex.commands.instants import instant_or_none, ordered
from vortex.commands.printing import print_line
from vortex.config.loading import ConfigError
from vortex.config.settings import Settings
from vortex.core.layout import moment
from vortex.exits import Exit
from vortex.lookup.answers import Answer, Copy, Fate, FoundRejection, Verdict
from vortex.lookup.explain import DAY_MS, Explainer, Scope
from vortex.lookup.identity import Wanted, by_id, by_line
from vortex.ports import PortError, Stream
from vortex.runtime.assembly import policy_of
from vortex.runtime.factories import open_store, open_stream, stream_name

_SHOWN_SHARDS = 20
_BEFORE_MS = 3_600_000
_LINE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for: a customer and an id, or else the events on standard input."""

    customer: str | None
    id: str | None
    around: str | None = None
    since: str | None = None
    until: str | None = None
    stream: bool = True

    @property
    def span(self) -> tuple[int | None, int | None]:
        """The time to search objects of, epoch milliseconds. Raises FileError."""
        since, until = instant_or_none("--since", self.since), instant_or_none("--until", self.until)
        around = instant_or_none("--around", self.around)
        if around is not None:
            since, until = around - _BEFORE_MS if since is None else since, around + DAY_MS if until is None else until
        ordered(since, until)
        return since, until


def explain(settings: Settings, question: Question, as_json: bool) -> int:
    """Print an answer for each event; FAILED if one of them was not seen. Raises PortError, NoState."""
    return asyncio.run(_explain(settings, question, as_json))


async def _explain(settings: Settings, question: Question, as_json: bool) -> int:
    since, until = question.span
    async with open_store(settings) as store, _stream_or_none(settings, question.stream) as stream:
        log_store, state = await newest_life(store, stream_name(settings))
        policy, worst = policy_of(settings, state), Exit.OK
        with bars() as progress:
            explainer = Explainer(log_store, state, policy, Scope(stream, since, until), progress)
            if question.customer is not None and question.id is not None:
                wanted: Iterable[Wanted] = [by_id(question.customer, question.id, state.seed)]
            else:
                lines = _lines_of_input()
                wanted = (one for line in lines for one in by_line(line, policy, explainer.reader))
            answered = False
            for one in wanted:
                answered = True
                answer = await explainer.explain(one)
                if as_json:
                    click.echo(json.dumps(asdict(answer)))
                else:
                    for line in answer_lines(answer):
                        print_line(line)
                if answer.verdict is Verdict.NOT_SEEN:
                    worst = Exit.FAILED
            if not answered:
                print_line("no events on standard input; give one a line, or CUSTOMER and ID", err=True)
                worst = Exit.USAGE
    return worst


@contextlib.asynccontextmanager
async def _stream_or_none(settings: Settings, wanted: bool) -> AsyncIterator[Stream | None]:
    """The stream; None if it is not wanted, or cannot be opened: the answer is then less exact."""
    async with contextlib.AsyncExitStack() as stack:
        stream: Stream | None = None
        if wanted:
            try:
                stream = await stack.enter_async_context(open_stream(settings))
            except (ConfigError, PortError) as problem:
                print_line(f"the stream is left out: {problem}", err=True)
        yield stream


def _lines_of_input() -> Iterator[bytes]:
    source = standard_input()
    if source.isatty():
        print_line("reads events from standard input, one a line; or give CUSTOMER and ID", err=True)
    while line := source.readline(_LINE_BYTES):
        if line.strip():
            yield line.rstrip(b"\r\n")


def answer_lines(answer: Answer) -> Iterator[str]:
    """The answer in lines for people."""
    name = f"{answer.customer} {answer.id}" if answer.customer else "event"
    yield f"{name}: {answer.verdict.upper()}"
    if answer.would_be:
        yield f"  the current settings reject it: {answer.would_be}"
    for copy in answer.copies:
        yield from _of_copy(copy)
    for rejection in answer.rejections:
        yield from _of_rejection(rejection)
    if answer.verdict in (Verdict.NOT_SEEN, Verdict.WAITING, Verdict.PUBLISHING):
        yield from _of_shards(answer)
    for note in dict.fromkeys(answer.notes):
        yield f"  note: {note}"


def _of_copy(copy: Copy) -> Iterator[str]:
    match copy.fate:
        case Fate.PUBLISHED:
            yield f"  published: {copy.object or 'object unknown'} line {copy.line}, by plan {copy.plan}"
            if copy.object and not copy.object.startswith(f"{copy.folder}/"):
                yield f"    bundled with other partitions; its own is {copy.folder}"
        case Fate.PUBLISHING:
            yield f"  accepted; plan {copy.plan} is publishing it into {copy.folder}"
        case Fate.WAITING:
            yield f"  accepted; waits until every shard has closed its period {_iso(copy.period)}, for {copy.folder}"
        case Fate.DUPLICATE:
            yield f"  duplicate: accepted by the log, left out by plan {copy.plan}; {_of(copy)}"
        case Fate.FILTERED:
            yield f"  duplicate: a repeated send, dropped before the log; {_of(copy)}"
    if copy.shard:
        yield f"    {_came(copy)}"
    match copy.placed:
        case "late":
            yield "    late: the period of its own time was closed when it arrived"
        case "early":
            yield "    early: its own time was ahead of the shard, so it is in the period in which it arrived"
        case "untimed":
            yield "    no readable time: it is in the period in which it arrived"


def _of(copy: Copy) -> str:
    return f"the same id is in {copy.of}" if copy.of else "the same id was accepted before"


def _came(copy: Copy) -> str:
    parts = [f"arrived {_iso(copy.arrival)}" if copy.arrival is not None else ""]
    if copy.arrival is None and copy.arrived is not None:
        parts = [f"arrived from {_iso(copy.arrived[0])} to {_iso(copy.arrived[1])}"]
    parts.append(copy.shard)
    if copy.sequence:
        parts.append(f"sequence number {copy.sequence}")
    elif copy.upto:
        parts.append(f"sequence number above {copy.after or 'the beginning'}, up to {copy.upto}")
    if copy.segment is not None:
        parts.append(f"segment {copy.segment}" + ("" if copy.row is None else f" row {copy.row}"))
    return ", ".join(part for part in parts if part)


def _of_rejection(one: FoundRejection) -> Iterator[str]:
    yield f"  rejected: {one.reason}: {one.detail}"
    yield f"    arrived {_iso(one.arrival)}, {one.shard}, sequence number {one.sequence}, part {one.sub}; {one.where}"
    if not one.exact:
        yield "    its bytes hold this customer and id; give the event on standard input to compare all bytes"


def _of_shards(answer: Answer) -> Iterator[str]:
    shards = sorted(answer.shards, key=lambda one: one.watermark if one.watermark is not None else -(2**62))
    for one in shards[:_SHOWN_SHARDS]:
        read = f"read to {_iso(one.watermark)}" if one.watermark is not None else "nothing read yet"
        yield f"  {one.shard} ({one.state}): {read}{f'; GAP: {one.gap}' if one.gap else ''}"
    if len(shards) > _SHOWN_SHARDS:
        yield f"  … and {len(shards) - _SHOWN_SHARDS} more shards, read further"


def _iso(ms: int | None) -> str:
    return "" if ms is None else moment(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
