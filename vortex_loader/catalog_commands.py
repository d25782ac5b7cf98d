"""`vortex-loader catalog …`: the service, and commands that read or change the catalogue."""

from __future__ import annotations

import json
import pathlib
from typing import Any
from urllib.parse import urlencode

import click

from vortex_loader.calls import TOKEN, Refused, ask, shown, token_of_environment
from vortex_loader.model import LoaderError, Passing
from vortex_loader.sources import catalog_source
from vortex_loader.wording import counted, quoted, shortened

_database = click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    default=pathlib.Path("catalog.sqlite"),
    show_default=True,
    envvar="VORTEX_LOADER_DATABASE",
    show_envvar=True,
    help="The SQLite file.",
)
_address = click.option(
    "--catalog",
    "address",
    required=True,
    envvar="VORTEX_LOADER_CATALOG",
    show_envvar=True,
    help="A TOML or JSON file, s3://bucket/key, or the service's address.",
)
_service = click.option(
    "--catalog",
    "address",
    required=True,
    envvar="VORTEX_LOADER_CATALOG",
    show_envvar=True,
    help="The service's address.",
)
_endpoint = click.option(
    "--endpoint-url", envvar="VORTEX_LOADER_ENDPOINT_URL", show_envvar=True, help="Of an S3 that is not AWS's."
)
_region = click.option("--region", envvar="VORTEX_LOADER_REGION", show_envvar=True, help="Of S3.")


@click.group(short_help="Show, serve and change the catalogue.")
def catalog() -> None:
    """The catalogue: which events of which customers are loaded."""


@catalog.command(short_help="Serve the catalogue: an HTTP API, and a page.")
@_database
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9402, show_default=True, type=click.IntRange(0, 65_535), help="Port to listen on.")
def serve(database: pathlib.Path, host: str, port: int) -> None:
    """Serve the catalogue: an HTTP API, and a page. Anyone may read it; writers need a token."""
    import uvicorn

    from vortex_loader.service.api import make_app
    from vortex_loader.service.database import Database

    try:
        uvicorn.run(make_app(Database(database)), host=host, port=port, log_level="warning", server_header=False)
    except UnicodeError:
        raise LoaderError(f"--host {quoted(host)} is no host; write for example 127.0.0.1 or 0.0.0.0") from None


@catalog.command()
@_database
@click.argument("name")
@click.option("--remove", is_flag=True, help="End the token of this name.")
def token(database: pathlib.Path, name: str, remove: bool) -> None:
    """Make a token for the writer NAME, and print it this once."""
    from vortex_loader.service.database import Database

    opened = Database(database)
    if not remove:
        click.echo(opened.add_token(name))
    elif not opened.remove_token(name):
        raise LoaderError(f"no token has the name {quoted(name)}")


@catalog.command()
@_address
@_endpoint
@_region
def show(address: str, endpoint_url: str | None, region: str | None) -> None:
    """Print the catalogue as JSON."""
    found = catalog_source(address, endpoint_url=endpoint_url, region=region).read().catalog
    click.echo(json.dumps(found.as_json(), indent=1, ensure_ascii=False))


@catalog.command()
@_address
@_endpoint
@_region
def check(address: str, endpoint_url: str | None, region: str | None) -> None:
    """Read the catalogue, and say what is wrong with it."""
    copy = catalog_source(address, endpoint_url=endpoint_url, region=region).read()
    if copy.reason:
        raise Passing(f"{shown(address)}: {copy.reason}; the last good copy is {copy.age:.0f} s old")
    click.echo(
        f"{shown(address) if '://' in address else address}: {counted(len(copy.catalog.customers()), 'customer')}"
    )


@catalog.command(short_help="Load EVENT of CUSTOMER from the next hour on.")
@_service
@click.argument("customer")
@click.argument("event")
@click.option("--table", help="The table that it goes to.")
def add(address: str, customer: str, event: str, table: str | None) -> None:
    """Load EVENT of CUSTOMER from the next hour on; `backfill` loads earlier hours."""
    rules = {"table": table} if table else {}
    _call("PUT", address, "/v1/events", {"customer": customer, "event": event}, rules)
    click.echo(f"{customer!r} {event!r} is loaded from the next hour on; `vortex-loader backfill` loads earlier hours")


@catalog.command()
@_service
@click.argument("customer")
@click.argument("event")
def remove(address: str, customer: str, event: str) -> None:
    """Stop loading EVENT of CUSTOMER; what is loaded stays."""
    _call("DELETE", address, "/v1/events", {"customer": customer, "event": event})
    click.echo(f"{customer!r} {event!r} is not loaded any more; what is loaded stays")


def _call(method: str, address: str, path: str, names: dict[str, str], rules: dict[str, Any] | None = None) -> None:
    if not address.startswith(("http://", "https://")):
        raise LoaderError(f"{shortened(address)} is not a service; change the file itself")
    root = address.removesuffix("/v1/catalog").rstrip("/")
    body = None if rules is None else json.dumps(rules).encode()
    try:
        ask(f"{root}{path}?{urlencode(names)}", token=token_of_environment(), method=method, body=body)
    except Refused as problem:
        hint = f"; {TOKEN} does not hold a valid token" if problem.status == 401 else ""
        raise LoaderError(f"{shown(root)}: {problem}{hint}") from None
    except Passing as problem:
        raise Passing(f"{shown(root)}: {problem}") from None
