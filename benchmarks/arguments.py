"""Arguments that a wrong value would turn into wrong figures."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path


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
