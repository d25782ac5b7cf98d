"""The contract with loaders: the folder and file of each event.

Names come from events, so they may be hostile: every value is encoded injectively as one path segment, so that no name
escapes its folder and no two names share one. Everything else groups by the rendered folder.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from string import Formatter
from unicodedata import ucd_3_2_0 as unicode
from urllib.parse import quote

from vortex.core.compression import Compression
from vortex.core.model import HOUR_MS

MAX_UNCUT = 120
"""Maximum bytes of an encoded value that is not cut; a cut value always has more. Disks take 255 bytes a name."""
_KEPT = 88
_PERIOD_DIGITS = {True: "%H%M", False: "%H%M%S"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAFE = re.compile(r"[A-Za-z0-9_.-]+")
_INVISIBLE = re.compile(r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u3164\ufe00-\ufe0f\uffa0]")
"""Letters and marks that nobody sees."""

STATE = "_vortex"
HOURS = "_hours"
MANIFESTS = "_manifests"
BUNDLES = "_bundles"
"""Objects that hold the lines of many small partitions."""
BESIDE = "records"
"""The subfolder of a rejection folder for data that do not fit into rejection lines."""
_OWN = (STATE, HOURS, MANIFESTS, BUNDLES)
_LONGEST = {"customer": MAX_UNCUT + 1, "event_type": MAX_UNCUT + 1, "date": 10, "hour": 2}
"""Bytes of the longest value of a placeholder."""
_VALUE = {"customer": "[^=]+", "event_type": "[^=]+", "date": r"\d{4}-\d\d-\d\d", "hour": r"\d\d"}
"""The pattern of its values: a name is encoded, so it has no "="."""
_SHOWN = 120
"""Characters of a template in a message."""
MAX_SEGMENT = 255
"""Bytes of a name on disk."""
MAX_FOLDER = 450
"""Bytes of a folder: a key in S3 has at most 1024, of which store.url takes up to 500, and a file's name the rest."""


class LayoutError(ValueError):
    """A path template that does not separate partitions; the message says what is wrong."""


def encode(value: str) -> str:
    """One path segment for `value`: letters, digits, `_`, `.` and `-` as they are, other UTF-8 bytes percent-encoded.

    Injective: different values give different segments, also on a disk that normalizes names. `.` and `..` are encoded.
    A long value is cut and ends in 32 hex digits of its SHA-256 (cut forms have more bytes than any uncut one, so the
    two kinds cannot meet). Hive-style readers (Spark, Athena, DuckDB) decode the escapes again.
    """
    return _remembered(value) if len(value) <= MAX_UNCUT else _encoded(value)


def _encoded(value: str) -> str:
    if _SAFE.fullmatch(value) and len(value) <= MAX_UNCUT and value.strip("."):
        return value
    if not value:
        return "%"  # results from no other value
    pieces = _pieces(value[: MAX_UNCUT + 1], letters=not value.isascii() and unicode.is_normalized("NFC", value))
    if not value.strip("."):
        pieces = [piece.replace(".", "%2E") for piece in pieces]
    sizes = list(accumulate(len(piece.encode()) for piece in pieces))
    if sizes[-1] <= MAX_UNCUT:
        return "".join(pieces)
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    kept = bisect_right(sizes, _KEPT)
    padding = "_" * (MAX_UNCUT - len(digest) - sizes[kept - 1])
    return f"{''.join(pieces[:kept])}-{digest}{padding}"


def _pieces(value: str, *, letters: bool) -> list[str]:
    """Each character as it is, or its escapes. Letters outside ASCII stay where `letters`, marks only behind those.

    Controls, signs and spaces are escaped. So is each name outside NFC: it would share a folder with its normal form on
    disks that normalize. Which characters are letters is Unicode 3.2's answer, the same for all versions of Python.
    """
    pieces, behind = [], False
    for char in value:
        kind = unicode.category(char) if letters and char > "\x7f" and not _INVISIBLE.match(char) else ""
        behind = kind[:1] == "L" or kind == "Nd" or (behind and kind[:1] == "M")
        # quote() keeps "~", which is not in this alphabet.
        pieces.append(char if behind else quote(char, safe="", errors="surrogatepass").replace("~", "%7E"))
    return pieces


_remembered = lru_cache(maxsize=65_536)(_encoded)
"""Caches only short values: a producer may send any number of long ones, which would stay in memory."""


def moment(ms: int) -> datetime:
    """`ms` since the epoch as a UTC datetime, also before 1970."""
    return _EPOCH + timedelta(milliseconds=ms)


def hour_of(ms: int) -> int:
    """The start of the hour that contains `ms`."""
    return ms - ms % HOUR_MS


@lru_cache(maxsize=4096)
def date_and_hour(ms: int) -> tuple[str, str]:
    """`("2018-12-18", "07")`; years are always four digits."""
    at = moment(ms)
    return f"{at.year:04d}-{at.month:02d}-{at.day:02d}", f"{at.hour:02d}"


def check_template(template: str, wanted: set[str]) -> None:
    """Whether the template has each wanted placeholder once, and renders to valid folders, none of them Vortex's own.

    Raises LayoutError.
    """
    try:
        segments = [_checked(segment) for segment in template.split("/")]
        _check_names([name for names, _ in segments for name in names], wanted)
        most = sum(size + 1 for _, size in segments) - 1
        if most > MAX_FOLDER:
            raise ValueError(f"can have {most} bytes with the longest names, at most {MAX_FOLDER}")
        first = template.split("/")[0]
        if first.startswith("{"):
            raise ValueError("the first segment needs a fixed part, such as customer={customer}")
        for own in _OWN:
            if _can_meet(first, own):
                what = "is" if first == own else f"can become {own!r},"
                raise ValueError(f"{first!r} {what} a folder of Vortex itself; begin with another folder")
    except ValueError as problem:
        raise LayoutError(f"{_short(template)}: {problem}") from None


