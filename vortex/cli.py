"""The command line. Each command loads the settings and calls its module. Errors go to stderr, each kind with its code.

A command imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import logging
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vortex import __version__
from vortex.adapters.cpus import usable
from vortex.config.quoting import quoted
from vortex.exits import Exit
from vortex.options import Commands, config_option, examples, exit_codes, json_option, loaded, one_off, uncollected
from vortex.rejects_commands import rejects

if TYPE_CHECKING:
    from vortex.config.section import Section

log = logging.getLogger(__name__)
_MOST_PROCESSES = 256


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "vortex init                  write vortex.toml",
        "vortex check                 try settings, connections and permissions",
        "vortex preview -n 20         show which file each event would go to",
        "vortex run                   until SIGTERM",
        "vortex explain CUSTOMER ID   find an event, or learn why it is not there",
    )
    + exit_codes(
        "0 done, 1 a fault was found, 2 command line, 3 settings, 4 unreachable, 5 state needs you, 6 drain unfinished"
    ),
)
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Kinesis in, deduplicated partitioned gzip files out: exactly once."""


@main.command(
    epilog=examples(
        "vortex run",
        "vortex run --drain            read what is there, publish it, end",
        'vortex run --processes auto   with coordination.mode = "dynamodb"',
    )
    + exit_codes(
        "0 stopped or drained, 2 command line, 3 settings, 5 state or a shard needs you, 6 drain unfinished, "
        "130 second signal"
    )
)
@config_option
@click.option("--drain", is_flag=True, help="Read every shard to its tip, close and publish everything, and exit.")
@click.option(
    "--processes",
    default="1",
    show_default=True,
    help='Number of workers on this machine; "auto": one for each available processor.',
)
@click.option("--supervised", type=click.IntRange(0), default=0, hidden=True)
def run(config: Path | None, drain: bool, processes: str, supervised: int) -> None:
    """Read, deduplicate and publish until SIGTERM."""
    count = usable() if processes == "auto" else int(processes) if processes.isdecimal() else 0
    if not 1 <= count <= _MOST_PROCESSES:
        raise click.BadParameter(f'write a number from 1 to {_MOST_PROCESSES}, or "auto"', param_hint="--processes")
    with uncollected():
        settings = loaded(config)
        if count == 1:
            from vortex.runtime import service
        else:
            from vortex.runtime import supervisor
    if count == 1:
        service.run(settings, drain=drain, supervised=supervised)
    if drain:
        raise click.UsageError("--drain reads all shards in one process; leave out --processes")
    if settings.coordination.mode == "local":
        click.echo('--processes: several workers need coordination.mode = "dynamodb"', err=True)
        sys.exit(Exit.CONFIG)
    sys.exit(supervisor.run(settings, config, count))


@main.command(
    short_help="Try it without AWS: emulators, a worker, a warehouse.",
    epilog=examples("vortex demo", "vortex demo --events 100000 --keep out"),
)
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


@main.command(
    short_help="Write a commented settings file.", epilog=examples("vortex init", "vortex init conf/vortex.toml")
)
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default=Path("vortex.toml"))
@click.option("--schema", "schema_only", is_flag=True, help="Write only the schema for editors, beside PATH.")
def init(path: Path, schema_only: bool) -> None:
    """Write a commented settings file to PATH (default: vortex.toml), and beside it the schema for editors.

    An existing settings file is never changed.
    """
    from vortex.commands.init import init as program

    sys.exit(program(path, schema_only=schema_only))


@main.command(
    short_help="Check settings, connections and permissions.",
    epilog=examples("vortex check", "vortex check -c conf/vortex.toml --json"),
)
@config_option
@json_option
def check(config: Path | None, as_json: bool) -> None:
    """Check settings, connections and permissions, and that the store does all that Vortex relies on."""
    from vortex.commands.check import check as program

    one_off(program, config, as_json)


