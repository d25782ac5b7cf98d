"""Times in configured formats: strptime patterns, compiled to regular expressions.

The standard library's strptime is not used: it reads names of days and months in the process's locale, takes three
times as long, and accepts at most six digits of a fraction.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vortex.core.times import day_of, day_of_year, moment

_MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
           "december"]  # fmt: skip
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_DIRECTIVES = {
    "a": "|".join(day[:3] for day in _DAYS),
    "A": "|".join(_DAYS),
    "b": "|".join(month[:3] for month in _MONTHS),
    "B": "|".join(_MONTHS),
    "d": "3[01]|[12][0-9]|0[1-9]|[1-9]| [1-9]",
    "f": "[0-9]+",
    "H": "2[0-4]|[01][0-9]|[0-9]",
    "I": "1[0-2]|0[1-9]|[1-9]",
    "j": "36[0-6]|3[0-5][0-9]|[12][0-9]{2}|0[1-9][0-9]|00[1-9]|[1-9][0-9]|0[1-9]|[1-9]",
    "m": "1[0-2]|0[1-9]|[1-9]",
    "M": "[0-5][0-9]|[0-9]",
    "p": "am|pm",
    "S": "60|[0-5][0-9]|[0-9]",
    "y": "[0-9]{2}",
    "Y": "[0-9]{4}",
    "z": "[+-][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?|z",
    "Z": "utc|gmt|z",
}
_LONGEST = 256
"""Maximum characters of a time: a pattern may match in many ways, and all of them are tried."""
_SHORT = {"h": "%b", "e": "%d", "T": "%H:%M:%S", "R": "%H:%M", "F": "%Y-%m-%d", "D": "%m/%d/%y", "n": " ", "t": " "}


def time_format(pattern: str) -> Callable[[str], int | None]:
    """A function that reads texts of this pattern as epoch milliseconds; it returns None for any other text.

    Raises ValueError for a pattern without a calendar day, or with an unknown directive.
    """
    given: set[str] = set()
    expression = "".join(_expressions(pattern, given))
    if not given & {"Y", "y"} or not ("j" in given or (given & {"b", "B", "m"} and "d" in given)):
        raise ValueError(f"{pattern!r} must have a year (%Y), and a month and a day (%m or %b, and %d) or %j")
    if "I" in given and "p" not in given:
        raise ValueError(f"{pattern!r} has %I, which needs %p")
    compiled = re.compile(expression, re.IGNORECASE | re.ASCII)

    def read(text: str) -> int | None:
        found = compiled.fullmatch(text.strip()) if len(text) <= _LONGEST else None
        return None if found is None else _moment(found.groupdict())

    return read


def _expressions(pattern: str, given: set[str]) -> list[str]:
    for short, whole in _SHORT.items():
        pattern = re.sub(rf"(?<!%)((?:%%)*)%{short}", rf"\g<1>{whole}", pattern)
    found = []
    for token in re.findall(r"%.?|\s+|[^%\s]+", pattern.strip(), re.DOTALL):
        name = token[1:]
        if token.isspace():
            found.append(r"\s++")
        elif token[0] != "%":
            found.append(re.escape(token))
        elif name == "%":
            found.append("%")
        elif name not in _DIRECTIVES:
            known = ", ".join(
                f"%{each}" for each in sorted({*_DIRECTIVES, *_SHORT}, key=lambda name: (name.lower(), name))
            )
            raise ValueError(f"{pattern!r}: unknown directive {token}; known are {known}")
        elif name in given:
            raise ValueError(f"{pattern!r} has {token} twice")
        else:
            given.add(name)
            found.append(rf"\s*+(?P<{name}>{_DIRECTIVES[name]})" if name == "z" else f"(?P<{name}>{_DIRECTIVES[name]})")
    return found


def _moment(parts: dict[str, str]) -> int | None:
    """Epoch milliseconds of the parts that a pattern found."""
    year = int(parts["Y"]) if "Y" in parts else int(parts["y"]) + (1900 if int(parts["y"]) > 68 else 2000)
    hour = int(parts.get("H", "0"))
    if "I" in parts:
        hour = int(parts["I"]) % 12 + (12 if parts["p"].lower() == "pm" else 0)
    try:
        day = day_of_year(year, int(parts["j"])) if "j" in parts else day_of(year, _month(parts), int(parts["d"]))
    except ValueError:
        return None
    zone = parts.get("z") or parts.get("Z") or ""
    return moment(day, hour, int(parts.get("M", "0")), int(parts.get("S", "0")), parts.get("f", ""), zone)


def _month(parts: dict[str, str]) -> int:
    if "m" in parts:
        return int(parts["m"])
    name = (parts.get("b") or parts["B"]).lower()
    return next(number for number, month in enumerate(_MONTHS, 1) if month.startswith(name))