def _checked(segment: str) -> tuple[list[str], int]:
    """The segment's placeholders, and its bytes with the longest values. Raises ValueError."""
    parts = list(Formatter().parse(segment))
    names = [name for _, name, _, _ in parts if name is not None]
    literal = "".join(text for text, _, _, _ in parts)
    if any(spec or conversion for _, name, spec, conversion in parts if name is not None):
        raise ValueError("a placeholder cannot have a format")
    if re.search(r"[^A-Za-z0-9_.=-]", literal) or not segment or not segment.strip("."):
        raise ValueError(f"segment {_short(segment)} may only have letters, digits and _ . = -")
    if len(names) > 1:
        raise ValueError(f"each placeholder needs a path segment of its own, not {_short(segment)}")
    size = len(literal) + sum(_LONGEST.get(name, 0) for name in names)
    if size > MAX_SEGMENT:
        raise ValueError(f"segment {_short(segment)} can have {size} bytes, at most {MAX_SEGMENT}")
    return names, size


def _check_names(seen: list[str], wanted: set[str]) -> None:
    unknown, missing = sorted(set(seen) - wanted), sorted(wanted - set(seen))
    if unknown or missing or len(seen) != len(set(seen)):
        raise ValueError(
            f"must have each of {_placeholders(wanted)} once"
            + (f"; missing {_placeholders(missing)}" if missing else "")
            + (f"; unknown {_short(_placeholders(unknown))[1:-1]}" if unknown else "")
        )


def _can_meet(one: str, other: str) -> bool:
    """Whether two first segments of templates can become one folder, by whatever names and times.

    On a disk that ignores case, too. Of two segments with placeholders only the fixed beginnings are compared: the
    answer may be true of segments that never meet, but never false of segments that do.
    """
    one, other = one.lower(), other.lower()
    (start, mark, _), (begin, sign, _) = one.partition("{"), other.partition("{")
    if mark and sign:
        return start.startswith(begin) or begin.startswith(start)
    pattern, text = (one, other) if mark else (other, one)
    parts = Formatter().parse(pattern)
    return bool(
        re.fullmatch("".join(re.escape(fixed) + (_VALUE[name] if name else "") for fixed, name, _, _ in parts), text)
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _placeholders(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))


def check_path(path: str) -> None:
    """The template of events. Raises LayoutError."""
    check_template(path, {"customer", "event_type", "date", "hour"})


class Layout:
    """Renders folders from the two path templates. Raises LayoutError for templates that are not injective.

    Each kind of object (events, rejections, state, manifests, bundles) has first segments that no other kind can have,
    whatever names events bring. So no two kinds share an object, and none lies within a folder of another.
    """

    def __init__(self, path: str, rejected: str) -> None:
        check_path(path)
        check_template(rejected, {"date", "hour"})
        first, other = path.split("/")[0], rejected.split("/")[0]
        if _can_meet(first, other):
            raise LayoutError(
                f"{_short(rejected)} must begin with another folder than layout.path: {first!r} and {other!r} can be "
                "the same folder"
            )
        self.path = path
        self.rejected = rejected

    def folder(self, customer: str, event_type: str, period: int) -> str:
        """The folder of a partition, without a trailing slash."""
        date, hour = date_and_hour(period)
        return self.path.format(customer=encode(customer), event_type=encode(event_type), date=date, hour=hour)

    def rejected_folder(self, period: int) -> str:
        """The folder of the rejections of an hour."""
        date, hour = date_and_hour(period)
        return self.rejected.format(date=date, hour=hour)

    def beside_folder(self, period: int) -> str:
        """The folder of the data that do not fit into rejection lines."""
        return f"{self.rejected_folder(period)}/{BESIDE}"


@lru_cache(maxsize=4096)
def _digits_of(period: int) -> str:
    """`0705`; `070530` if the period does not start on a whole minute. Thousands of objects have the same period."""
    at = moment(period)
    return at.strftime(_PERIOD_DIGITS[at.second == 0])


def object_key(folder: str, period: int, part: int, compression: Compression = Compression.GZIP) -> str:
    """`<folder>/0705-000.json.gz`; with seconds if a period does not start on a whole minute."""
    return f"{folder}/{_digits_of(period)}-{part:03d}{compression.ending}"


def bundle_key(period: int, part: int, number: int, compression: Compression = Compression.GZIP) -> str:
    """`_bundles/date=…/hour=07/0705-002-000.json.gz`: a bundle of range `part` of a plan."""
    date, digits = date_and_hour(period)
    return f"{BUNDLES}/date={date}/hour={digits}/{_digits_of(period)}-{part:03d}-{number:03d}{compression.ending}"


def hour_manifest_key(hour: int) -> str:
    """The manifest of an hour: it exists once the hour is closed."""
    date, digits = date_and_hour(hour)
    return f"{HOURS}/date={date}/hour={digits}/manifest.json"


def partition_manifest_key(folder: str) -> str:
    """The Redshift COPY manifest of a partition."""
    return f"{MANIFESTS}/{folder}/manifest.json"
