"""Reads the settings: a TOML file, each key overridable by `VORTEX_SECTION__KEY`; unknown keys are refused.

What neither says, VORTEX_DEFAULTS may, which the image sets; then the defaults of the program apply.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vortex.config.environment import DEFAULTS, defaults, overrides, variable
from vortex.config.output import FAST
from vortex.config.quoting import shortened
from vortex.config.settings import Settings, known_keys
from vortex.core.wording import counted

_LINE = 500
"""Characters of a fault."""
_LINES = 50
_MOST_BYTES = 16 << 20
"""Of a settings file; a device has no end."""


class ConfigError(Exception):
    """The settings cannot be used; one line a fault, each naming the key, its variable and what to do.

    Long lines are shortened, and many: a file that is something else has thousands of unknown settings.
    """

    def __init__(self, *faults: str) -> None:
        lines = [shortened(line, _LINE) for fault in faults for line in fault.split("\n")]
        more = len(lines) - _LINES
        super().__init__("\n".join([*lines[:_LINES], *([f"and {counted(more, 'more line')}"] if more > 0 else [])]))


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of a TOML file (None: of the environment alone). Raises ConfigError."""
    document, environ = _read(path) if path else {}, os.environ if environ is None else environ
    weak, faults = defaults(environ, known_keys())
    for section, keys in weak.items():
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            document[section] = {**keys, **table}
    said, unknown = overrides(environ, known_keys())
    faults += unknown
    name = str(path) if path else "environment"
    for section, keys in said.items():
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            table.update(keys)
    try:
        settings = Settings.model_validate(document) if not faults else None
    except ValidationError as problem:
        faults += [_fault(dict(error), name) for error in problem.errors(include_url=False)]
    if faults or settings is None:
        raise ConfigError(*faults)
    return settings


def origins(path: Path | None, environ: Mapping[str, str] | None = None) -> dict[tuple[str, str], str]:
    """By section and key where a setting comes from: the variable or the file; absent keys have their defaults."""
    document, environ = _read(path) if path else {}, os.environ if environ is None else environ
    said, _ = overrides(environ, known_keys())
    weak, _ = defaults(environ, known_keys())
    tables = {name: table for name, table in document.items() if isinstance(table, dict)}
    found = {(name, key): DEFAULTS for name, keys in weak.items() for key in keys}
    found |= {(name, key): str(path) for name, table in tables.items() for key in table}
    found |= {(name, key): variable(name, key) for name, keys in said.items() for key in keys}
    if "fast" in (said.get("publish", {}).get("preset"), tables.get("publish", {}).get("preset")):
        for name, keys in FAST.items():
            for key, (usual, _) in keys.items():
                if said.get(name, {}).get(key, tables.get(name, {}).get(key, usual)) == usual:
                    found[name, key] = "publish.preset"
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ConfigError(f"{path}: has more than {_MOST_BYTES >> 20} MiB: it is no file of settings")
        return tomllib.loads(content.decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; create one with `vortex init {path}`") from None
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path}: is not UTF-8: {problem}") from None
    except (ValueError, RecursionError) as problem:  # not only TOMLDecodeError: a number may have too many digits
        raise ConfigError(f"{path}: is not valid TOML: {problem}") from None


def _fault(error: dict[str, Any], name: str) -> str:
    place = [shortened(text if (text := str(part)).isprintable() else repr(text)) for part in error["loc"]]
    key = ".".join(place[:2])
    if error["type"] == "extra_forbidden":
        return f"{name}: {key}: {_unknown(place)}"
    if error["type"] == "missing":
        if len(place) == 1:
            return f"{name}: missing required section [{key}]; `vortex init` writes a file with all sections"
        return f"{name}: {key} (or {variable(*place[:2])}): missing required setting"
    if error["type"] in ("model_type", "model_attributes_type"):
        return f"{name}: {key}: must be a section; write [{key}], and its keys below it"
    return f"{name}: {key} (or {variable(*place[:2])}): {_meaning(error)}"


def _unknown(place: list[str]) -> str:
    known = known_keys()
    choices, what = (known.get(place[0], []), "setting") if len(place) > 1 else (list(known), "section")
    near = difflib.get_close_matches(place[-1], choices, 1)
    return f"unknown {what}; " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(choices)}")


def _meaning(error: dict[str, Any]) -> str:
    """What a value must be; pydantic's own words are about inputs and instances."""
    bounds = error.get("ctx", {})
    match error["type"]:
        case "literal_error":
            return f"must be {bounds['expected']}".replace("'", '"')
        case "greater_than_equal":
            return f"must be at least {bounds['ge']}"
        case "less_than_equal":
            return f"must be at most {bounds['le']}"
        case "string_type":
            return "must be text in quotes"
        case kind if kind.startswith("int_"):
            return "must be a whole number"
        case _:
            return str(error["msg"]).removeprefix("Value error, ")
