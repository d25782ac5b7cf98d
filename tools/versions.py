"""Versions of a release: `python -m tools.versions lowest` prints constraints, `... tag vVERSION` checks a tag."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([0-9.]+)")


_EXTRAS = ("loader", "otlp")
"""Of what users run; the demo's emulator is not part of it."""


def lowest(root: Path = _ROOT) -> list[str]:
    """A constraint for each dependency of the program and its extras: the lowest version that pyproject.toml allows."""
    project = _project(root)
    extras = {one for extra in _EXTRAS for one in project["optional-dependencies"][extra]}
    found = [_REQUIREMENT.match(one) for one in [*project["dependencies"], *sorted(extras)]]
    assert all(found), "each dependency has a lower bound"
    return [f"{one[1]}=={one[2]}" for one in found if one]


def faults(tag: str, root: Path = _ROOT) -> list[str]:
    """Why `tag` cannot be released: the places that have another version, one line each."""
    version = tag.removeprefix("v")
    chart = (root / "deploy/helm/vortex/Chart.yaml").read_text("utf-8")
    places = {
        "pyproject.toml: project.version": _project(root)["version"],
        "deploy/helm/vortex/Chart.yaml: version": _field(chart, "version"),
        "deploy/helm/vortex/Chart.yaml: appVersion": _field(chart, "appVersion"),
    }
    found = [f"{place} is {has}, the tag says {version}" for place, has in places.items() if has != version]
    changes = (root / "CHANGELOG.md").read_text("utf-8")
    if f"## [{version}]" not in changes:
        found.append(f"CHANGELOG.md has no section [{version}]")
    if number := _unreleased(changes):
        found.append(f"CHANGELOG.md: [Unreleased] has entries ({number}); a release has them under [{version}]")
    return found


def _unreleased(changes: str) -> int:
    """How many entries of the changelog are of no version yet."""
    section = re.search(r"^## \[Unreleased\](.*?)(?=^## |\Z)", changes, re.MULTILINE | re.DOTALL)
    return len(re.findall(r"^- ", section[1], re.MULTILINE)) if section else 0


def _project(root: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def _field(chart: str, name: str) -> str | None:
    found = re.search(rf"^{name}: (\S+)$", chart, re.MULTILINE)
    return found and found[1]


def main(arguments: list[str]) -> int:
    """The program."""
    match arguments:
        case ["lowest"]:
            print("\n".join(lowest()))
            return 0
        case ["tag", tag]:
            found = faults(tag)
            print("\n".join(found), file=sys.stderr)
            return 1 if found else 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
