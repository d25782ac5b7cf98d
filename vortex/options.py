"""What all commands share: their options, how they load the settings, how they report errors, how their help ends."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vortex.adapters import logs
from vortex.config.quoting import shortened
from vortex.exits import Exit

if TYPE_CHECKING:
    from vortex.config.settings import Settings

log = logging.getLogger(__name__)

_FILE = Path("vortex.toml")
_NO_FILE = (
    "no settings file: there is no -c, no VORTEX_CONFIG and no ./vortex.toml. `vortex init` writes one; fill in "
    "[source], [event] and [store], then run `vortex check`"
)
config_option = click.option(
    "-c",
    "--config",
    "config",
    type=click.Path(path_type=Path),
    envvar="VORTEX_CONFIG",
    default=lambda: _FILE if _FILE.is_file() else None,
    help="Settings file (TOML). Default: VORTEX_CONFIG, then ./vortex.toml, then the environment alone.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def loaded(config: Path | None) -> Settings:
    """The settings of a command; its log is set up by them. Raises ConfigError, which says what to do."""
    from vortex.config.environment import unheard
    from vortex.config.loading import ConfigError, load
    from vortex.config.settings import known_keys

    try:
        settings = load(config)
    except ConfigError as problem:
        if config is None:
            raise ConfigError(f"{problem}\n{_NO_FILE}") from None
        raise
    logs.set_up(settings.log.format, settings.log.level)
    command = click.get_current_context(silent=True)
    if command is not None and command.info_name != "run":
        command.with_resource(_said_by_the_answer(logging.getLogger("vortex.adapters.aws.credentials")))
    for line in unheard(os.environ, known_keys()):
        log.warning("%s", line)
    return settings


@contextlib.contextmanager
def _said_by_the_answer(told: logging.Logger) -> Iterator[None]:
    """Keep a log silent: what it reports is in the command's answer or its error."""
    before, told.disabled = told.disabled, True
    try:
        yield
    finally:
        told.disabled = before


def examples(*lines: str) -> str:
    """The end of a help text."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def exit_codes(codes: str) -> str:
    """A line on exit codes, after the examples."""
    return f"\n\nExit codes: {codes}. More: docs/reference/exit-codes.md"


_LONGEST = 500
"""Characters of a message about arguments."""


class Commands(click.Group):
    """Reports errors whose message says everything as one line each, from any command: ConfigError above all."""

    def invoke(self, ctx: click.Context) -> Any:
        """The command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as wrong:  # it quotes arguments
            raise click.UsageError(shortened(wrong.format_message(), _LONGEST), wrong.ctx) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(Exit.INTERRUPTED)
        except Exception as problem:
            from vortex.config.loading import ConfigError

            if isinstance(problem, ConfigError):
                code, lines = Exit.CONFIG, str(problem).split("\n")  # a line each
            else:
                from vortex.commands.existing_state import exit_code  # it loads the whole program

                found, lines = exit_code(problem), [str(problem)]
                if found is None:
                    raise
                code = found
            if code is Exit.UNREACHABLE and ctx.invoked_subcommand != "check":
                lines.append("`vortex check` tries each connection and permission, one line each")
        for line in lines:
            click.echo(logs.printable(line), err=True)
        sys.exit(code)


def one_off(program: Callable[[Settings, bool], int], config: Path | None, as_json: bool) -> None:
    """Run a command that needs no more than these, and exit with its code."""
    sys.exit(program(loaded(config), as_json))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage meanwhile. Imports create hundreds of thousands of objects, and free hardly any; looking for
    those again and again takes a tenth of their time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