@main.command(
    short_help="Show which file each of some events would go to.",
    epilog=examples(
        "vortex preview -n 20",
        "vortex preview --shard shardId-000000000003",
        "vortex preview --file events.json.gz     no AWS at all",
        "head events.json | vortex preview --file -",
    ),
)
@config_option
@json_option
@click.option("-n", "number", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many events.")
@click.option("--shard", help="Only this shard.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Events of this file instead of the stream: lines or JSON values, plain or gzip; - is standard input.",
)
def preview(config: Path | None, as_json: bool, number: int, shard: str | None, file: Path | None) -> None:
    """Show what becomes of some events: the key of the object, or the reason of a rejection. Writes nothing."""
    from vortex.commands.preview import preview as program

    sys.exit(program(loaded(config), number, shard, file, as_json))


@main.command(
    short_help="Show whether all is well, and if not, what to do.",
    epilog=examples("vortex status", "vortex status --watch", "vortex status --json"),
)
@config_option
@json_option
@click.option("--watch", is_flag=True, help="Show it anew every five seconds.")
def status(config: Path | None, as_json: bool, watch: bool) -> None:
    """Show whether all is well, what holds it and what to do; then shards, the last plan and the last closed hour."""
    if watch and as_json:
        raise click.UsageError("--watch is for people; leave out --json")
    from vortex.commands.status import status as program

    try:
        sys.exit(program(loaded(config), as_json, watch))
    except KeyboardInterrupt:
        sys.exit(Exit.OK)


@main.command(
    short_help="Read the store back and prove its invariants.",
    epilog=examples("vortex verify", "vortex verify --since 2026-01-31T10:00"),
)
@config_option
@json_option
@click.option("--since", help="Only hours from this time on (ISO 8601, UTC by default).")
@click.option("--until", help="Only periods before this time.")
def verify(config: Path | None, as_json: bool, since: str | None, until: str | None) -> None:
    """Read the store back and prove its invariants; exit with 1 and the first faults if one is broken."""
    from vortex.commands.verify import verify as program

    sys.exit(program(loaded(config), as_json, since, until))


@main.command(
    short_help="Find an event, or say why it is not there.",
    epilog=examples(
        "vortex explain acme 7f3c-0001",
        "vortex explain acme 7f3c-0001 --around 2026-01-31T10:00",
        "vortex explain < event.json",
    ),
)
@config_option
@json_option
@click.argument("customer", required=False)
@click.argument("id", required=False)
@click.option("--around", help="When it was sent: search the objects from an hour before to a day after (ISO 8601).")
@click.option("--since", help="Search objects and rejections from this time on.")
@click.option("--until", help="Search objects and rejections before this time.")
@click.option("--no-stream", is_flag=True, help="Read the store only; sequence numbers are then a range.")
def explain(
    config: Path | None,
    as_json: bool,
    customer: str | None,
    id: str | None,
    around: str | None,
    since: str | None,
    until: str | None,
    no_stream: bool,
) -> None:
    """Find the event of CUSTOMER and ID, or learn why it is not there.

    Without CUSTOMER and ID, the events are read from standard input, one a line.
    """
    if (customer is None) != (id is None):
        raise click.UsageError("give both CUSTOMER and ID, or none and the event on standard input")
    if customer == "" or id == "":
        raise click.UsageError("CUSTOMER or ID is empty; give the event on standard input instead")
    try:
        f"{customer}{id}".encode()
    except UnicodeEncodeError:
        raise click.UsageError("CUSTOMER and ID must be UTF-8; give the event on standard input instead") from None
    from vortex.commands.explain import Question
    from vortex.commands.explain import explain as program

    question = Question(customer, id, around, since, until, not no_stream)
    sys.exit(program(loaded(config), question, as_json))


main.add_command(rejects)


@main.command(
    short_help="Close periods without the shards that lag.",
    epilog=examples(
        "vortex close --before 2026-01-31T10:00", "vortex close --before 2026-01-31T10:00 --shard shardId-000000000003"
    ),
)
@config_option
@json_option
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

    sys.exit(program(loaded(config), shards, before, as_json))


@main.group("config", epilog=examples("vortex config show", "vortex config show --changed"))
def config_() -> None:
    """Show the settings in effect."""


@config_.command(
    "show",
    short_help="Print every setting, and where it is from.",
    epilog=examples("vortex config show", "VORTEX_COMMIT__EVERY=5s vortex config show --changed"),
)
@config_option
@json_option
@click.option("--changed", is_flag=True, help="Only what differs from the defaults.")
def show(config: Path | None, as_json: bool, changed: bool) -> None:
    """Print every setting, and whether it is from the file, the environment, or a default. Hides secrets."""
    from vortex.commands.config_show import show as program

    sys.exit(program(loaded(config), config, as_json, changed_only=changed))


@main.command(
    short_help="Say what a stream needs: processes, memory, price.",
    epilog=examples(
        "vortex plan --events-per-second 5000 --shards 16",
        "vortex plan --events-per-second 5000 --shards 16 --customers 300 --json",
    ),
)
@click.option(
    "--events-per-second", "events", required=True, type=click.FloatRange(0, 1e9), help="Of the stream, on average."
)
@click.option(
    "--bytes", "event_bytes", default=1000, show_default=True, type=click.IntRange(1), help="Size of one event."
)
@click.option("--shards", required=True, type=click.IntRange(1, 1_000_000), help="Shards of the stream.")
@click.option(
    "--customers", default=1, show_default=True, type=click.IntRange(1, 10**9), help="Customers with events in an hour."
)
@click.option(
    "--types", default=10, show_default=True, type=click.IntRange(1, 10**9), help="Event types of a customer."
)
@click.option("--window", default="1h", show_default=True, help="Value of dedup.window.")
@click.option("--period", default="5m", show_default=True, help="Value of publish.period.")
@json_option
def plan(
    events: float,
    event_bytes: int,
    shards: int,
    customers: int,
    types: int,
    window: str,
    period: str,
    as_json: bool,
) -> None:
    """Say how many processes, how much memory and which monthly price a stream needs."""
    from vortex.commands.plan import plan as program
    from vortex.commands.sizing import Load
    from vortex.config.output import Publish
    from vortex.config.settings import Dedup

    if not math.isfinite(events):
        raise click.BadParameter(f"{events} is no number of events", param_hint="--events-per-second")
    seconds = _seconds(Dedup, "window", window), _seconds(Publish, "period", period)
    sys.exit(program(Load(events, event_bytes, shards, customers, types, *seconds), as_json))


def _seconds(section: type[Section], key: str, text: str) -> float:
    """A duration as the setting takes it."""
    from pydantic import ValidationError

    try:
        return float(getattr(section.model_validate({key: text}), key)) / 1000
    except ValidationError as problem:
        why = problem.errors()[0]["msg"].removeprefix("Value error, ")
        raise click.BadParameter(f"{quoted(text)}: {why}", param_hint=f"--{key}") from None


@main.command(short_help="Ask whether the worker on this machine runs.", epilog=examples("vortex health"))
@config_option
def health(config: Path | None) -> None:
    """Ask the worker on this machine whether it runs (/livez); exit with 1 if it does not answer."""
    from vortex.commands.health import health as program

    sys.exit(program(loaded(config).http))


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)
