"""Logs: JSON lines, or readable text on a terminal. Control characters are escaped; payloads never come here,
and secrets are hidden.
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
    """`text` as a part of one line: no control character, no secret, and nothing that cannot be written as UTF-8."""
    return _escaped(hidden(text)).encode("utf-8", "backslashreplace").decode()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line = {"time": _at(record), "level": record.levelname.lower(), "logger": record.name}
        line["message"] = printable(record.getMessage())
        if record.exc_info:
            line["exception"] = hidden(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For a person: time, level, message; control characters escaped, a traceback on lines of its own."""

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
    for told in ("botocore.credentials", "botocore.tokens", "botocore.utils"):
        # `adapters.aws.credentials` says it in a line, without secrets.
        logging.getLogger(told).setLevel(logging.CRITICAL)
    # A reply with a broken header makes it warn with a traceback; whoever asked says in a line what came of it.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
