"""The types of the values of settings: how people write them, how they are read, and which values are valid.

Each is a type that pydantic reads, with a `Written` that says how it looks in a file. The example, the reference page
and the JSON schema are made from that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

from vortex.config import places
from vortex.config.quoting import quoted
from vortex.config.units import (
    MOST_BYTES,
    duration_ms,
    duration_pattern,
    duration_text,
    size_bytes,
    size_pattern,
    size_text,
)
from vortex.core.decode.time_formats import time_format

_LARGEST_PUT = 5 * 2**30
_UNREADABLE = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')
"""What a key has only as an escape, which the decoder of events cannot look for."""
_MOST_KEYS = 100
"""In one path; each is an object that the decoder enters."""


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """How a value is written: `kind` in words, the JSON schema of its text, and the text of a value that was read."""

    kind: str
    schema: dict[str, Any]
    text: Callable[[Any], object]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of the text; pydantic's own would be that of the number or the tuple."""
        return deepcopy(self.schema)


@dataclass(frozen=True, slots=True, eq=False)
class Within:
    """The bounds of a duration or size, for the program and for the JSON schema; `says` is the error.

    `over`: the error beyond `most`, if it is another. `values`: the only ones, where a few are possible. Without `says`
    a validator checks more than the schema can.
    """

    least: int
    most: int | None
    says: str = ""
    over: str = ""
    values: frozenset[int] = frozenset()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the value after it is read."""
        return no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of `Written`, with the bounds."""
        made = handler(core)
        for one in made.get("anyOf", [made]):
            if one.get("type") == "integer":
                one |= _integer(self.least, self.most or MOST_BYTES)
            elif one.get("pattern") == size_pattern():
                one["pattern"] = size_pattern(self.least, self.most)
            elif "pattern" in one:
                one["pattern"] = duration_pattern(self.least, self.most, self.values)
        return made

    def _checked(self, value: Any) -> Any:
        if not self.says or not isinstance(value, int):  # a word such as "auto"
            return value
        if self.over and self.most is not None and value > self.most:
            raise ValueError(self.over)
        right = value in self.values if self.values else self.least <= value <= (self.most or value)
        if not right:
            raise ValueError(self.says)
        return value


def parse_instant(text: str) -> int:
    """Epoch milliseconds of an ISO time; UTC where it names no zone. Raises ValueError."""
    try:
        at = datetime.fromisoformat(text)
        # In UTC it has to be a date, too, for those who show it.
        found = int((at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except OverflowError:
        found = -1
    except ValueError:
        raise ValueError(
            f'invalid time {quoted(text)}; write for example "2026-01-31" or "2026-01-31T00:00:00Z"'
        ) from None
    if found < 0:
        raise ValueError(
            f'time {quoted(text)} is before 1970 or after 9999; write one between, such as "2026-01-31T00:00:00Z"'
        )
    return found


def _paths(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                raise ValueError(f'{quoted(text)} is not a JSON list; write for example ["a.b", "c"]') from None
        else:
            value = [part.strip() for part in text.split(",")]
    if not isinstance(value, list | tuple) or not value:
        raise ValueError('write a dotted path such as "context.app.name", or a list of them')
    for path in value:
        if not isinstance(path, str) or not all(path.split(".")):
            raise ValueError(f'{quoted(path)} is not a dotted path; write for example "context.app.name"')
        if _UNREADABLE.search(path):
            raise ValueError(
                f"{quoted(path)} has a quote, a backslash, a control character or half a character in a key"
            )
        if path.count(".") >= _MOST_KEYS:
            raise ValueError(f"a path may have at most {_MOST_KEYS} keys; {quoted(path[:20])}... has more")
    return tuple(value)


def _patterns(value: object) -> object:
    if isinstance(value, str):
        try:
            value = json.loads(value)  # the environment has lists as JSON; a pattern may begin with a bracket, too
        except (ValueError, RecursionError):
            value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(pattern, str) for pattern in value):
        raise ValueError('write a pattern such as "%d/%b/%Y:%H:%M:%S %z", or a list of them')
    for pattern in value:
        time_format(pattern)
    return tuple(value)


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # pydantic takes True for 1
    return value


def _size_or_auto(value: object) -> object:
    if value == "auto":
        return value
    if isinstance(value, str) and not value.strip()[:1].isdecimal():
        raise ValueError(f'invalid size {quoted(value)}; write for example "64MiB", "10MB" or "auto"')
    return size_bytes(value)


def _size_or_auto_text(value: int | Literal["auto"]) -> str:
    return value if value == "auto" else size_text(value)


def _one_or_more(values: tuple[str, ...]) -> object:
    return values[0] if len(values) == 1 else list(values)


def _texts(least: int) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": least}]}


def _integer(least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


Number = Annotated[int, BeforeValidator(_number)]
_TEXT = {"type": "string", "pattern": size_pattern()}
Duration = Annotated[
    int,
    BeforeValidator(duration_ms),
    Written("duration", {"type": "string", "pattern": duration_pattern()}, duration_text),
]
"""Milliseconds."""
Size = Annotated[
    int,
    BeforeValidator(size_bytes),
    Written(
        "size",
        {"anyOf": [_TEXT, _integer(0, MOST_BYTES)]},
        size_text,
    ),
]
"""Bytes."""
SizeOrAuto = Annotated[
    int | Literal["auto"],
    BeforeValidator(_size_or_auto),
    Written(
        'size, or "auto"',
        {"anyOf": [{"const": "auto"}, _TEXT, _integer(0, MOST_BYTES)]},
        _size_or_auto_text,
    ),
]
"""Bytes, or "auto"."""
_POSITIVE = Within(1, None, "must be greater than 0")
PositiveDuration = Annotated[Duration, _POSITIVE]
PositiveSize = Annotated[Size, _POSITIVE]
ObjectSize = Annotated[
    Size,
    Within(1, _LARGEST_PUT, "must be greater than 0", 'must be at most "5GiB": S3 accepts no more in one PUT'),
]
"""Bytes of what becomes one object."""
Paths = Annotated[tuple[str, ...], BeforeValidator(_paths), Written("path or list of paths", _texts(1), _one_or_more)]
Patterns = Annotated[
    tuple[str, ...], BeforeValidator(_patterns), Written("pattern or list of patterns", _texts(0), _one_or_more)
]
Endpoint = Annotated[str, AfterValidator(places.endpoint)]
"""A service's URL."""
