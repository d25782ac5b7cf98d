"""Tries one wheel with every Python that is installed: `python -m tests.package.pythons FOLDER`.

The folder has the wheel, and its sources in `source`. Each Python gets an environment with the wheel only and runs the
tests of the steps in C there. Exits with 1 if any fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
_TESTS = ("tests/unit/core/native", "tests/unit/core/decode")


def interpreters() -> dict[str, str]:
    """The installed ones by version: on the path, or of pyenv."""
    found = {}
    for version in VERSIONS:
        of_pyenv = sorted(
            Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob(f"versions/{version}.*/bin/python3")
        )
        path = str(of_pyenv[-1]) if of_pyenv else shutil.which(f"python{version}")
        if path:
            found[version] = path
    return found


def passes(python: str, folder: Path, environment: Path) -> bool:
    """Whether the wheel installs and its tests pass."""
    variables = {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH"
    }  # no other copy of the program
    subprocess.run([python, "-m", "venv", "--clear", str(environment)], check=True, env=variables)
    (wheel,) = folder.glob("*.whl")
    pip = [str(environment / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{wheel.resolve()}[dev]"], check=True, env=variables)
    command = [str((environment / "bin/python").absolute()), "-m", "pytest", "-q", *_TESTS]
    return subprocess.run(command, cwd=folder / "source", check=False, env=variables).returncode == 0


def main(folder: Path) -> int:
    """The program."""
    found = interpreters()
    failed = []
    for version, python in found.items():
        print(f"Python {version}: {python}", flush=True)
        if not passes(python, folder, folder / f"venv-{version}"):
            failed.append(version)
    absent = sorted(set(VERSIONS) - set(found))
    print(f"not installed here: {', '.join(absent) or 'none'}; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
