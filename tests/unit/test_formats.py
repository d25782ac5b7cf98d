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
from vortex.core.model import HOUR_MS
from vortex.core.publish.contents import DONE_VERSION, Done, Outcome, PublishedObject, hour_documents
from vortex.core.publish.plan import PLAN_VERSION, Plan
from vortex.core.publish.ranges import RANGE_VERSION, RangeDone
from vortex.metrics import METRICS

ROOT = Path(__file__).parents[2]
FORMATS = ROOT / "tests/snapshots/formats.json"
RELEASED = ROOT / "tests/snapshots/released.txt"


KINDS: dict[str, tuple[int, type[msgspec.Struct]]] = {
    "segment": (SEGMENT_VERSION, Footer),
    "stream.json": (STATE_VERSION, StreamState),
    "plan.json": (PLAN_VERSION, Plan),
    "dedup": (DECIDED_VERSION, DecidedDocument),
    "done.json": (DONE_VERSION, Done),
    "done-<range>.json": (RANGE_VERSION, RangeDone),
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


def manifest(ending: str, bundled: bool) -> dict[str, Any]:
    """That of an hour with a partition, which may be in a bundle, rejections, and what lies beside them."""
    folders = [("customer=a/event_type=b", False, False), ("_rejected", True, False), ("_rejected/beside", True, True)]
    objects = [
        PublishedObject(
            key=f"{folder}/0700-000{ending}",
            folder=folder,
            period=0,
            customer="" if rejected else "a",
            event_type="" if rejected else "b",
            rejected=rejected,
            rows=1,
            bytes=1,
            raw=1,
            digest="",
            beside=beside,
            at=0 if bundled and not rejected else msgspec.UNSET,
        )
        for folder, rejected, beside in folders
    ]
    done = Done(k=0, after=0, upto=HOUR_MS, objects=objects, periods={0: Outcome()}, totals={}, decided=[])
    state = StreamState(stream="s", arn="", created=0, roots=(), closed_before=0, first_hour=0, seed=0)
    _, (_, body) = hour_documents(state, 0, [done], "s3://b")
    found: dict[str, Any] = json.loads(body)
    return found


def shape(value: Any) -> Any:
    """The names in a document, and the types of what they hold."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


MANIFESTS = {
    "manifest.json": (".json.gz", False),
    "manifest.json of Zstandard": (".json.zst", False),
    "manifest.json with bundles": (".json.gz", True),
}


@pytest.mark.parametrize("name", [*KINDS, *MANIFESTS])
def test_format_has_a_new_version_when_its_fields_change(name: str) -> None:
    """An older program must refuse what it would misread, and so must a loader."""
    if name in MANIFESTS:
        document = manifest(*MANIFESTS[name])
        version, now_fields = document["version"], shape(document)
    else:
        version, kind = KINDS[name]
        now_fields = fields(kind)
    now = {"version": version, "fields": now_fields}
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
    unreleased, newest, *_ = (ROOT / "CHANGELOG.md").read_text("utf-8").split("\n## [")[1:]
    silent = {name for name in now ^ set(before) if f"`{name}" not in unreleased + newest}
    assert not silent, f"CHANGELOG.md names {sorted(silent)} neither in [Unreleased] nor in the newest version"
