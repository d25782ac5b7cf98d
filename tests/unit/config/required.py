"""The required settings, and what loading them with others gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.config.loading import ConfigError, load
from vortex.config.settings import known_keys

REQUIRED = """
[source]
stream = "s"
[event]
customer = "c"
type = ["a.b", "t"]
id = "i"
time = "x"
[store]
url = "s3://bucket/prefix"
"""


def message_of(path: Path | None, environ: dict[str, str] | None = None) -> str:
    """The message of the error."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return str(caught.value)


KEYS = [(section, key) for section, keys in known_keys().items() for key in keys]


def check_loads_or_is_refused(path: Path, environ: dict[str, str]) -> None:
    """Loading succeeds, or every line of the error begins with the name of the file."""
    try:
        load(path, environ)
    except ConfigError as problem:
        lines = str(problem).split("\n")
        assert all(line.startswith(f"{path}: ") and len(line) > len(str(path)) + 10 for line in lines), lines
