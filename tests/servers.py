"""Emulators for tests and scripts, on 127.0.0.1 and free ports, stopped by process by the program that started them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
TOOLS = REPOSITORY / ".tools"
KINESIS_LOCAL = "kinesis-local@0.6.2"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_START_S = 60.0


MINISTACK = REPOSITORY / "tests" / "ministack.txt"
MOTO = [sys.executable, "-P", str(REPOSITORY / "tests/moto_process.py")]
"""The command line of its server, without host and port."""


class NoNode(Exception):
    """Node or npm is missing."""


class NoMinistack(Exception):
    """Ministack could not be installed."""


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[Any], path: str = "", seconds: float = _START_S) -> None:
    """Wait until the port is open and, with a `path`, until a GET of it is answered with 200.

    A program may open its port before it can answer: Prometheus then replies 503. Raises RuntimeError if the process
    ends, or if the time is over.
    """
    end, last = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with code {process.returncode}")
        try:
            if not path:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
                if reply.status == 200:
                    return
        except (OSError, http.client.HTTPException) as problem:
            last = f": {problem}"
        time.sleep(0.05)  # another program: there is nothing to await
    raise RuntimeError(f"{process.args!r} was not ready on port {port}{path} after {seconds:.0f} s{last}")


@contextlib.contextmanager
def _running(command: list[str], port: int, **options: Any) -> Iterator[str]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **options
    )
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """Moto (Kinesis, S3, DynamoDB) in a process of its own; yields its URL."""
    port = free_port()
    with _running([*MOTO, "-H", "127.0.0.1", "-p", str(port)], port) as url:
        yield url


def install_kinesis_local() -> Path:
    """The folder of kinesis-local, installed below .tools where it is missing. Raises NoNode."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise NoNode("Node and npm are needed for kinesis-local; install Node 18 or newer")
    folder = TOOLS / "node_modules" / "kinesis-local"
    if not (folder / "main.js").exists():
        TOOLS.mkdir(exist_ok=True)
        # A finished install is moved into place, so that concurrent tests do not see a partial one.
        staging = TOOLS / f"staging-{os.getpid()}"
        subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(staging), KINESIS_LOCAL],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with contextlib.suppress(OSError):
            (staging / "node_modules").rename(TOOLS / "node_modules")
        shutil.rmtree(staging, ignore_errors=True)
    return folder


@contextlib.contextmanager
def kinesis_local() -> Iterator[str]:
    """kinesis-local (real resharding) in a process of its own; yields its URL. Raises NoNode."""
    folder = install_kinesis_local()
    plain, tls = free_port(), free_port()
    settings = {
        "KINESIS_MOCK_PLAIN_PORT": str(plain),
        "KINESIS_MOCK_TLS_PORT": str(tls),
        "SHARD_LIMIT": "200",
        "LOG_LEVEL": "ERROR",
        "CREATE_STREAM_DURATION": "10ms",
        "DELETE_STREAM_DURATION": "10ms",
        "SPLIT_SHARD_DURATION": "10ms",
        "MERGE_SHARDS_DURATION": "10ms",
    }
    command = ["node", "--require", str(REPOSITORY / "tests" / "loopback.cjs"), "main.js"]
    with _running(command, plain, cwd=folder, env={**os.environ, **settings}) as url:
        yield url


def install_ministack() -> Path:
    """Ministack's executable, in an environment of its own below .tools: it pins botocore. Raises NoMinistack.

    The folder's name holds a digest of the pinned versions, so that other versions are another folder.
    """
    versions = MINISTACK.read_bytes()
    folder = TOOLS / f"ministack-{hashlib.sha256(versions).hexdigest()[:12]}"
    done = folder / "installed"
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "ministack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # an environment holds its own path: it cannot be moved into place
        if not done.exists():
            venv.create(folder, clear=True, with_pip=True)
            pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
            outcome = subprocess.run([*pip, "-r", str(MINISTACK)], capture_output=True, text=True)
            if outcome.returncode:
                raise NoMinistack(f"ministack cannot be installed: {outcome.stderr.strip()[-500:]}")
            done.touch()
    return folder / "bin" / "ministack"


@contextlib.contextmanager
def ministack() -> Iterator[str]:
    """DynamoDB with atomic conditional writes, in a process of its own; yields its URL. Raises NoMinistack."""
    program, port = install_ministack(), free_port()
    settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "SERVICES": "dynamodb", "LOG_LEVEL": "ERROR"}
    with _running([str(program)], port, env={**os.environ, **settings}) as url:
        yield url
