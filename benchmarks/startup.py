"""What starting takes, in CPU seconds: `python -m benchmarks.startup`.

`--help`; the imports of a worker alone; and a worker until `/readyz` says that it is ready, on an empty stream and an
empty store. Of several rounds in turn the least counts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import network
from benchmarks.arguments import positive
from benchmarks.network import Network
from benchmarks.pages import STREAM
from benchmarks.processes import ROOT, Failed, Server, environment, measured, server, stay_on_one
from benchmarks.run import CONFIG
from benchmarks.workload import recent_start
from vortex.adapters.http.server import UNIX, ask

_LIMIT_S = 60.0
_HELP = "from vortex.cli import main; main(['--help'])"
_IMPORTS = "import gc; gc.disable(); import vortex.cli, vortex.config.loading, vortex.runtime.service"
_RUN = "from vortex.cli import main; main(['run', '-c', {config!r}])"


def ready(folder: Path, line: Network, kinesis: Server, store: Server, bucket: str) -> float:
    """CPU seconds of a worker until it is ready. Raises Failed."""
    socket, config = folder / f"{bucket}.sock", folder / f"{bucket}.toml"
    text = CONFIG.format(stream=STREAM, kinesis=kinesis.url, store=store.url, bucket=bucket)
    config.write_text(text.replace("port = 0", f'host = "{UNIX}{socket}"'))
    command = [sys.executable, "-c", _RUN.format(config=str(config))]
    with (folder / f"{bucket}.log").open("wb") as sink:
        process = subprocess.Popen(command, env=environment(line.environment), cwd=ROOT, stdout=sink, stderr=sink)
        try:
            asyncio.run(_wait(f"{UNIX}{socket}", process))
            return _cpu_s(process.pid)
        finally:
            process.terminate()
            process.wait(_LIMIT_S)


async def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if (await ask(address, "/readyz")).startswith("ok"):
                return
        except (OSError, TimeoutError):
            pass
        await asyncio.sleep(0.02)
    raise Failed("the worker did not become ready")


def _cpu_s(pid: int) -> float:
    """User and system time of a running process, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=7)
    network.add_options(parser)
    chosen = parser.parse_args()
    stay_on_one()
    found: dict[str, list[float]] = defaultdict(list)
    empty = ["--workload=empty", "--events=0", f"--start-ms={recent_start(int(time.time() * 1000))}"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-")))
        line = network.chosen(chosen, folder)
        store = stack.enter_context(line.to(stack.enter_context(server("benchmarks.store_server"))))
        kinesis = stack.enter_context(line.to(stack.enter_context(server("benchmarks.replay_server", *empty))))

        def program(text: str) -> float:
            return measured([sys.executable, "-c", text], folder / "program.log").cpu_s

        for number in range(chosen.rounds + 1):
            figures: dict[str, Callable[[], float]] = {
                "--help": lambda: program(_HELP),
                "imports of a worker": lambda: program(_IMPORTS),
                "a worker that is ready": lambda: ready(folder, line, kinesis, store, f"run-{number}"),  # noqa: B023
            }
            for what, figure in figures.items():
                spent = figure()
                if number:  # the first round writes the bytecode
                    found[what].append(spent)
    for what, spent_s in found.items():
        print(f"{what:24} {min(spent_s):5.2f} s of CPU")


if __name__ == "__main__":
    main()
