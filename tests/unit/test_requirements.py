"""Private parts of libraries: pyproject.toml names each that is used, and bounds the versions of its library.

`make test-lowest` and `make test-newest` run the tests with the versions at both ends.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from tools.versions import lowest

ROOT = Path(__file__).parents[2]
SOURCES = [path for name in ("vortex", "vortex_loader") for path in sorted((ROOT / name).rglob("*.py"))]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
DECLARED = PYPROJECT.partition("# Upper bounds:")[2].partition("\ndependencies = [")[0]
NAMES = re.compile(r"\b_\w+")
OF_PYTHON = {"_exit", "_replace"}
"""Public in spite of their names: os._exit, and _replace of named tuples."""


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_names(tree: ast.Module) -> set[str]:
    """Names that the module itself gives: to functions, classes, fields, slots, and to attributes of `self`."""
    own = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                own.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                own.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                own.add(name)
    return own


def classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


TREES = {path: ast.parse(path.read_text("utf-8")) for path in SOURCES}
HOMES = {one.name: tree for tree in TREES.values() for one in classes(tree)}
"""The module of each class."""


def foreign_names(path: Path) -> set[str]:
    """Private attributes that the module uses, and that neither it gives nor a module with a base of its classes."""
    tree = TREES[path]
    bases = {base.id for one in classes(tree) for base in one.bases if isinstance(base, ast.Name)}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and private(node.attr)}
    return used.difference(OF_PYTHON, own_names(tree), *(own_names(HOMES[base]) for base in bases & set(HOMES)))


def test_private_parts_of_libraries_are_declared_when_they_are_used() -> None:
    undeclared = {
        path.relative_to(ROOT).as_posix(): foreign_names(path) - set(NAMES.findall(DECLARED)) for path in SOURCES
    }
    assert {path: names for path, names in undeclared.items() if names} == {}, "name them in pyproject.toml"


def test_library_has_an_upper_bound_when_its_private_parts_are_used() -> None:
    libraries = {line[4:].split()[0] for line in DECLARED.splitlines() if line.startswith("#   ") and line[4] != " "}
    requirements = tomllib.loads(PYPROJECT)["project"]["dependencies"]
    bounded = {one.partition(">=")[0] for one in requirements if ",<" in one}
    assert libraries == bounded == {"aiobotocore", "aiohttp", "botocore"}


def test_lowest_versions_are_those_of_the_lower_bounds() -> None:
    found = lowest()
    assert "aiobotocore==3.10" in found
    assert "botocore==1.43.115" in found
    assert "duckdb==2.0" in found
    project = tomllib.loads(PYPROJECT)["project"]
    extras = [one for name in ("loader", "otlp") for one in project["optional-dependencies"][name]]
    assert len(found) == len({*project["dependencies"], *extras})
