"""cibuildwheel tests each wheel in a folder with only `test-sources`: they hold all that those tests import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tests_of_a_wheel_are_collected_where_there_are_only_their_sources(tmp_path: Path) -> None:
    wheels = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["cibuildwheel"]
    sources, installed = tmp_path / "sources", tmp_path / "installed"
    sources.mkdir()
    installed.mkdir()
    for name in wheels["test-sources"]:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__", "fixtures"))
        else:
            shutil.copy(ROOT / name, sources / name)
    for package in ("vortex", "vortex_loader"):  # as the wheel installs them
        (installed / package).symlink_to(ROOT / package)
    _, *command = wheels["test-command"].split()
    done = subprocess.run(
        [sys.executable, *command, "--collect-only", "-p", "no:cacheprovider"],
        cwd=sources,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
