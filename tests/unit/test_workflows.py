"""The workflows do what `make` does, so that everything in them can be run elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*(?: [a-z-]+)*):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
MADE = {target for names in TARGETS for target in names.split()}
PAGE = (ROOT / "docs/reference/tested.md").read_text("utf-8")
_WORD = re.compile(r"^[a-z][a-z-]*$")


def jobs(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The jobs of a workflow by name."""
    yield from yaml.safe_load(path.read_text("utf-8"))["jobs"].items()


def commands(job: dict[str, Any]) -> Iterator[str]:
    """What its steps run, for each value of its matrix."""
    for step in job.get("steps", ()):
        if "run" not in step:
            continue
        lists = job.get("strategy", {}).get("matrix", {})
        for name, values in lists.items():
            place = f"${{{{ matrix.{name} }}}}"
            if place in step["run"]:
                yield from (step["run"].replace(place, value) for value in values)
                break
        else:
            yield step["run"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_runs_targets_of_make_alone_and_installs_packages_of_the_system(path: Path) -> None:
    for _, job in jobs(path):
        for command in commands(job):
            for part in command.split(" && "):
                program, *words = part.removeprefix("sudo ").split()
                assert program in ("make", "apt-get", "systemctl"), part
                if program == "make":
                    assert set(filter(_WORD.match, words)) <= MADE, part


def test_page_of_what_is_tested_names_every_job_and_no_other() -> None:
    named = set(re.findall(r"`([a-z]+)\.yml`, `([a-z-]+)`", PAGE))
    assert named == {(path.stem, name) for path in WORKFLOWS for name, _ in jobs(path)}


def test_page_of_what_is_tested_names_existing_targets_and_tests() -> None:
    used = {word for line in re.findall(r"make ([^`\n]+)", PAGE) for word in line.split() if _WORD.match(word)}
    assert used <= MADE
    paths = re.findall(r"`((?:tests|deploy|tools)/[\w/.-]+)`", PAGE)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_names_every_action_by_its_commit_with_the_version_beside_it(path: Path) -> None:
    """A branch or a tag can be moved, and what runs then has the workflow's rights."""
    used = re.findall(r"uses: (.*)", path.read_text("utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"\./.github/workflows/[a-z]+\.yml|[\w/.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_release_pushes_nothing_before_all_tests_and_packages_are_there() -> None:
    found = dict(jobs(ROOT / ".github/workflows/release.yml"))

    def before(name: str) -> set[str]:
        needs = found[name].get("needs", [])
        direct = {needs} if isinstance(needs, str) else set(needs)
        return direct.union(*map(before, direct))

    pushing = {name for name, job in found.items() if "write" in job.get("permissions", {}).values()}
    assert pushing == {"image", "chart", "publish"}
    for name in pushing:
        assert before(name) >= {"version", "test", "wheels", "sdist"}, name
    assert before("publish") >= {"image", "chart"}, "PyPI takes no version twice"
    assert found["test"]["uses"] == "./.github/workflows/test.yml"
    tests = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))
    assert "workflow_call" in tests[True], "`on` is read as a truth value"
