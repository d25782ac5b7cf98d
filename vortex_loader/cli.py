"""The command line. Every option is also a variable `VORTEX_LOADER_…`. Errors go to stderr, with exit codes by kind."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import math
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vortex_loader.catalog_commands import catalog
from vortex_loader.loading import HourReport, How, Loader, follow
from vortex_loader.metrics import Metrics
from vortex_loader.model import HOUR, LoaderError, NotClosed, Passing, hour_text, hours_between, parse_hour, spans_text
from vortex_loader.printing import printable, report_json, show_answer, show_line, show_status, status_json
from vortex_loader.sources import catalog_source
from vortex_loader.status import status
from vortex_loader.store import open_store
from vortex_loader.textfile import kept_in
from vortex_loader.warehouse import connect
from vortex_loader.wording import limited, quoted

_PREFIX = "VORTEX_LOADER_"
_OF_THE_EXTRA = frozenset({"duckdb", "fastapi", "psycopg", "uvicorn"})
_WAREHOUSE = "postgresql://…, duckdb:///path, a path that ends in .duckdb, or redshift://…"


class Exit(IntEnum):
    """What the process says when it ends."""

    OK = 0
    FAILED = 1
    """Something was not loaded; the message names it."""
    USAGE = 2
    NOT_CLOSED = 4
    """The hour has no manifest yet: come again later."""
    UNREACHABLE = 5
    """Store, catalogue or warehouse did not answer, after all retries."""


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """What the commands work on."""

    store: str
    warehouse: str
    catalog: str
    endpoint_url: str | None
    region: str | None
    parallel: int
    attempts: int
    wait: float

    @contextlib.contextmanager
    def loader(
        self, *, force: bool = False, metrics_port: int | None = None, metrics_file: pathlib.Path | None = None
    ) -> Iterator[Loader]:
        """A loader, with its metrics at a port or in a file where one is said."""
        metrics = Metrics()
        if metrics_port is not None:
            _serve(metrics, os.environ.get(_PREFIX + "METRICS_HOST", "127.0.0.1"), metrics_port)
        how = How(
            parallel=self.parallel,
            attempts=self.attempts,
            salt=os.environ.get(_PREFIX + "HASH_SALT", ""),
            run_id=os.environ.get(_PREFIX + "RUN_ID", "vortex-loader"),
            force=force,
        )
        store = open_store(self.store, endpoint_url=self.endpoint_url, region=self.region)
        source = catalog_source(self.catalog, endpoint_url=self.endpoint_url, region=self.region)
        opened = functools.partial(connect, self.warehouse, wait=self.wait)
        with kept_in(metrics_file, metrics), Loader(store, source, opened, how, metrics) as loader:
            yield loader


def _serve(metrics: Metrics, host: str, port: int) -> None:
    from prometheus_client import start_http_server

    try:
        start_http_server(port, addr=host, registry=metrics.registry)
    except (OSError, UnicodeError) as problem:  # no DNS can hold the name
        why = getattr(problem, "strerror", None) or "it is no host"
        raise LoaderError(f"--metrics-port ({_PREFIX}METRICS_HOST): {quoted(host)}, port {port}: {why}") from None


def _finite(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds")
    return value


def _option(name: str, **more: Any) -> Callable[[Any], Any]:
    variable = _PREFIX + name.removeprefix("--").upper().replace("-", "_")
    return click.option(name, envvar=variable, show_envvar=True, **more)


def _places(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where everything is."""
    names = [one.name for one in dataclasses.fields(Places)]

    @functools.wraps(command)
    def with_places(**options: Any) -> Any:
        places = Places(**{name: options.pop(name) for name in names})
        return command(places, **options)

    for option in (
        _option(
            "--wait",
            default=60.0,
            show_default=True,
            type=click.FloatRange(0, 86_400),
            callback=_finite,
            help="Seconds to wait for a DuckDB file that is in use.",
        ),
        _option("--attempts", default=5, show_default=True, type=click.IntRange(1), help="Tries of each partition."),
        _option("--parallel", default=2, show_default=True, type=click.IntRange(1, 64), help="Partitions at a time."),
        _option("--region", help="Of S3."),
        _option("--endpoint-url", help="Of an S3 that is not AWS's."),
        _option("--catalog", required=True, help="A TOML or JSON file, s3://bucket/key, or an HTTP address."),
        _option("--warehouse", required=True, help=_WAREHOUSE),
        _option("--store", required=True, help="Where Vortex publishes: s3://bucket/prefix, or a folder."),
    ):
        with_places = option(with_places)
    return with_places


