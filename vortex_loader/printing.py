"""What the commands print: lines and tables for people, and JSON documents."""

from __future__ import annotations

import dataclasses
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from vortex_loader.loading import HourReport
from vortex_loader.model import hour_text, spans_text
from vortex_loader.status import Status
from vortex_loader.wording import counted, quoted


def show_answer(columns: list[str], rows: list[tuple[str, ...]]) -> None:
    """Print the rows of a query below the names of their columns."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        click.echo("  ".join(printable(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_line(report: HourReport) -> None:
    """Print what became of an hour, in a line; what failed goes to stderr."""
    if report.problem:
        click.echo(printable(f"{hour_text(report.hour)}: FAILED: {report.problem}"), err=True)
        return
    changed = sum(one.changed for one in report.loaded)
    misfits = sum(sum(one.misfits.values()) for one in report.loaded)
    tables = counted(len(report.loaded), "table")
    text = f"{hour_text(report.hour)}: {counted(report.rows, 'row')} in {tables} ({changed} loaded now)"
    if misfits:
        text += f", {counted(misfits, 'misfit')}"
    if report.left:
        rows, types = sum(part.rows for part in report.left), counted(len(report.left), "type")
        text += f", {counted(rows, 'row')} of {types} not in the catalogue"
    click.echo(text)
    for part, problem in report.failed:
        click.echo(printable(f"{part.name}: FAILED: {problem}"), err=True)


def report_json(report: HourReport) -> dict[str, Any]:
    """An hour as --json shows it."""
    return {
        "hour": hour_text(report.hour),
        "rows": report.rows,
        "problem": report.problem or None,
        "loaded": [
            {
                "customer": one.partition.customer,
                "event_type": one.partition.event_type,
                "table": f"{one.schema}.{one.table}",
                "rows": one.rows,
                "changed": one.changed,
                "misfits": one.misfits,
                "unmapped_keys": one.unmapped,
                "mended": one.mended,
            }
            for one in report.loaded
        ],
        "failed": [
            {"customer": part.customer, "event_type": part.event_type, "reason": reason}
            for part, reason in report.failed
        ],
        "not_in_catalog": [
            {"customer": part.customer, "event_type": part.event_type, "rows": part.rows} for part in report.left
        ],
    }


def status_json(found: Status) -> dict[str, Any]:
    """The document of `status --json`."""
    return {
        "hours": [{**dataclasses.asdict(one), "hour": hour_text(one.hour)} for one in found.hours],
        "not_closed": [hour_text(hour) for hour in found.open],
        "unreadable": [{"hour": hour_text(hour), "problem": text} for hour, text in found.unreadable.items()],
        "tables": [
            {"customer": customer, "event_type": kind, "table": table, "rows": rows}
            for (customer, kind), (table, rows) in sorted(found.tables.items())
        ],
        "not_in_catalog": [
            {"customer": customer, "event_type": kind, "rows": rows}
            for (customer, kind), rows in sorted(found.left.items())
        ],
    }


def show_status(found: Status) -> None:
    """Print hours as a table, then what is open, unreadable, or not in the catalogue."""
    console = Console()
    table = Table("hour", "published", "loaded", "waiting", "not in the catalogue", "misfits", box=None)
    for one in found.hours:
        numbers = (one.published, one.loaded, one.waiting, one.not_in_catalog, one.misfits)
        table.add_row(hour_text(one.hour), *(str(number) for number in numbers))
    with console.capture() as filled:
        console.print(table)
    for line in filled.get().splitlines():
        click.echo(line.rstrip())
    if found.open:
        console.print(f"not closed: {spans_text(found.open)}", soft_wrap=True)
    for hour, problem in found.unreadable.items():
        click.echo(printable(f"{hour_text(hour)}: {problem}"), err=True)
    for (customer, kind), rows in sorted(found.left.items()):
        seen = f"seen and not loaded: {quoted(customer)} {quoted(kind)}, {counted(rows, 'row')}"
        console.print(seen, markup=False, soft_wrap=True)


def printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return (
        "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
        .encode("utf-8", "backslashreplace")
        .decode()
    )
