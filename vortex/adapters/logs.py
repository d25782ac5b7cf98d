"""Log formats: JSON lines, or readable text on a terminal. Escapes control characters and hides secrets. Payloads of
events are never logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TextIO

from vortex.adapters.secrecy import hidden

_CLEAR = "\r\x1b[2K"
_PLAIN = "\x1b[0m"
_COLOURS = ((logging.ERROR, "\x1b[1;31m"), (logging.WARNING, "\x1b[33m"))
_CLOSED = "the handler is closed"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def printable(text: str) -> str:
    """`text` as part of one log line: without control characters, secrets, and characters invalid in UTF-8."""
    return _escaped(hidden(text)).encode("utf-8", "backslashreplace").decode()


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line = {"time": _at(record), "level": record.levelname.lower(), "logger": record.name}
        line["message"] = printable(record.getMessage())
        if record.exc_info:
            line["exception"] = hidden(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people: time, level, message, with escaped control characters; a traceback follows on separate lines."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line = f"{_at(record)} {record.levelname.lower():<7} {printable(record.getMessage())}"
        return f"{line}\n{hidden(self.formatException(record.exc_info))}" if record.exc_info else line


class TerminalFormatter(TextFormatter):
    """The same in colours: what needs attention stands out."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        colour = next((code for level, code in _COLOURS if record.levelno >= level), "")
        return f"{colour}{super().format(record)}{_PLAIN}" if colour else super().format(record)


class TerminalHandler(logging.StreamHandler[TextIO]):
    """Writes log lines above one live line, which `show` replaces."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._live = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, and the live one below it again."""
        self.stream.write(_CLEAR)
        super().emit(record)
        self._draw()

    def show(self, text: str) -> None:
        """Replace the live line; empty removes it."""
        with self.lock or contextlib.nullcontext():
            self._live = printable(text)
            self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        self.stream.write(_CLEAR + self._live[:width])
        self.stream.flush()


def live_line() -> Callable[[str], None] | None:
    """What replaces the live line below the log; None where there is no terminal."""
    found = [handler for handler in logging.getLogger().handlers if isinstance(handler, TerminalHandler)]
    return found[0].show if found else None


def _of_use(record: logging.LogRecord) -> bool:
    """Whether a line of asyncio's log is not about bytes that came for a connection that Vortex had closed.

    uvloop reports them as a fatal error, with a traceback. Nothing failed: the connection's user closed it, and has its
    own error if there is one.
    """
    problem = record.exc_info[1] if record.exc_info else None
    return not (isinstance(problem, RuntimeError) and _CLOSED in str(problem))


def set_up(format_: Literal["auto", "json", "text"], level: str) -> None:
    """Log to stderr; `auto` is text on a terminal and JSON elsewhere."""
    text = format_ == "text" or (format_ == "auto" and sys.stderr.isatty())
    handler: logging.Handler
    if text and sys.stderr.isatty():
        handler = TerminalHandler(sys.stderr)
        handler.setFormatter(TextFormatter() if os.environ.get("NO_COLOR") else TerminalFormatter())
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("botocore", "aiobotocore", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("asyncio").addFilter(_of_use)
    for replaced in ("botocore.credentials", "botocore.tokens", "botocore.utils"):
        # `adapters.aws.credentials` logs the same in one line, without secrets.
        logging.getLogger(replaced).setLevel(logging.CRITICAL)
    # It logs a traceback for a reply with a broken header; the caller logs the result in one line.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
