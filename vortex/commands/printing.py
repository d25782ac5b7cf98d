"""Prints the lines of commands. Names of keys and replies of servers cannot add lines or control characters."""

from __future__ import annotations

import click

from vortex.adapters.logs import printable


def print_line(text: str, *, err: bool = False) -> None:
    """One line on standard output, or on standard error."""
    click.echo(printable(text), err=err)
