"""examples/airflow/requirements.txt names every library that the DAGs load: Vortex goes in with --no-deps there."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "airflow"
DISTRIBUTIONS = {"backports": "backports.zstd", "botocore": "boto3", "opentelemetry": "opentelemetry-sdk"}
"""Imported names whose distribution has another name; the rest are equal but for `_` and `-`."""
BROUGHT_BY_AIRFLOW = {"airflow", "boto3"}


def imported(path: Path) -> set[str]:
    """Modules that the file imports anywhere: also in functions, which a task calls later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import(names=names):
                found |= {name.name for name in names}
            case ast.ImportFrom(module=str(module), names=names):
                found |= {module, *(f"{module}.{name.name}" for name in names)}
    return found


def own_file(module: str) -> Path | None:
    plain = ROOT.joinpath(*module.split("."))
    return next((path for path in (plain.with_suffix(".py"), plain / "__init__.py") if path.is_file()), None)


def libraries_of(dags: list[Path]) -> set[str]:
    """Third-party modules, at the top level, of all own modules that the DAGs reach."""
    found, reached, ahead = set(), set(), list(dags)
    while ahead:
        path = ahead.pop()
        if path in reached:
            continue
        reached.add(path)
        for module in imported(path):
            if module.startswith("vortex_loader"):
                ahead += filter(None, [own_file(module)])
            else:
                found.add(module.partition(".")[0])
    return found - sys.stdlib_module_names - {"compression"}  # compression.zstd: Python 3.14's own


def named(lines: list[str]) -> dict[str, Requirement]:
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", one.name.lower()): one for one in requirements}


def test_requirements_of_airflow_name_each_library_when_the_dags_reach_it() -> None:
    there = named((EXAMPLE / "requirements.txt").read_text("utf-8").splitlines())
    reached = {DISTRIBUTIONS.get(name, name) for name in libraries_of([*EXAMPLE.glob("*.py")])}
    optional = {"duckdb", "redshift_connector"}  # a warehouse's own driver; the example loads into Postgres
    missing = {name for name in reached - BROUGHT_BY_AIRFLOW - optional if re.sub(r"[-_.]+", "-", name) not in there}
    assert missing == set()


def test_requirements_of_airflow_allow_what_the_project_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ours = named(project["dependencies"] + project["optional-dependencies"]["loader"])
    there = named((EXAMPLE / "requirements.txt").read_text("utf-8").splitlines())
    assert {name: (one.specifier, one.marker) for name, one in there.items() if name in ours} == {
        name: (ours[name].specifier, ours[name].marker) for name in there if name in ours
    }


def test_dags_hash_with_the_salt_of_the_environment() -> None:
    """Else a value that is hashed has another digest than the one that `vortex-loader` writes, and can be guessed."""
    text = (EXAMPLE / "vortex_loader_dags.py").read_text()
    assert 'SALT = os.environ.get("VORTEX_LOADER_HASH_SALT", "")' in text
    assert "salt=SALT" in text
