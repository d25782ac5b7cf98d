"""Patterns of texts within bounds, for the JSON schema: a schema compares numbers, but not "64MiB" with "1GiB".

Fractions are compared to nine places, and of a duration of several parts ("1h30m") no part may be beyond the bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_FRACTION = r"(\.[0-9]+)?"
_PLACES = 10**9


def whole_numbers(least: int, most: int | None) -> str:
    """The pattern of the whole numbers from `least` to `most`, without zeros before them."""
    found = []
    shortest, longest = len(str(least)), len(str(least if most is None else most))
    full = [n for n in range(max(shortest, 1), longest + 1) if n > 1 and least <= 10 ** (n - 1) and _reaches(most, n)]
    for digits in range(shortest, longest + 1):
        if digits in full:
            if digits == full[0]:
                found.append(f"[1-9][0-9]{{{full[0] - 1},{'' if most is None else full[-1] - 1}}}")
            continue
        low, high = 0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1
        found.append(_of_one_length(str(max(low, least)), str(high if most is None else min(high, most))))
    if most is None and not full:
        found.append(f"[1-9][0-9]{{{shortest},}}")
    return _any(found)


def _reaches(most: int | None, digits: int) -> bool:
    return most is None or most >= 10**digits - 1


def numbers(least: int, most: int | None, unit: int) -> str:
    """The pattern of the numbers of units of this size that are from `least` to `most`."""
    if not least and most is None:
        return "[0-9]+" + _FRACTION
    whole, rest = divmod(least, unit)
    found = [rf"{whole}\.{_at_least(-(-rest * _PLACES // unit))}"] if rest else []
    begin = whole + bool(rest)
    if most is None:
        found.append(whole_numbers(begin, None) + _FRACTION)
    else:
        last, more = divmod(most, unit)
        if begin < last:
            found.append(whole_numbers(begin, last - 1) + _FRACTION)
        if begin <= last:
            found.append(rf"{last}(\.{_at_most(more * _PLACES // unit)})?")
    return rf"0*{_any(found)}"


def _at_least(places: int) -> str:
    """The digits after a point that are so many billionths or more."""
    digits = f"{places:09}".rstrip("0")
    more = [f"{digits[:at]}[{int(digit) + 1}-9][0-9]*" for at, digit in enumerate(digits) if digit < "9"]
    return _any([*more, f"{digits}[0-9]*"])


def _at_most(places: int) -> str:
    """The digits after a point that are so many billionths or less."""
    digits = f"{places:09}".rstrip("0")
    less = [f"{digits[:at]}[0-{int(digit) - 1}][0-9]*" for at, digit in enumerate(digits) if digit > "0"]
    shorter = [digits[:at] for at in range(1, len(digits))]
    return _any([*less, *shorter, f"{digits}0*" if digits else "0+"])


def texts(least: int, most: int | None, units: Mapping[str, int], limit: int) -> str:
    """The pattern of a number and a unit; `units` has the size of each, by its pattern.

    Without `most`, nothing may exceed `limit`, but only the largest units are compared with it.
    """
    spelled: dict[str, list[str]] = {}
    for name, unit in units.items():
        bound = limit if most is None and unit * 2000 > limit else most
        spelled.setdefault(numbers(least, bound, unit), []).append(name)
    return _any([rf"{number}\s*{_any(names)}" for number, names in spelled.items()])


def texts_of(values: Iterable[int], units: Mapping[str, int]) -> str:
    """The pattern of a whole number and a unit that are one of these values; fractions (0.5m) are left out."""
    chosen = sorted(values)
    found = []
    for name, unit in units.items():
        if of_unit := [str(value // unit) for value in chosen if not value % unit]:
            found.append(rf"0*{_any(of_unit)}(\.0+)?\s*{name}")
    return _any(found)


def _of_one_length(low: str, high: str) -> str:
    """The whole numbers between two with the same number of digits."""
    if low == high:
        return low
    if low[0] == high[0]:
        return low[0] + _of_one_length(low[1:], high[1:])
    rest = len(low) - 1
    first, last, found, end = int(low[0]), int(high[0]), [], []
    if low[1:].strip("0"):
        found.append(low[0] + _of_one_length(low[1:], "9" * rest))
        first += 1
    if high[1:].strip("9"):
        end.append(high[0] + _of_one_length("0" * rest, high[1:]))
        last -= 1
    if first <= last:
        digits = f"[0-9]{{{rest}}}" if rest > 1 else "[0-9]" * rest
        found.append((f"[{first}-{last}]" if first < last else str(first)) + digits)
    return _any([*found, *end])


def _any(patterns: list[str]) -> str:
    return patterns[0] if len(patterns) == 1 else f"({'|'.join(patterns)})"
