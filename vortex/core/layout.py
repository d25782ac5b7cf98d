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


def _check(template: str, wanted: set[str]) -> None:
    segments = template.split("/")
    seen: list[str] = []
    for segment in segments:
        try:
            parts = list(Formatter().parse(segment))
        except ValueError as problem:
            raise LayoutError(f"{template!r}: {problem}") from None
        names = [name for _, name, _, _ in parts if name is not None]
        literal = "".join(text for text, _, _, _ in parts)
        if any(spec or conversion for _, name, spec, conversion in parts if name is not None):
            raise LayoutError(f"{template!r}: a placeholder cannot have a format")
        if re.search(r"[^A-Za-z0-9_.=-]", literal) or not segment or not segment.strip("."):
            raise LayoutError(f"{template!r}: segment {segment!r} may only have letters, digits and _ . = -")
        if len(names) > 1:
            raise LayoutError(f"{template!r}: each placeholder needs a path segment of its own, not {segment!r}")
        seen += names
    unknown, missing = sorted(set(seen) - wanted), sorted(wanted - set(seen))
    if unknown or missing or len(seen) != len(set(seen)):
        raise LayoutError(
            f"{template!r}: must have each of {_placeholders(wanted)} once"
            + (f"; missing {_placeholders(missing)}" if missing else "")
            + (f"; unknown {_placeholders(unknown)}" if unknown else "")
        )
    if segments[0] in {STATE, HOURS, MANIFESTS, BUNDLES}:
        raise LayoutError(f"{template!r}: {segments[0]!r} is a folder of Vortex itself")


def _placeholders(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))


class Layout:
    """Renders folders from the two path templates. Raises LayoutError for a template that is not injective."""

    def __init__(self, path: str, rejected: str) -> None:
        _check(path, {"customer", "event_type", "date", "hour"})
        _check(rejected, {"date", "hour"})
        if rejected.split("/")[0] == path.split("/")[0] or rejected.startswith("{"):
            raise LayoutError(f"rejected {rejected!r} must begin with another folder than {path!r}")
        first = path.split("/")[0]
        if first.startswith("{"):
            raise LayoutError(f"{path!r}: the first segment needs a fixed part, such as customer={{customer}}")
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


def object_key(folder: str, period: int, part: int, compression: Compression = Compression.GZIP) -> str:
    """`<folder>/0705-000.json.gz`; with seconds if a period does not start on a whole minute."""
    at = moment(period)
    return f"{folder}/{at.strftime(_PERIOD_DIGITS[at.second == 0])}-{part:03d}{compression.ending}"


def bundle_key(period: int, part: int, number: int, compression: Compression = Compression.GZIP) -> str:
    """`_bundles/date=…/hour=07/0705-002-000.json.gz`: a bundle of range `part` of a plan."""
    date, digits = date_and_hour(period)
    at = moment(period).strftime(_PERIOD_DIGITS[moment(period).second == 0])
    return f"{BUNDLES}/date={date}/hour={digits}/{at}-{part:03d}-{number:03d}{compression.ending}"


def hour_manifest_key(hour: int) -> str:
    """The manifest of an hour: it exists once the hour is closed."""
    date, digits = date_and_hour(hour)
    return f"{HOURS}/date={date}/hour={digits}/manifest.json"


def partition_manifest_key(folder: str) -> str:
    """The Redshift COPY manifest of a partition."""
    return f"{MANIFESTS}/{folder}/manifest.json"
