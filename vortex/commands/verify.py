"""`vortex verify`: reads the store back and proves its invariants."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import click

from vortex.adapters.disk.scratch import TemporaryScratch
from vortex.commands.bars import bars
from vortex.commands.existing_state import none_yet
from vortex.commands.instants import instant_or_none, ordered
from vortex.commands.printing import print_line
from vortex.config.settings import Settings
from vortex.exits import Exit
from vortex.ports import ObjectStore
from vortex.runtime.factories import open_store, stream_name
from vortex.verify.report import Report
from vortex.verify.store import Span, verify_store

_SHOWN = 20


def verify(settings: Settings, as_json: bool, since: str | None = None, until: str | None = None) -> int:
    """FAILED with the first faults by name, if there are any. Raises PortError, NoState, FileError.

    `since` and `until`: only what was published between these times (ISO).
    """
    span = instant_or_none("--since", since), instant_or_none("--until", until)
    ordered(*span)
    report = asyncio.run(_verify(settings, span) if span != (None, None) else _verify(settings))
    if as_json:
        click.echo(json.dumps(asdict(report) | {"invariants": _explained(report)}, indent=1, default=str))
    else:
        _print(report)
    return Exit.FAILED if report.faults else Exit.OK


async def _is_empty(store: ObjectStore) -> bool:
    """Whether nothing was run there yet: what was run and then lost leaves objects, or is gone altogether."""
    async for _ in store.list(""):
        return False
    return True


async def _verify(settings: Settings, span: Span = (None, None)) -> Report:
    async with open_store(settings) as store:
        if await _is_empty(store):
            raise none_yet(store, stream_name(settings))
        scratch = TemporaryScratch(settings.publish.scratch)
        with bars() as progress:
            return await verify_store(store, stream_name(settings), span=span, progress=progress, scratch=scratch)


def _print(report: Report) -> None:
    if report.checked:
        print_line("checked: " + ", ".join(f"{number} {what}" for what, number in sorted(report.checked.items())))
    for note in report.notes:
        print_line(f"note: {note}")
    for fault in report.faults[:_SHOWN]:
        print_line(f"FAULT {fault.invariant} {fault.key}: {fault.what}", err=True)
    if len(report.faults) > _SHOWN:
        print_line(f"… and {len(report.faults) - _SHOWN} more faults; --json prints all", err=True)
    for code, one in _explained(report).items():
        print_line(f"{code} promises: {one['promise']}", err=True)
        print_line(f"{code} what to do: {one['action']}", err=True)
    number = len(report.faults)
    print_line(f"{number} fault{'s' if number > 1 else ''}" if number else "every invariant holds")


def _explained(report: Report) -> dict[str, dict[str, str]]:
    """The broken promises by code, each once: what they are, and what to do."""
    broken = dict.fromkeys(fault.invariant for fault in report.faults)
    return {one.code: {"promise": one.promise, "action": one.action} for one in broken}
