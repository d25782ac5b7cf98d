"""Running a `credential_process` within bounds."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vortex.adapters.aws.credential_process import Failed, output_of

SECRET = "hunter2-hunter2-hunter2"


def command(tmp_path: Path, body: str) -> str:
    script = tmp_path / "helper.py"
    script.write_text(f"import json, os, subprocess, sys, time\nsecret = {SECRET!r}\n{body}\n")
    return shlex.join([sys.executable, "-I", "-S", str(script)])


@pytest.mark.parametrize("body", ["time.sleep(60)", "subprocess.Popen(['sleep', '60']).wait()"])
def test_output_of_kills_a_process_that_hangs_and_its_children(tmp_path: Path, body: str) -> None:
    begun = time.monotonic()
    with pytest.raises(Failed, match=r"did not end within 0\.5 s"):
        output_of(command(tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n{body}"), 0.5)
    assert time.monotonic() - begun < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


CREDENTIALS = {"Version": 1, "AccessKeyId": "AK", "SecretAccessKey": SECRET}
AGENT = "agent = subprocess.Popen(['sleep', '30'], start_new_session=True)\nopen({path!r}, 'w').write(str(agent.pid))"
"""It has the output of the process, too, and is in another group."""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """The start of a process that leaves one behind."""
    pidfile = tmp_path / "agent"
    yield AGENT.format(path=str(pidfile))
    os.kill(int(pidfile.read_text()), signal.SIGKILL)


def test_output_of_returns_when_the_process_ends_and_leaves_an_agent_behind(tmp_path: Path, agent: str) -> None:
    begun = time.monotonic()
    printed = output_of(command(tmp_path, f"{agent}\nprint(json.dumps({CREDENTIALS!r}))"), 20)
    assert json.loads(printed) == CREDENTIALS
    assert time.monotonic() - begun < 15


def test_output_of_fails_when_the_process_fails_and_leaves_an_agent_behind(tmp_path: Path, agent: str) -> None:
    begun = time.monotonic()
    with pytest.raises(Failed, match="ended with code 3"):
        output_of(command(tmp_path, f"{agent}\nsys.exit(3)"), 20)
    assert time.monotonic() - begun < 15


def test_output_of_fails_when_the_process_hangs_beside_its_agent(tmp_path: Path, agent: str) -> None:
    begun = time.monotonic()
    with pytest.raises(Failed, match="did not end within 2 s"):
        output_of(command(tmp_path, f"{agent}\ntime.sleep(60)"), 2)
    assert time.monotonic() - begun < 15
