"""Arguments that a wrong value would turn into wrong figures."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from vortex.config.settings import Settings
from vortex.config.units import size_bytes


def positive(text: str) -> int:
    """A whole number of 1 or more. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def checkout(text: str) -> Path:
    """The folder of a checkout. Raises ArgumentTypeError: in another folder Python finds the installed program."""
    folder = Path(text).resolve()
    if not (folder / "vortex" / "__init__.py").is_file():
        raise ArgumentTypeError(f"{text!r} is not a checkout: it has no folder vortex")
    return folder


def rate(text: str) -> int:
    """Bytes a second, more than 0. Raises ArgumentTypeError."""
    try:
        found = size_bytes(text)
    except ValueError as problem:
        raise ArgumentTypeError(str(problem)) from None
    if found < 1:
        raise ArgumentTypeError(f"{text!r} would let nothing through; leave it out for no limit")
    return found


def setting(text: str) -> str:
    """`SECTION.KEY=VALUE` with a setting that exists. Raises ArgumentTypeError."""
    name, equals, _ = text.partition("=")
    section, _, key = name.partition(".")
    fields = Settings.model_fields
    if not equals or section not in fields or key not in getattr(fields[section].annotation, "model_fields", {}):
        raise ArgumentTypeError(f"{text!r} is not SECTION.KEY=VALUE with a setting of Vortex, as memory.limit=512MiB")
    return text


def new_file(text: str) -> Path:
    """A file in a folder that exists. Raises ArgumentTypeError: it is written when all has been measured."""
    path = Path(text)
    if not path.parent.is_dir() or path.is_dir():
        raise ArgumentTypeError(
            f"{text!r} cannot be written: {'it' if path.is_dir() else path.parent} is "
            + ("a folder" if path.is_dir() else "no folder")
        )
    return path


def stopped_by_hand(main: Callable[[], None]) -> None:
    """Run `main`; Ctrl-C ends it with one line and code 130, as in a shell."""
    try:
        main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
