"""A format has a new version when it changes, and the changelog names what users must change.

tests/snapshots/formats.json has the fields of every stored document by version; tests/snapshots/released.txt the
settings and metrics of the last release. `UPDATE_SNAPSHOTS=1 pytest tests/unit/test_formats.py` writes the first, and
the second after a release.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from vortex.config.settings import known_keys
from vortex.core.dedup.decided import VERSION as DECIDED_VERSION
from vortex.core.dedup.decided import _Document as DecidedDocument
from vortex.core.log.rules import STATE_VERSION, StreamState
from vortex.core.log.segment import VERSION as SEGMENT_VERSION
from vortex.core.log.segment import Footer
from vortex.core.publish.contents import Done
from vortex.core.publish.plan import PLAN_VERSION, Plan
from vortex.core.publish.ranges import RangeDone
from vortex.metrics import METRICS

ROOT = Path(__file__).parents[2]
FORMATS = ROOT / "tests/snapshots/formats.json"
RELEASED = ROOT / "tests/snapshots/released.txt"


def default_version(kind: type[msgspec.Struct]) -> int:
    """The version that a new document gets."""
    return next(int(field.default) for field in msgspec.structs.fields(kind) if field.name == "version")


KINDS: dict[str, tuple[int, type[msgspec.Struct]]] = {
    "segment": (SEGMENT_VERSION, Footer),
    "stream.json": (STATE_VERSION, StreamState),
    "plan.json": (PLAN_VERSION, Plan),
    "dedup": (DECIDED_VERSION, DecidedDocument),
    "done.json": (default_version(Done), Done),
    "done-<range>.json": (default_version(RangeDone), RangeDone),
}


def fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The stored names of a document's fields and their types, and those of the documents within it."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        inner = [one for one in _leaves(field.type) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
        found[field.encode_name] = [str(field.type), *(fields(one) for one in inner)]
    return found


def _leaves(annotation: Any) -> list[Any]:
    inner = get_args(annotation)
    return [leaf for one in inner for leaf in _leaves(one)] if inner else [annotation]


@pytest.mark.parametrize("name", KINDS)
def test_format_has_a_new_version_when_its_fields_change(name: str) -> None:
    """An older program must refuse what it would misread."""
    version, kind = KINDS[name]
    now = {"version": version, "fields": fields(kind)}
    known = json.loads(FORMATS.read_text("utf-8")) if FORMATS.exists() else {}
    if os.environ.get("UPDATE_SNAPSHOTS"):
        known[name] = now
        FORMATS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
    before = known[name]
    if before["fields"] != now["fields"]:
        assert version > before["version"], f"{name} changed: raise its version, and say so in CHANGELOG.md"
    assert before == now, f"{name} has a new version: UPDATE_SNAPSHOTS=1 pytest {Path(__file__).name}"


def test_changelog_names_each_setting_and_metric_that_is_new_or_gone_since_the_release() -> None:
    """So that nobody learns from an error what an upgrade needs."""
    now = {*(f"{section}.{key}" for section, keys in known_keys().items() for key in keys), *(m.name for m in METRICS)}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    if os.environ.get("UPDATE_SNAPSHOTS") and (not RELEASED.exists() or RELEASED.read_text().split()[0] != version):
        RELEASED.write_text("\n".join([version, *sorted(now)]) + "\n", "utf-8")
    _, *before = RELEASED.read_text("utf-8").split()
    unreleased = (ROOT / "CHANGELOG.md").read_text("utf-8").partition("## [Unreleased]")[2].partition("\n## [")[0]
    silent = {name for name in now ^ set(before) if f"`{name}" not in unreleased}
    assert not silent, f"CHANGELOG.md, [Unreleased] does not name {sorted(silent)}"
