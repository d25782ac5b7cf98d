"""`vortex init`: a commented settings file, and beside it the schema by which editors check it."""

from __future__ import annotations

from pathlib import Path

from vortex.commands.printing import print_line
from vortex.config.example import SCHEMA_FILE, example, schema
from vortex.exits import Exit


def init(path: Path, *, schema_only: bool) -> int:
    """Write both, or the schema alone. An existing settings file is an error; an existing schema is replaced."""
    beside = path.parent / SCHEMA_FILE
    target = beside
    try:
        if not schema_only:
            target = path
            with path.open("x", encoding="utf-8") as file:
                file.write(example())
            target = beside
        beside.write_text(schema(), "utf-8")
    except FileExistsError:
        print_line(f"{target}: already exists; nothing was written", err=True)
        return Exit.USAGE
    except OSError as problem:
        print_line(f"{target}: cannot be written: {problem.strerror}", err=True)
        return Exit.USAGE
    if schema_only:
        print_line(f"wrote {beside}")
    else:
        print_line(f"wrote {path} and {beside.name}; set source.stream, store.url and the paths of [event], then run")
        print_line(f"  vortex check -c {path}")
    return Exit.OK
