"""VORTEX_REQUIRE_NATIVE: whether an install without the steps in C goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def built(tmp_path: Path, value: str | None) -> subprocess.CompletedProcess[str]:
    """Build the steps in C with a compiler that fails."""
    given = {} if value is None else {"VORTEX_REQUIRE_NATIVE": value}
    options = ["--build-lib", str(tmp_path / "lib"), "--build-temp", str(tmp_path / "temp")]
    return subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", *options],
        cwd=ROOT,
        env={**os.environ, "CC": "/bin/false", **given},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_failing_compiler_is_an_error_when_the_steps_in_c_are_required(tmp_path: Path, value: str) -> None:
    done = built(tmp_path, value)
    assert done.returncode != 0
    assert "VORTEX_REQUIRE_NATIVE is set: install a C compiler and Python's headers" in done.stdout + done.stderr


@pytest.mark.parametrize("value", [None, "", "0", "off"])
def test_failing_compiler_is_a_warning_when_the_steps_in_c_are_not_required(tmp_path: Path, value: str | None) -> None:
    done = built(tmp_path, value)
    assert done.returncode == 0, done.stderr
    assert "no steps in C" in done.stdout + done.stderr


def test_unknown_value_is_an_error_that_says_which_are_known(tmp_path: Path) -> None:
    done = built(tmp_path, "maybe")
    assert done.returncode != 0
    assert "VORTEX_REQUIRE_NATIVE is 'maybe'; write 1, true, yes, on, or 0, false, no, off" in done.stderr
