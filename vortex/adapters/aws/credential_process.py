"""Runs a `credential_process` with limits. A separate program, which imports nothing of the package.

botocore waits for such a command without a time-out, and puts its output into error messages. This program limits the
time, checks the output before passing it on, and reports errors without quoting the output.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time

_MOST_BYTES = 2**20
_LOOK_S = 0.05


class Failed(Exception):
    """The command failed; the reason is in our own words and quotes no output."""


def output_of(command: str, patience_s: float) -> bytes:
    """The output of the command, checked to be credentials. Raises Failed."""
    try:
        process = subprocess.Popen(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except (OSError, ValueError, IndexError) as problem:
        raise Failed(f"the command cannot be run: {getattr(problem, 'strerror', None) or 'not a command'}") from None
    try:
        printed = _printed(process, patience_s)
        code = process.wait()
    except Failed:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if code:
        raise Failed(f"the command ended with code {code}")
    _check(printed)
    return printed


def _printed(process: subprocess.Popen[bytes], patience_s: float) -> bytes:
    """All that the command printed until it ended. Raises Failed.

    Not until its output is closed: an agent that it leaves behind has that open as well, for days.
    """
    assert process.stdout is not None
    output, printed = process.stdout.fileno(), b""
    end, is_open = time.monotonic() + patience_s, True
    while True:
        ended = process.poll() is not None  # asked first: what it printed is there then
        ready = is_open and select.select([output], [], [], 0.0 if ended else _LOOK_S)[0]
        if ready:
            chunk = os.read(output, _MOST_BYTES)
            printed += chunk
            is_open = bool(chunk)
            if len(printed) >= _MOST_BYTES:
                raise Failed("the command prints too much")
        elif ended:
            return printed
        elif not is_open:
            time.sleep(_LOOK_S)
        if not ended and time.monotonic() > end:
            raise Failed(f"the command did not end within {patience_s:g} s")


def _check(printed: bytes) -> None:
    try:
        reply = json.loads(printed)
    except (ValueError, RecursionError):
        raise Failed("the command printed no JSON") from None
    if not isinstance(reply, dict):
        raise Failed("the command printed no JSON object")
    if reply.get("Version") != 1:
        raise Failed("the command printed a Version other than 1")
    for name in ("AccessKeyId", "SecretAccessKey"):
        if not isinstance(reply.get(name), str):
            raise Failed(f"the command printed no {name}")


if __name__ == "__main__":
    try:
        sys.stdout.buffer.write(output_of(sys.argv[1], float(sys.argv[2])))
    except Failed as problem:
        sys.exit(str(problem))