class _Commands(click.Group):
    """An error is one line, and a code."""

    def invoke(self, ctx: click.Context) -> Any:
        """The command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as wrong:  # it quotes arguments
            raise click.UsageError(limited(wrong.format_message()), wrong.ctx) from None
        except LoaderError as problem:
            click.echo(printable(str(problem)), err=True)
            codes = {NotClosed: Exit.NOT_CLOSED, Passing: Exit.UNREACHABLE}
            sys.exit(codes.get(type(problem), Exit.FAILED))
        except ModuleNotFoundError as problem:
            if problem.name not in _OF_THE_EXTRA:
                raise
            click.echo(
                f"this needs {problem.name}: pip install 'vortex-microbatcher[loader]', or '.[loader]' in a checkout",
                err=True,
            )
            sys.exit(Exit.FAILED)


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a machine to read.")
_hour = click.option("--hour", required=True, help="The hour, in UTC: 2026-11-29T09.")
_customer = click.option("--customer", help="Only this customer.")
_event = click.option("--event", help="Only this event type.")
_first = click.option("--from", "first", help="The first hour. Default: a day ago.")
_force = click.option("--force", is_flag=True, help="Replace what is loaded, by the current catalogue.")


_metrics_file = click.option(
    "--metrics-file",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    envvar=_PREFIX + "METRICS_FILE",
    show_envvar=True,
    help="Add metrics to this file (.prom), for the node exporter.",
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--log-level",
    default="warning",
    show_default=True,
    envvar=_PREFIX + "LOG_LEVEL",
    show_envvar=True,
    type=click.Choice(["info", "warning", "error"]),
    help="The least severe lines to write.",
)
def main(log_level: str) -> None:
    """The hours that Vortex has closed, into a warehouse: a schema per customer, a table per event type."""
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)


main.add_command(catalog)


@main.command()
@_places
@_hour
@_customer
@_event
@_force
@_metrics_file
@_json
def load(
    places: Places,
    hour: str,
    customer: str | None,
    event: str | None,
    force: bool,
    metrics_file: pathlib.Path | None,
    as_json: bool,
) -> None:
    """Load one closed hour. Loading it twice changes nothing."""
    with places.loader(force=force, metrics_file=metrics_file) as loader:
        report = loader.load_hour(parse_hour(hour), customer, event)
    _show([report], as_json)


@main.command(short_help="Load the closed hours from one hour up to another.")
@_places
@click.option("--from", "first", required=True, help="The first hour: 2026-11-29T00.")
@click.option("--to", "end", required=True, help="The hour after the last.")
@_customer
@_event
@_force
@_metrics_file
@_json
def backfill(
    places: Places,
    first: str,
    end: str,
    customer: str | None,
    event: str | None,
    force: bool,
    metrics_file: pathlib.Path | None,
    as_json: bool,
) -> None:
    """Load the closed hours from one hour on, up to another; several partitions at a time."""
    columns = (TextColumn("partitions"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with (
        places.loader(force=force, metrics_file=metrics_file) as loader,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        hours = hours_between(parse_hour(first), parse_hour(end))
        closed = [hour for hour in hours if loader.store.closed(hour)]
        task = progress.add_task("", total=None)
        reports = loader.load_hours(
            closed, customer, event, lambda done, of: progress.update(task, completed=done, total=of)
        )
    _show(reports, as_json, [hour for hour in hours if hour not in set(closed)])


@main.command()
@_places
@_first
@click.option(
    "--every",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0, 86_400),
    callback=_finite,
    help="Seconds between looks.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    envvar=_PREFIX + "METRICS_PORT",
    show_envvar=True,
    help="Serve Prometheus metrics at this port.",
)
def run(places: Places, first: str | None, every: float, metrics_port: int | None) -> None:
    """Load each hour as it closes, until SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    begin = parse_hour(first) if first else _this_hour() - timedelta(days=1)
    with places.loader(metrics_port=metrics_port) as loader:
        follow(loader, begin, lambda: datetime.now(UTC), stop, every, lambda report: show_line(report))


@main.command("status", short_help="Show which hours are closed and loaded.")
@_places
@_first
@click.option("--to", "end", help="The hour after the last. Default: the present one.")
@_metrics_file
@_json
def status_(
    places: Places, first: str | None, end: str | None, metrics_file: pathlib.Path | None, as_json: bool
) -> None:
    """Show which hours are closed and loaded, what did not fit, and what is not in the catalogue."""
    last = parse_hour(end) if end else _this_hour()
    hours = hours_between(parse_hour(first) if first else last - timedelta(days=1), last)
    store = open_store(places.store, endpoint_url=places.endpoint_url, region=places.region)
    source = catalog_source(places.catalog, endpoint_url=places.endpoint_url, region=places.region)
    metrics = Metrics()
    with kept_in(metrics_file, metrics):
        copy = source.read()
        with contextlib.closing(connect(places.warehouse, wait=places.wait)) as warehouse:
            found = status(store, copy.catalog, warehouse, hours)
        oldest = found.oldest()
        metrics.catalog_age(copy.age)
        metrics.waiting(len(found.not_loaded), (datetime.now(UTC) - oldest - HOUR).total_seconds() if oldest else 0.0)
    if as_json:
        click.echo(json.dumps(status_json(found), indent=1))
    else:
        show_status(found)
    if found.unreadable:
        sys.exit(Exit.FAILED)


@main.command(short_help="Run SQL in the warehouse, and print its rows.")
@_option("--warehouse", required=True, help=_WAREHOUSE)
@click.argument("sql", nargs=-1, required=True)
def query(warehouse: str, sql: tuple[str, ...]) -> None:
    """Run each SQL in the warehouse and print its rows; an empty line separates two answers."""
    with contextlib.closing(connect(warehouse)) as opened:
        for number, one in enumerate(sql):
            if number:
                click.echo()
            show_answer(*opened.shown(one))


def _this_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def _show(reports: list[HourReport], as_json: bool, not_closed: list[datetime] | None = None) -> None:
    if as_json:
        document = {"hours": [report_json(report) for report in reports]}
        document["not_closed"] = [{"hour": hour_text(hour)} for hour in not_closed or ()]
        click.echo(json.dumps(document, indent=1))
    else:
        for report in reports:
            show_line(report)
        if not_closed:
            click.echo(f"not closed: {spans_text(not_closed)}")
    if not all(report.complete for report in reports):
        sys.exit(Exit.FAILED)
