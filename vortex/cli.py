"""The command line. Each command loads the settings and hands over; errors go to stderr, with a code of their own."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click

from vortex import __version__
from vortex.adapters import logs
from vortex.adapters.cpus import usable
from vortex.config.environment import unheard
from vortex.config.loading import ConfigError, load
from vortex.config.settings import Settings, known_keys
from vortex.exits import Exit

log = logging.getLogger(__name__)
_MOST_PROCESSES = 256

_config = click.option(
    "-c",
    "--config",
    "config",
    type=click.Path(path_type=Path),
    help="Settings file (TOML). Default: the environment alone.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _settings(config: Path | None) -> Settings:
    settings = load(config)
    logs.set_up(settings.log.format, settings.log.level)
    for line in unheard(os.environ, known_keys()):
        log.warning("%s", line)
    return settings


class _Commands(click.Group):
    """Reports errors whose message says everything as one line each, from any command: ConfigError above all."""

    def invoke(self, ctx: click.Context) -> Any:
        """The command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except ConfigError as problem:
            code, lines = Exit.CONFIG, str(problem).split("\n")  # a line each
        except Exception as problem:
            from vortex.commands.standing import meaning  # late, for it loads the whole program

            found, lines = meaning(problem), [str(problem)]
            if found is None:
                raise
            code = found
        for line in lines:
            click.echo(logs.printable(line), err=True)
        sys.exit(code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Kinesis in, deduplicated partitioned gzip files out: exactly once."""


def _nothing_begun(number: int, frame: FrameType | None) -> None:
    """Exit cleanly on SIGTERM while modules load; process 1 of a container ignores SIGTERM without a handler."""
    sys.exit(Exit.OK)


@main.command()
@_config
@click.option("--drain", is_flag=True, help="Read every shard to its tip, close and publish everything, and exit.")
@click.option(
    "--processes",
    default="1",
    show_default=True,
    help='Number of workers on this machine; "auto": one for each available processor.',
)
@click.option("--supervised", is_flag=True, hidden=True)
def run(config: Path | None, drain: bool, processes: str, supervised: bool) -> None:
    """Read, deduplicate and publish until SIGTERM."""
    signal.signal(signal.SIGTERM, _nothing_begun)
    count = usable() if processes == "auto" else int(processes) if processes.isdecimal() else 0
    if not 1 <= count <= _MOST_PROCESSES:
        raise click.BadParameter(f'write a number from 1 to {_MOST_PROCESSES}, or "auto"', param_hint="--processes")
    settings = _settings(config)
    if count == 1:
        from vortex.runtime import service

        sys.exit(service.run(settings, drain=drain, supervised=supervised))
    if drain:
        raise click.UsageError("--drain reads all shards in one process; leave out --processes")
    if settings.coordination.mode == "local":
        click.echo('--processes: several workers need coordination.mode = "dynamodb"', err=True)
        sys.exit(Exit.CONFIG)
    from vortex.runtime import supervisor

    sys.exit(supervisor.run(settings, config, count))


@main.command()
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Leave the files in this directory.")
@click.option(
    "--events",
    default=20_000,
    show_default=True,
    type=click.IntRange(1, 10_000_000),
    help="How many events to produce.",
)
@click.option(
    "--warehouse",
    default="duckdb",
    show_default=True,
    help="Where the hours are loaded: duckdb, postgres (named by PGHOST and the like), an address, or none.",
)
def demo(keep: Path | None, events: int, warehouse: str) -> None:
    """Try it: an emulated Kinesis, a producer, a real worker, a warehouse, and the sum at the end."""
    from vortex.commands.demo import run as program

    sys.exit(program(keep, events, warehouse))


@main.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default=Path("vortex.toml"))
@click.option("--schema", "schema_only", is_flag=True, help="Write only the schema for editors, beside PATH.")
def init(path: Path, schema_only: bool) -> None:
    """Write a commented settings file to PATH (default: vortex.toml), and beside it the schema for editors.

    An existing settings file is never changed.
    """
    from vortex.commands.init import init as program

    sys.exit(program(path, schema_only=schema_only))


@main.command()
@_config
@_json
def check(config: Path | None, as_json: bool) -> None:
    """Check settings, connections and permissions, and that the store does all that Vortex relies on."""
    from vortex.commands.check import check as program

    _one_off(program, config, as_json)


@main.command()
@_config
@_json
def status(config: Path | None, as_json: bool) -> None:
    """Show workers, shards, the frontier and its holder, the last plan and the last closed hour."""
    from vortex.commands.status import status as program

    _one_off(program, config, as_json)


@main.command()
@_config
@_json
def verify(config: Path | None, as_json: bool) -> None:
    """Read the store back and prove its invariants; exit with 1 and the first faults if one is broken."""
    from vortex.commands.verify import verify as program

    _one_off(program, config, as_json)


@main.command()
@_config
@_json
@click.option(
    "--shard",
    "shards",
    multiple=True,
    help="Only this shard; may be repeated. Default: all that keep such periods open.",
)
@click.option("--before", required=True, help="Close the periods before this time (ISO 8601, UTC by default).")
def close(config: Path | None, as_json: bool, shards: tuple[str, ...], before: str) -> None:
    """Close periods without lagging shards; their older events then count as late."""
    from vortex.commands.close import close as program

    sys.exit(program(_settings(config), shards, before, as_json))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


def _one_off(program: Callable[[Settings, bool], int], config: Path | None, as_json: bool) -> None:
    sys.exit(program(_settings(config), as_json))
