"""Runs a `credential_process` within bounds; a program of its own, which imports nothing of the package.

botocore waits for such a command for ever, and makes an error message of whatever it printed. Here it has a time, its
output is looked at before it goes on, and what goes wrong is said without quoting a word of it.
https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-sourcing-external.html
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading

_MOST_BYTES = 2**20


class Failed(Exception):
    """What went wrong, in words of our own."""


def output_of(command: str, patience_s: float) -> bytes:
    """What the command prints, if those are credentials. Raises Failed."""
    try:
        process = subprocess.Popen(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except (OSError, ValueError, IndexError) as problem:
        raise Failed(f"the command cannot be run: {getattr(problem, 'strerror', None) or 'it is no command'}") from None
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(patience_s, end)
    timer.start()
    try:
        assert process.stdout is not None
        printed = process.stdout.read(_MOST_BYTES)
        if len(printed) == _MOST_BYTES:
            end()
            raise Failed("the command prints too much")
        code = process.wait()
    finally:
        timer.cancel()
    if late.is_set():
        raise Failed(f"the command did not end within {patience_s:g} s")
    if code:
        raise Failed(f"the command ended with code {code}")
    _check(printed)
    return printed


def _check(printed: bytes) -> None:
    try:
        told = json.loads(printed)
    except (ValueError, RecursionError):
        raise Failed("the command printed no JSON") from None
    if not isinstance(told, dict):
        raise Failed("the command printed no JSON object")
    if told.get("Version") != 1:
        raise Failed("the command printed another Version than 1")
    for name in ("AccessKeyId", "SecretAccessKey"):
        if not isinstance(told.get(name), str):
            raise Failed(f"the command printed no {name}")


if __name__ == "__main__":
    try:
        sys.stdout.buffer.write(output_of(sys.argv[1], float(sys.argv[2])))
    except Failed as problem:
        sys.exit(str(problem))
