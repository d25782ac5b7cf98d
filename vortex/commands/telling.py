"""What commands print: a line stays a line, whatever names of keys and replies of servers are in it."""

from __future__ import annotations

import click

from vortex.adapters.logs import printable


def tell(text: str, *, err: bool = False) -> None:
    """One line on standard output, or on standard error."""
    click.echo(printable(text), err=err)
