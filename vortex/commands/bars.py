"""Progress on a terminal, on standard error; elsewhere nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from vortex.lookup.progress import Progress as Report
from vortex.lookup.progress import silent


@contextlib.contextmanager
def bars() -> Iterator[Report]:
    """A bar for each kind of work that is reported; they go when the block ends."""
    if not sys.stderr.isatty():
        yield silent
        return
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int | None = None) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total or None)
            shown.update(tasks[what], completed=done, total=total or None)

        yield report
