"""The processes of deploy/compose without a container engine: `python -m tools.local up`, `... down`, `... status`.

The emulators are those of the tests. State, logs and process ids lie in .tools/up; `down` ends each process by its id.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tests.loader.servers import prepared, wait_until_accepting
from tests.servers import CREDENTIALS, MOTO, free_port, install_ministack, wait_for

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "deploy/compose"
FOLDER = ROOT / ".tools/up"
_STATE = FOLDER / "state.json"
_STOP_S = 60
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NO_GRAFANA = (
    "Grafana is not started: neither Debian nor PyPI has it. Import deploy/grafana-dashboard.json into one of yours,\n"
    "with the Prometheus above as its data source; or use deploy/compose/compose.yaml."
)


@dataclass(frozen=True)
class Process:
    """A process that was started, and when: another one may get its id later."""

    name: str
    pid: int
    began: str
    stop: int = signal.SIGTERM

    @property
    def runs(self) -> bool:
        """Whether it is there still."""
        return _began(self.pid) == self.began

    @property
    def log(self) -> Path:
        """What it says."""
        return FOLDER / f"{self.name}.log"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or another signal that ends the program; the argument is its number."""


class Signals:
    """Raises Interrupted at a signal; while it is `held`, afterwards."""

    def __init__(self) -> None:
        self._held = False
        self._came = 0

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Within this context signals raise Interrupted; a second one changes nothing."""
        before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self._came = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Within this context none is raised, but when it ends."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._came:
            raise Interrupted(self._came)

    def _take(self, number: int, frame: FrameType | None) -> None:
        first, self._came = not self._came, self._came or number
        if first and not self._held:
            raise Interrupted(number)


_signals = Signals()


@dataclass
class Stack:
    """What is up."""

    processes: list[Process] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    def save(self) -> None:
        """Written after each process, so that `down` finds those of an `up` that was interrupted."""
        _STATE.write_text(json.dumps(asdict(self), indent=1))

    def start(
        self, name: str, command: list[str], port: int | None, env: dict[str, str], **more: Any
    ) -> subprocess.Popen[bytes]:
        """Start a process of a session of its own, and wait until its port answers. Raises RuntimeError.

        `ready`: a path that the process answers with 200 once it is ready, which may be later.
        """
        stop, ready = more.pop("stop", signal.SIGTERM), more.pop("ready", "")
        with (FOLDER / f"{name}.log").open("wb") as log, _signals.held():  # until `down` finds the process
            started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=env, **more
            )
            self.processes.append(Process(name, started.pid, _began(started.pid), stop))
            self.save()
        print(f"  {name}: process {started.pid}{f', port {port}' if port else ''}", flush=True)
        if port:
            wait_for(port, started, ready)
        return started


def _began(pid: int) -> str:
    """When the process was started, as the system tells it; empty if it has ended."""
    told = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True).stdout.split()
    return "" if not told or told[0].startswith("Z") else " ".join(told[1:])


def _port(wanted: int) -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
        return wanted


def _known() -> Stack | None:
    if not _STATE.exists():
        return None
    kept = json.loads(_STATE.read_text())
    return Stack([Process(**one) for one in kept["processes"]], kept["addresses"], kept["folders"])


def up() -> int:
    """Start everything, once. 1 if something did not start, or has died since."""
    if _known() is not None:
        print("Vortex is up already.")
        return status()
    FOLDER.mkdir(parents=True, exist_ok=True)
    stack = Stack()
    with _signals.handled():
        try:
            _start(stack)
            stack.save()
        except Interrupted as signalled:
            return _give_up(stack, "Interrupted.", 128 + int(signalled.args[0]))
        except (RuntimeError, OSError) as problem:
            last = stack.processes[-1].log.read_text("utf-8", "replace")[-2000:] if stack.processes else ""
            return _give_up(stack, f"{problem}\n{last}", 1)
    return status()


def _give_up(stack: Stack, why: str, code: int) -> int:
    print(f"{why}\nStopping what was started.", file=sys.stderr, flush=True)
    stack.save()
    down()
    return code


def _start(stack: Stack) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VORTEX_"))}
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    env = {**kept, **CREDENTIALS, **nothing, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    python, host = sys.executable, "127.0.0.1"
    aws, leases = _port(5000), _port(8000)
    url = f"http://{host}:{aws}"
    stack.start("aws", [*MOTO, "-H", host, "-p", str(aws)], aws, env)
    ministack = {"BIND_HOST": host, "GATEWAY_PORT": str(leases), "SERVICES": "dynamodb", "LOG_LEVEL": "ERROR"}
    stack.start("leases", [str(install_ministack())], leases, env | ministack)

    ready = FOLDER / "ready"
    ready.unlink(missing_ok=True)
    produce = [python, "-m", "tools.produce", "--ready", str(ready)]
    stack.start("producer", produce, None, env | {"AWS_ENDPOINT_URL": url}, cwd=ROOT)
    while not ready.exists():
        if not stack.processes[-1].runs:
            raise RuntimeError("the producer ended")
        time.sleep(0.1)  # another process: there is nothing to await

    lateness, _, value = ready.read_text().strip().removeprefix("export ").partition("=")
    settings = {
        lateness: value,
        "VORTEX_SOURCE__ENDPOINT_URL": url,
        "VORTEX_STORE__ENDPOINT_URL": url,
        "VORTEX_COORDINATION__ENDPOINT_URL": f"http://{host}:{leases}",
    }
    workers = [_port(9400), _port(9410)]
    for number, port in enumerate(workers, 1):
        command = [python, "-m", "vortex", "run", "-c", str(COMPOSE / "vortex.toml")]
        stack.start(f"worker-{number}", command, port, env | settings | {"VORTEX_HTTP__PORT": str(port)}, cwd=ROOT)
        stack.addresses[f"worker {number}"] = f"http://{host}:{port}/"

    postgres = _port(5432)
    database = tempfile.mkdtemp(prefix="vortex-pg-")  # in a folder that another user can enter
    stack.folders.append(database)
    command, process = prepared(Path(database), postgres)
    stack.addresses["warehouse"] = f"postgresql://postgres@{host}:{postgres}/postgres"
    server = stack.start("warehouse", command, postgres, env, stop=signal.SIGINT, **process)
    wait_until_accepting(server, stack.addresses["warehouse"])
    loader = _port(9401)
    loading = {
        "VORTEX_LOADER_STORE": "s3://vortex/clickstream",
        "VORTEX_LOADER_ENDPOINT_URL": url,
        "VORTEX_LOADER_CATALOG": str(COMPOSE / "catalog.toml"),
        "VORTEX_LOADER_WAREHOUSE": stack.addresses["warehouse"],
        "VORTEX_LOADER_METRICS_PORT": str(loader),
    }
    command = [python, "-m", "vortex_loader", "--log-level", "info", "run", "--every", "5"]
    stack.start("loader", command, loader, env | loading, cwd=ROOT)
    stack.addresses |= {"loader": f"http://{host}:{loader}/metrics", "Kinesis and S3": url}
    told = CREDENTIALS | nothing | settings | loading | {"VORTEX_CONFIG": str(COMPOSE / "vortex.toml")}
    del told["VORTEX_LOADER_METRICS_PORT"]
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in told.items()]
    (FOLDER / "variables.sh").write_text("".join(lines))
    _start_prometheus(stack, env, [*workers, loader])


def _start_prometheus(stack: Stack, env: dict[str, str], targets: list[int]) -> None:
    program = shutil.which("prometheus")
    if program is None:
        stack.addresses["Prometheus"] = "not started: Debian's package is prometheus"
        return
    text = (COMPOSE / "prometheus.yml").read_text("utf-8")
    text = text.replace("/etc/prometheus/", f"{ROOT}/deploy/")
    for name, port in zip(("worker-1:9400", "worker-2:9400", "loader:9401"), targets, strict=True):
        text = text.replace(name, f"127.0.0.1:{port}")
    config, port = FOLDER / "prometheus.yml", _port(9090)
    config.write_text(text)
    places = [f"--config.file={config}", f"--storage.tsdb.path={FOLDER}/tsdb"]
    command = [program, *places, f"--web.listen-address=127.0.0.1:{port}"]
    stack.start("prometheus", command, port, env, ready="/-/ready")
    stack.addresses["Prometheus"] = f"http://127.0.0.1:{port}/"


def status() -> int:
    """Say what is up, and what has died; 1 in that case."""
    stack = _known()
    if stack is None:
        print("Vortex is not up; `make up` starts it.")
        return 1
    died = [process for process in stack.processes if not process.runs]
    for process in died:
        print(f"{process.name} (process {process.pid}) has died: see {process.log}", file=sys.stderr)
    for name, address in stack.addresses.items():
        print(f"  {name:15} {address}")
    print(_NO_GRAFANA)
    programs = Path(sys.executable).parent
    print(
        "The first hour is loaded about two minutes after the start, then one each hour. In another shell, look at it:"
    )
    print(f"  . {FOLDER}/variables.sh")
    print(f"  {programs}/vortex status")
    print(f'  {programs}/vortex-loader query "SELECT hour, event_type, row_count FROM acme._loads"')
    print(f"Logs are in {FOLDER}; `make down` ends it.")
    return 1 if died else 0


def down() -> int:
    """End each process that was started, the last one first."""
    stack = _known()
    if stack is None:
        print("Vortex is not up.")
        return 0
    for process in reversed(stack.processes):
        if not process.runs:
            print(f"  {process.name}: had ended already", flush=True)
            continue
        os.kill(process.pid, process.stop)
        end = time.monotonic() + _STOP_S
        while process.runs and time.monotonic() < end:
            time.sleep(0.1)  # another process: there is nothing to await
        if process.runs:
            os.kill(process.pid, signal.SIGKILL)
        print(f"  {process.name}: ended", flush=True)
    for folder in (*stack.folders, str(FOLDER / "tsdb")):
        shutil.rmtree(folder, ignore_errors=True)
    _STATE.unlink()
    return 0


def main(arguments: list[str]) -> int:
    """The program."""
    commands = {"up": up, "down": down, "status": status}
    if len(arguments) != 1 or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    return commands[arguments[0]]()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
