"""`vortex config show`: the settings in effect, and where each comes from."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vortex.adapters.secrecy import hidden
from vortex.commands.printing import print_line
from vortex.config.example import as_written, toml
from vortex.config.loading import origins
from vortex.config.settings import Settings, sections
from vortex.exits import Exit


def show(settings: Settings, path: Path | None, as_json: bool, *, changed_only: bool) -> int:
    """Print them as TOML, or as JSON; with `changed_only` only those that differ from their defaults."""
    where, rows = origins(path), list[tuple[str, str, str, str]]()
    for name, section in sections().items():
        for key, field in section.model_fields.items():
            set_to = getattr(getattr(settings, name), key)
            value, origin = as_written(field, set_to), where.get((name, key), "default")
            if set_to != field.default or not changed_only:
                text = toml(value) if value is not None else "not set"
                rows.append((name, key, hidden(text), origin))
    if as_json:
        click.echo(json.dumps([{"key": f"{n}.{k}", "value": v, "from": origin} for n, k, v, origin in rows], indent=1))
        return Exit.OK
    last = ""
    for name, key, text, origin in rows:
        if name != last:
            print_line(f"[{name}]")
            last = name
        line = f"# {key} is not set" if text == "not set" else f"{key} = {text}"
        print_line(f"{line:<58}  # {origin}")
    return Exit.OK
