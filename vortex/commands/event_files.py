"""Reads files of events on this machine, in pieces that are decoded like records."""

from __future__ import annotations

import contextlib
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vortex.core.decode.containers import open_record
from vortex.core.decode.limits import Limits, Pot
from vortex.core.decode.reasons import OverBudget
from vortex.core.decode.steps import at_once

_CHUNK = 1 << 20
_HEAD = 64 << 20
"""Maximum bytes of a file without line breaks between events: its values are looked for in one piece."""
_GZIP = b"\x1f\x8b"
_LIMITS = Limits(record=4 * _HEAD, page=4 * _HEAD, events=1 << 30, rejections=1 << 40)


class FileError(Exception):
    """The command's input cannot be used, a file or an option; the message says why."""


def records_in(path: Path) -> Iterator[bytes]:
    """The events of a file in pieces: lines where each begins an event of its own, else the file's JSON values.

    `-` is standard input. A gzip file is decompressed on the way. Any other format that a record may have is one
    piece. Raises FileError.
    """
    try:
        if str(path) == "-":
            yield from _pieces(_blocks(standard_input()))
            return
        with path.open("rb") as file:
            yield from _pieces(_blocks(file))
    except (OSError, zlib.error, EOFError) as problem:
        raise FileError(f"{path}: cannot be read: {problem}") from None


def standard_input() -> BinaryIO:
    """Its bytes. Raises FileError if the process was started without one."""
    if sys.stdin is None:
        raise FileError("standard input is closed: give a file, or pipe the events into the command")
    return sys.stdin.buffer


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which must not exist yet. It is removed if it cannot be finished. Raises FileError."""
    try:
        file = path.open("xb")
    except OSError as problem:
        raise FileError(f"{path}: cannot be written: {problem.strerror}; give another file") from None
    try:
        with file:
            yield file
    except BaseException as problem:
        path.unlink(missing_ok=True)
        if isinstance(problem, OSError):
            raise FileError(f"{path}: cannot be written: {problem.strerror}; give another file") from None
        raise


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """The file's bytes, decompressed if it is gzip (one or several members), in blocks of limited size."""
    block = file.read(_CHUNK)
    if not block.startswith(_GZIP):
        while block:
            yield block
            block = file.read(_CHUNK)
        return
    inflater = zlib.decompressobj(31)
    while True:
        text = inflater.decompress(block, _CHUNK)
        block = inflater.unconsumed_tail
        if text:
            yield text
        if inflater.eof:
            block = inflater.unused_data.lstrip(b"\0") or file.read(_CHUNK)
            if not block:
                return
            inflater = zlib.decompressobj(31)
        elif not block and not text:
            block = file.read(_CHUNK)
            if not block:
                raise EOFError("the compressed data is truncated")


def _pieces(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines, if the file begins with an object that ends with its line; else the values of the whole file."""
    head = next(blocks, b"")
    line, found, _ = head.partition(b"\n")
    if found and line.lstrip(b"\xef\xbb\xbf \t").startswith(b"{") and line.rstrip().endswith(b"}"):
        yield from _lines(head, blocks)
        return
    whole = bytearray(head)
    for block in blocks:
        whole += block
        if len(whole) > _HEAD:
            raise EOFError(
                f"has no line breaks between events and is larger than {_HEAD} bytes, decompressed if it is gzip; "
                "cut it. On the stream a record that decompresses to more than limits.record is rejected as too_large"
            )
    if not whole.strip():
        return
    try:
        yield from at_once(at_once(open_record(bytes(whole), _LIMITS, Pot(_LIMITS))).split()).data
    except OverBudget as over:
        raise EOFError(over.detail) from None


def _lines(rest: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from (line for line in lines if line.strip())
        if len(rest) > _HEAD:
            raise EOFError(f"has a line of more than {_HEAD} bytes")
    yield from (line for line in rest.split(b"\n") if line.strip())
