"""Running a `credential_process` within bounds."""

from __future__ import annotations

import os
import shlex
import sys
import time
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
