"""SIGTERM is handled from the first import on, also by process 1, which has no default handlers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.unit.test_cli_imports import imported
from vortex.exits import Exit

_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
_AT_IMPORT = """
import os, signal, sys

class AtImport:
    @staticmethod
    def find_spec(name, *_):
        if name == {moment!r}:
            os.kill(os.getpid(), signal.{number})

sys.meta_path.insert(0, AtImport)
sys.argv = [{program!r}, *{arguments!r}]
from {program}.start import main
main()
print("not stopped")
"""
"""Sends a signal at the moment when a module is first imported."""


def namespaces() -> bool:
    """Whether this machine lets tests make a process 1."""
    try:
        return subprocess.run([*_NAMESPACE, "true"], capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


def ended(
    program: str, arguments: list[str], moment: str, *before: str, number: str = "SIGTERM"
) -> subprocess.CompletedProcess[str]:
    text = _AT_IMPORT.format(program=program, arguments=arguments, moment=moment, number=number)
    environment = {**os.environ, "VORTEX_CONFIG": ""}
    return subprocess.run(
        [*before, sys.executable, "-c", text], capture_output=True, text=True, timeout=60, env=environment
    )


RUNS = [
    ("vortex", ["run"], "vortex.cli"),
    ("vortex", ["run"], "vortex.config.loading"),
    ("vortex", ["run", "--processes", "2"], "vortex.options"),
    ("vortex_loader", ["run"], "vortex_loader.cli"),
]


@pytest.mark.parametrize("process_1", [False, True])
@pytest.mark.parametrize(("program", "arguments", "moment"), RUNS)
def test_worker_ends_with_0_when_sigterm_comes_while_modules_load(
    program: str, arguments: list[str], moment: str, process_1: bool
) -> None:
    if process_1 and not namespaces():
        pytest.skip("needs unshare --pid, which is not permitted here")
    done = ended(program, arguments, moment, *(_NAMESPACE if process_1 else ()))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_drain_ends_as_unfinished_when_a_signal_comes_while_modules_load(number: str) -> None:
    """It has published nothing, so a job must not count as done."""
    done = ended("vortex", ["run", "--drain"], "vortex.options", number=number)
    assert (done.returncode, done.stdout, done.stderr) == (Exit.UNFINISHED, "", "")


def test_worker_ends_with_0_when_sigint_comes_while_modules_load() -> None:
    done = ended("vortex", ["run"], "vortex.config.loading", number="SIGINT")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("program", ["vortex", "vortex_loader"])
def test_other_commands_end_as_killed_by_sigterm(program: str) -> None:
    done = ended(program, ["status"], f"{program}.cli")
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "")


@pytest.mark.parametrize("program", ["vortex", "vortex_loader"])
def test_start_imports_almost_nothing_before_it_handles_signals(program: str) -> None:
    found = imported(f"import {program}.start") - imported("import os, re, signal")
    assert found == {program, f"{program}.start"}
