"""The source distribution and the wheel that `make test-package` built, in the folder that PACKAGE names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("PACKAGE", ROOT / ".tools/package"))


def test_source_distribution_holds_every_file_of_the_repository() -> None:
    """So it holds what its tests need."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a clone: there is nothing to compare with")
    (path,) = FOLDER.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert set(listed.stdout.splitlines()) - held == set()


def test_wheel_has_the_steps_in_c_for_all_versions_of_python_and_only_the_program() -> None:
    (path,) = FOLDER.glob("*.whl")
    assert "-cp311-abi3-" in path.name
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
    assert "vortex/core/_native.abi3.so" in names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"vortex", "vortex_loader"}


@pytest.mark.skipif(sys.platform != "linux", reason="manylinux is for Linux")
def test_wheel_fits_the_containers_of_manylinux() -> None:
    """By its symbols; the wheels of a release are built in such a container."""
    (path,) = FOLDER.glob("*.whl")
    done = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", str(path)], capture_output=True, text=True, check=True
    )
    tag = re.search(r"platform tag:\s+\"manylinux_2_(\d+)_", done.stdout)
    assert tag and int(tag[1]) <= 28, done.stdout


@pytest.mark.parametrize("target", ["linux x86_64", "linux aarch64", "macos x86_64", "macos arm64"])
def test_wheels_of_a_release_are_for_every_python_on_every_system(target: str) -> None:
    """As cibuildwheel reads its settings. Which machines build is in the workflow."""
    system, processor = target.split()
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", system]
    done = subprocess.run(
        [*command, "--archs", processor, "."], cwd=FOLDER / "source", capture_output=True, text=True, check=True
    )
    kind = {"linux": "manylinux", "macos": "macosx"}[system]
    assert done.stdout.split() == [f"cp3{minor}-{kind}_{processor}" for minor in (11, 12, 13, 14)]


def built(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A wheel of the source distribution in tmp_path, made with a compiler that fails."""
    return subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "-w", str(tmp_path), str(FOLDER / "source")],
        env={**os.environ, "CC": "/bin/false", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def without_builds() -> None:
    subprocess.run(["rm", "-rf", str(FOLDER / "source/build")], check=True)


def test_wheel_is_named_for_every_platform_when_the_compiler_fails(tmp_path: Path) -> None:
    without_builds()
    done = built(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no steps in C" in done.stdout + done.stderr
    (path,) = tmp_path.glob("*.whl")
    assert path.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(path) as wheel:
        assert not [name for name in wheel.namelist() if name.endswith(".so")]


def test_no_wheel_is_built_when_the_compiler_fails_and_the_steps_in_c_are_required(tmp_path: Path) -> None:
    without_builds()
    done = built(tmp_path, VORTEX_REQUIRE_NATIVE="1")
    assert done.returncode != 0
    assert "/bin/false" in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.whl"))


def test_build_is_refused_when_python_is_free_threaded(tmp_path: Path) -> None:
    """Any Python that says of itself that it is: this one is made to."""
    pretence = "import sysconfig, runpy; sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1; runpy.run_path('setup.py')"
    done = subprocess.run([sys.executable, "-c", pretence], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Vortex is not built for free-threaded Python")
