"""An event's time as epoch milliseconds: texts of RFC 3339 and ISO 8601, and numbers.

Every unambiguous text is accepted; a text that two readers may read as two different times is refused.
"""

from __future__ import annotations

import math
import re
from datetime import date
from decimal import ROUND_FLOOR, Context, Decimal

EARLIEST_MS = -62_135_596_800_000
"""The first moment of year 1, the earliest supported time."""
LATEST_MS = 253_402_300_799_999
_DAY_MS = 86_400_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# The size of a number gives its unit: seconds until the year 5138, then milli-, micro- and nanoseconds.
_SECONDS, _MILLIS, _MICROS = 10**11, 10**14, 10**17
_FLOOR = Context(prec=28, rounding=ROUND_FLOOR)
_LEAST_TEXT = 10**8
"""A text with a smaller number, of fewer than nine digits, may be a date."""
_NUMBER = re.compile(r"(?P<whole>[+-]?[0-9]+)(?P<fraction>\.[0-9]*)?(?P<exponent>[eE][+-]?[0-9]+)?")
_ISO = re.compile(
    r"(?P<year>[0-9]{4})(?:"
    r"-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})|(?P<month_>[0-9]{2})(?P<day_>[0-9]{2})"
    r"|-(?P<yearday>[0-9]{3})|-?W(?P<week>[0-9]{2})(?:-?(?P<weekday>[1-7]))?)"
    r"(?:[Tt ](?P<hour>[0-9]{2})(?::?(?P<minute>[0-9]{2})(?::?(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?)?)?"
    r" ?(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?(?: (?:UTC|GMT))?)?"
    r"(?P<name>\[[^\[\]]*\])*"  # RFC 9557; the offset before it is used
)


def parse_time(value: str | int | float | None) -> int | None:
    """Epoch milliseconds of a text (UTC if it has no zone) or of a number; None if unreadable.

    Only the years 1 to 9999 are readable.
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip(" \t\r\n")
        number = _NUMBER.fullmatch(text)
        return _of_iso(text) if number is None or _is_date(number) else _of_number_text(number)
    return _of_number(value)


def _is_date(number: re.Match[str]) -> bool:
    return number["fraction"] is None and number["exponent"] is None and len(number[0]) == 8


def _of_number_text(number: re.Match[str]) -> int | None:
    whole, exponent = number["whole"], number["exponent"]
    if exponent is None and len(whole.lstrip("+-")) < 9:
        return None
    if exponent is None and number["fraction"] is None:
        return _of_number(int(whole)) if len(whole) < 40 else None
    size = abs(float(number[0]))
    # Not as a float: with seven digits or more after the point it could round to the next hour.
    return _of_number(Decimal(number[0])) if _LEAST_TEXT <= size < math.inf else None


def _of_number(value: int | float | Decimal) -> int | None:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if -_SECONDS < value < _SECONDS:
        ms = math.floor(_FLOOR.multiply(value, 1000) if isinstance(value, Decimal) else value * 1000)
    elif -_MILLIS < value < _MILLIS:
        ms = math.floor(value)
    else:
        # Integer division: in floating point the last millisecond of a period could round to the next period.
        ms = math.floor(value) // (1000 if -_MICROS < value < _MICROS else 1_000_000)
    return ms if EARLIEST_MS <= ms <= LATEST_MS else None


def _of_iso(text: str) -> int | None:
    found = _ISO.fullmatch(text)
    if found is None or (found["name"] and not found["zone"]):
        return None
    day = _day(found)
    if day is None:
        return None
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    return moment(day, hour, minute, second, found["fraction"] or "", found["zone"] or "")


def _day(found: re.Match[str]) -> int | None:
    """Days since the epoch; None for an invalid date."""
    year = int(found["year"])
    try:
        if found["week"]:
            return date.fromisocalendar(year, int(found["week"]), int(found["weekday"] or 1)).toordinal() - _EPOCH_DAY
        if found["yearday"]:
            return day_of_year(year, int(found["yearday"]))
        return day_of(year, int(found["month"] or found["month_"]), int(found["day"] or found["day_"]))
    except ValueError:
        return None


def day_of(year: int, month: int, day: int) -> int:
    """Days since the epoch. Raises ValueError for a day that is in no calendar."""
    return date(year, month, day).toordinal() - _EPOCH_DAY


def day_of_year(year: int, number: int) -> int:
    """Days since the epoch. Raises ValueError for a day that is in no calendar."""
    first = date(year, 1, 1).toordinal()
    if not 1 <= number <= date(year, 12, 31).toordinal() - first + 1:
        raise ValueError("no such day in the year")
    return first + number - 1 - _EPOCH_DAY


def moment(day: int, hour: int, minute: int, second: int, fraction: str, zone: str) -> int | None:
    """Epoch milliseconds of a time of a day (since the epoch); None for an invalid time.

    24:00 is 0:00 of the next day. A leap second counts as the second before it, so it stays in its hour. `fraction` are
    the digits of the fractional second, truncated to milliseconds; `zone` is empty for UTC.
    """
    if second == 60:
        second = 59
    if hour == 24 and not (minute or second or fraction.strip("0")):
        day, hour = day + 1, 0
    offset = _offset(zone)
    if hour > 23 or minute > 59 or second > 59 or offset is None:
        return None
    seconds = hour * 3600 + minute * 60 + second - offset
    ms = day * _DAY_MS + seconds * 1000 + int(fraction[:3].ljust(3, "0"))
    return ms if EARLIEST_MS <= ms <= LATEST_MS else None


def _offset(zone: str) -> int | None:
    """Seconds that a zone is ahead of UTC; None for an invalid zone."""
    if zone[:1] not in ("+", "-"):
        return 0
    digits = zone[1:].replace(":", "")[:6].split(" ")[0].ljust(6, "0")
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:6])
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    size = hours * 3600 + minutes * 60 + seconds
    return -size if zone[0] == "-" else size
