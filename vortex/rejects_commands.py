"""`vortex rejects`: its commands and their options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vortex.options import config_option, examples, json_option, loaded


@click.group(
    short_help="Show what was rejected, and put it back on the stream.",
    epilog=examples(
        "vortex rejects summary",
        "vortex rejects list --reason missing_customer",
        "vortex rejects replay --reason missing_customer --dry-run",
    ),
)
def rejects() -> None:
    """Show what was rejected, and put it back on the stream once the cause is mended."""


def _chosen(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose rejections."""
    for option in (
        click.option("--shard", "shards", multiple=True, help="Only of this shard; may be repeated."),
        click.option("--reason", "reasons", multiple=True, help="Only for this reason; may be repeated."),
        click.option("--until", help="Those that arrived before this time. Default: now."),
        click.option("--since", help="Those that arrived from this time on (ISO 8601). Default: the last day."),
    ):
        command = option(command)
    return command


@rejects.command(epilog=examples("vortex rejects summary --since 2026-01-30"))
@config_option
@json_option
@_chosen
def summary(config: Path | None, as_json: bool, **choice: Any) -> None:
    """Count rejections by reason, customer and hour."""
    from vortex.commands.rejects import Choice
    from vortex.commands.rejects import summary as program

    sys.exit(program(loaded(config), Choice(**choice), as_json))


@rejects.command("list", epilog=examples("vortex rejects list --reason not_json --limit 100"))
@config_option
@json_option
@_chosen
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many to show.")
def list_(config: Path | None, as_json: bool, limit: int, **choice: Any) -> None:
    """Show rejections with the beginning of their bytes."""
    from vortex.commands.rejects import Choice, show

    sys.exit(show(loaded(config), Choice(**choice), limit, as_json))


@rejects.command(
    short_help="Put rejections back on the stream, each once.",
    epilog=examples(
        "vortex rejects replay --reason missing_customer --dry-run",
        "vortex rejects replay --reason missing_customer",
        "vortex rejects replay --file mended.json && vortex preview --file mended.json",
    ),
)
@config_option
@_chosen
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--keep-rejected", is_flag=True, help="Also those that the settings would reject again.")
@click.option("--resend-unknown", is_flag=True, help="Also those of an attempt whose outcome is unknown.")
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Write them to this file instead.")
def replay(
    config: Path | None,
    dry_run: bool,
    yes: bool,
    keep_rejected: bool,
    resend_unknown: bool,
    file: Path | None,
    **choice: Any,
) -> None:
    """Put the original bytes of rejections back on the stream, each once."""
    from vortex.commands.rejects import Choice, Options
    from vortex.commands.rejects import replay as program

    options = Options(yes, dry_run, keep_rejected, resend_unknown, file)
    sys.exit(program(loaded(config), Choice(**choice), options))
