"""Log formats: JSON lines, or readable text on a terminal. Escapes control characters and hides secrets. Payloads of
events are never logged.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal

from vortex.adapters.secrecy import hidden

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


def set_up(format_: Literal["auto", "json", "text"], level: str) -> None:
    """Log to stderr; `auto` is text on a terminal and JSON elsewhere."""
    text = format_ == "text" or (format_ == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("botocore", "aiobotocore", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for replaced in ("botocore.credentials", "botocore.tokens", "botocore.utils"):
        # `adapters.aws.credentials` logs the same in one line, without secrets.
        logging.getLogger(replaced).setLevel(logging.CRITICAL)
    # It logs a traceback for a reply with a broken header; the caller logs the result in one line.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
