"""What `vortex status` prints within 80 columns: is it well, what holds it, since when, what to do; then the shards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vortex.core.layout import moment
from vortex.core.wording import counted

WIDTH = 80
_ROWS = 10
_PROBLEMS = 3
_LONGEST = 20
"""Of a name in a table: that of a shard."""
_FILLING = re.compile(r" +((?:\x1b\[[\d;]*m)*)$", re.MULTILINE)
"""Spaces at the end of a line, perhaps before the end of a colour."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is not well, since when (epoch milliseconds, if it is known), and what to do."""

    what: str
    todo: str
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """What is shown of a shard; times are epoch milliseconds, None if not known. `open_ms`: its first open period."""

    name: str
    state: str
    owner: str
    read_ms: int | None
    open_ms: int | None
    waiting: int
    late: bool

    def badness(self) -> tuple[bool, float, int]:
        """The worst shard has the greatest."""
        return self.late, -(self.open_ms if self.open_ms is not None else 0), self.waiting


@dataclass(frozen=True, slots=True)
class View:
    """All that is printed; `now_ms` is the service's time."""

    stream: str
    now_ms: int
    problems: Sequence[Problem]
    facts: Sequence[tuple[str, str]]
    shards: Sequence[Shard]
    fleet: bool


def rendered(view: View) -> RenderableType:
    """The text, for a console of `WIDTH` columns or more."""
    parts: list[RenderableType] = [_verdict(view), *_problems(view), Text(), _pairs(view.facts), Text(), _shards(view)]
    return Group(*parts)


def _verdict(view: View) -> Text:
    well = not view.problems
    return Text.assemble(
        f"stream {view.stream}: ", ("well", "bold green") if well else ("not well", "bold red"), overflow="fold"
    )


def _problems(view: View) -> list[RenderableType]:
    found: list[RenderableType] = []
    for one in view.problems[:_PROBLEMS]:
        rows = [("what holds it", one.what)]
        if one.since_ms is not None:
            rows.append(("since", f"{clock(one.since_ms, view.now_ms)}, {ago(view.now_ms - one.since_ms)}"))
        found += [Text(), _pairs([*rows, ("what to do", one.todo)])]
    if (more := len(view.problems) - _PROBLEMS) > 0:
        found += [Text(), Text(f"and {more} more; --json lists all")]
    return found


def _pairs(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=17, no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    return table


def _shards(view: View) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    names = ["shard", "read up to", "open from", "waiting"]
    for name in [*names, "owner"] if view.fleet else names:
        table.add_column(name, no_wrap=True, justify="right" if name == "waiting" else "left")
    worst = sorted(view.shards, key=Shard.badness, reverse=True)
    shown, rest = (worst, []) if len(worst) <= _ROWS + 1 else (worst[:_ROWS], worst[_ROWS:])
    for one in shown:
        cells = _cells(one, view.now_ms)
        table.add_row(*(Text(cell) for cell in (cells if view.fleet else cells[:-1])), style="red" if one.late else "")
    if rest:
        oldest = [one.read_ms for one in rest if one.read_ms is not None]
        opened = [one.open_ms for one in rest if one.open_ms is not None]
        owners = len({one.owner for one in rest if one.owner})
        cells = [
            f"and {len(rest)} more",
            ago(view.now_ms - min(oldest)) if oldest else "",
            clock(min(opened), view.now_ms) if opened else "",
            f"{sum(one.waiting for one in rest):,}",
            counted(owners, "worker"),
        ]
        table.add_row(*(Text(cell) for cell in (cells if view.fleet else cells[:-1])), style="dim")
    return table


def _cells(one: Shard, now_ms: int) -> list[str]:
    read = one.state if one.read_ms is None else ago(now_ms - one.read_ms)
    opened = "" if one.open_ms is None else clock(one.open_ms, now_ms)
    return [short(one.name), read, opened, f"{one.waiting:,}", short(one.owner) or "nobody"]


def short(name: str) -> str:
    """A name that fits into a column: its begin and its end."""
    return name if len(name) <= _LONGEST else f"{name[:11]}…{name[-8:]}"


def ago(ms: int) -> str:
    """How long ago, e.g. `12 s ago`, `25 min ago`, `3 h ago`, `2 d ago`."""
    return f"{span(ms)} ago"


def span(ms: int) -> str:
    """A time span in its greatest unit that leaves two or more."""
    seconds = max(0, ms) / 1000
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def clock(ms: int, now_ms: int) -> str:
    """The time of day in UTC, with the date unless it is today's."""
    at = moment(ms)
    return f"{at:%H:%M}" if at.date() == moment(now_ms).date() else f"{at.day} {at:%b %H:%M}"


def written(text: RenderableType) -> str:
    """The text for standard output, in colours if it is a terminal; without the spaces that fill a table's lines."""
    made = console()
    with made.capture() as captured:
        made.print(text)
    return _FILLING.sub(r"\1", captured.get())


def console() -> Console:
    """Standard output, never wider than it is nor narrower than the text."""
    made = Console(highlight=False)
    return made if made.width >= WIDTH else Console(highlight=False, width=WIDTH)
