"""The supervisor of `--processes`: metrics of killed workers, restarts, and the folder of its sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.otlp_collector import collector, metrics_of, resource_of
from vortex import metrics
from vortex.adapters.metrics import PrometheusMeter
from vortex.config.loading import ConfigError, load
from vortex.config.places import MOST_SOCKET_BYTES
from vortex.exits import Exit
from vortex.runtime import supervisor as supervising
from vortex.runtime.supervisor import Supervisor, socket_folder, worker_command

OWN = PrometheusMeter("s").page().decode()


def values(page: bytes) -> dict[str, float]:
    """Every sample by its name and labels."""
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items()) if name != "stream"): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


CONFIG = """
[source]
stream = "s"
[event]
customer = "c"
type = "t"
id = "i"
time = "x"
[store]
url = "file:///x"
[http]
port = 0
"""
WORKER = """
import asyncio, os, sys
from vortex.adapters.http.server import serve
from vortex import metrics
from vortex.adapters.metrics import PrometheusMeter

async def main():
    meter = PrometheusMeter("s")
    meter.add(metrics.RECORDS, 10)
    async def page(): return meter.page()
    async def ready(): return [("store", True, "")]
    async with serve(os.environ["VORTEX_HTTP__HOST"], 0, page, ready):
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_supervisor_keeps_the_counters_of_a_killed_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the sockets of real processes; the replacing worker starts at zero."""
    config = tmp_path / "v.toml"
    config.write_text(CONFIG)
    monkeypatch.setattr(supervising, "_LISTEN_S", 0.1)
    with socket_folder() as folder:
        running = Supervisor(load(config, {}), [sys.executable, "-c", WORKER], 2, Path(folder))
        task = asyncio.ensure_future(running.run())

        async def counted(number: float) -> None:
            while values(await running.page())["vortex_records_total"] != number:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # other processes, in real time

        await asyncio.wait_for(counted(20), 30)
        victim = running._children[0].process
        assert victim is not None
        victim.kill()
        seen = set()
        while running._children[0].starts < 2:
            seen.add(values(await running.page())["vortex_records_total"])
            await asyncio.sleep(0.05)
        assert seen == {20}
        await asyncio.wait_for(counted(30), 30)
        os.kill(running._children[1].process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
        monkeypatch.setattr("vortex.adapters.http.server._ASK_S", 0.3)
        assert values(await running.page())["vortex_records_total"] == 30
        os.kill(running._children[1].process.pid, signal.SIGCONT)  # type: ignore[union-attr]
        running.stop(signal.SIGKILL)
        await asyncio.wait_for(task, 30)


async def test_supervisor_pushes_its_own_metrics_when_otlp_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restarts, and whether a worker is missing: nobody else knows them. Workers push what they count themselves."""
    pytest.importorskip("opentelemetry.sdk.metrics", reason="no extra otlp")
    config = tmp_path / "v.toml"
    config.write_text(CONFIG)
    monkeypatch.setattr(supervising, "_LISTEN_S", 0.1)
    monkeypatch.setattr(supervising, "_LONGEST_WAIT", 0.1)
    with socket_folder() as folder, collector() as (address, requests):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        running = Supervisor(load(config, {}), [sys.executable, "-c", WORKER], 1, Path(folder))
        task = asyncio.ensure_future(running.run())

        async def started(times: int) -> None:
            while not running._children:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            child = running._children[0]
            while child.starts < times or child.process is None or child.process.returncode is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

        await asyncio.wait_for(started(1), 30)
        victim = running._children[0].process
        assert victim is not None
        victim.kill()
        await asyncio.wait_for(started(2), 30)
        running.stop(signal.SIGKILL)
        await asyncio.wait_for(task, 30)
    assert resource_of(requests[-1])["service.instance.id"].endswith(f":{os.getpid()}")
    found = metrics_of(requests[-1])
    assert set(found) == {"vortex_process_restarts_total", "vortex_trouble"}
    (restarts,) = found["vortex_process_restarts_total"].sum.data_points
    assert (restarts.as_int or restarts.as_double, restarts.attributes[0].value.string_value) == (1, "s")


async def test_supervisor_restarts_a_worker_when_it_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stopped process neither ends nor answers; its shards would lag until somebody looks."""
    config = tmp_path / "v.toml"
    config.write_text(CONFIG)
    monkeypatch.setattr(supervising, "_LISTEN_S", 0.1)
    monkeypatch.setattr(supervising, "_SILENT", 3)
    with socket_folder() as folder:
        running = Supervisor(load(config, {}), [sys.executable, "-c", WORKER], 1, Path(folder))
        task = asyncio.ensure_future(running.run())

        async def counted(number: float) -> None:
            while values(await running.page())["vortex_records_total"] != number:
                running._children[0].unanswered = 0  # while it starts, on a busy machine
                await asyncio.sleep(0.05)

        await asyncio.wait_for(counted(10), 30)
        monkeypatch.setattr("vortex.adapters.http.server._ASK_S", 0.3)
        hanging = running._children[0].process
        assert hanging is not None
        hanging.send_signal(signal.SIGSTOP)
        assert await asyncio.wait_for(hanging.wait(), 30) == -signal.SIGKILL
        assert "worker 0 does not answer (3 requests in a row); killing it" in caplog.text
        await asyncio.wait_for(counted(20), 30)
        running.stop(signal.SIGKILL)
        await asyncio.wait_for(task, 30)


async def test_supervisor_asks_workers_one_after_another_so_that_counters_never_fall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that was made first and comes last would lower the sum, and Prometheus would take that for a restart."""
    config = tmp_path / "v.toml"
    config.write_text(CONFIG)
    running = Supervisor(load(config, {}), [], 1, tmp_path)
    running._children = [supervising._Child(0, address="a")]
    running._lives.begun("a")
    meter, pauses = PrometheusMeter("s"), [0.05, 0.0, 0.02, 0.0]

    async def ask(address: str, path: str) -> str:
        if path != "/metrics":
            return "ok store: \n"
        meter.add(metrics.RECORDS)
        made = meter.page().decode()
        await asyncio.sleep(pauses.pop(0))
        return made

    monkeypatch.setattr(supervising, "ask", ask)
    pages = [asyncio.ensure_future(running.page()) for _ in range(4)]
    seen = [values(page)["vortex_records_total"] for page in [await one for one in asyncio.as_completed(pages)]]
    assert seen == [1, 2, 3, 4]
    assert values(await pages[0])["vortex_ready"] == 1


async def test_supervisor_tries_again_when_a_worker_cannot_be_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The other workers are not affected."""
    config = tmp_path / "v.toml"
    config.write_text(CONFIG)
    running = Supervisor(load(config, {}), ["/nowhere/python"], 1, tmp_path)
    task = asyncio.ensure_future(running.run())
    while 'vortex_process_restarts_total{stream="s"} 1.0' not in running.meter.page().decode():  # noqa: ASYNC110
        await asyncio.sleep(0.02)  # in real time, until the system has refused
    running.stop(signal.SIGTERM)
    assert await asyncio.wait_for(task, 10) == Exit.OK
    assert "worker 0 cannot be started: " in caplog.text
    assert "Traceback" not in caplog.text


async def test_supervisor_kills_a_worker_that_does_not_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs; the supervisor would wait for it forever."""
    monkeypatch.setattr(supervising, "_KILL_S", 0.2)
    config = tmp_path / "v.toml"
    config.write_text(CONFIG + '[shutdown]\ngrace = "0s"\n')
    up = str(tmp_path / "up")
    ignores = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = f"import pathlib, signal; {ignores}; pathlib.Path({up!r}).touch(); signal.pause()"
    running = Supervisor(load(config, {}), [sys.executable, "-c", deaf], 1, tmp_path)
    task = asyncio.ensure_future(running.run())
    while not (tmp_path / "up").exists():  # noqa: ASYNC110
        await asyncio.sleep(0.02)  # in real time, until the process ignores the signal
    running.stop(signal.SIGTERM)
    await asyncio.wait_for(task, 10)
    assert "worker 0 does not stop; killing it" in caplog.text


_ENDING = """
import os, pathlib, signal, sys, time

number, ready = os.path.basename(os.environ["VORTEX_HTTP__HOST"])[0], pathlib.Path(sys.argv[1])
if number == "0":
    while not ready.exists():
        time.sleep(0.05)
    sys.exit(5)

def stop(*arguments):
    signal.signal(signal.SIGTERM, lambda *arguments: os._exit(130))
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(2)
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
ready.touch()
time.sleep(60)
"""
"""Worker 0 needs an operator. The other one takes two seconds to stop, and ends at once at a second signal."""


async def test_first_signal_leaves_workers_their_grace_period_when_one_has_ended_with_5(tmp_path: Path) -> None:
    """They stop already, and the exit code still says that an operator is needed."""
    config = tmp_path / "v.toml"
    config.write_text(CONFIG)
    ready, asked = tmp_path / "ready", tmp_path / "asked"
    with socket_folder() as folder:
        command = [sys.executable, "-c", _ENDING, str(ready), str(asked)]
        running = Supervisor(load(config, {}), command, 2, Path(folder))
        task = asyncio.ensure_future(running.run())
        async with asyncio.timeout(30):
            while not asked.exists():  # noqa: ASYNC110  # another process makes it
                await asyncio.sleep(0.05)
            running.signalled(signal.SIGTERM)
            assert await task is Exit.LOST_STATE


def test_socket_folder_has_a_short_path_when_tmpdir_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a long TMPDIR no socket can be created, and the workers ended with a misleading error."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with socket_folder() as folder:
        assert len(f"{folder}/0000-0000000000.sock") <= MOST_SOCKET_BYTES
        assert Path(folder).is_dir()
    assert not Path(folder).exists()
    assert list(deep.iterdir()) == []


def test_socket_folder_is_in_tmpdir_when_its_path_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="v", dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        with socket_folder() as folder:
            assert Path(folder).parent == Path(short)


def test_socket_folder_raises_config_error_that_names_tmpdir_when_it_cannot_be_created(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied", "/long")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(ConfigError, match=r"^TMPDIR: /long: Permission denied; set it to a short, writable path"):
        socket_folder()


@pytest.mark.parametrize(
    ("limit", "count", "given"), [("auto", 3, ""), ("1GiB", 4, str(2**28)), ("3MiB", 8, str(2**20)), (None, 2, "")]
)
async def test_workers_share_a_limit_in_bytes_and_find_their_part_of_auto_themselves(
    tmp_path: Path, limit: str | None, count: int, given: str
) -> None:
    """`--supervised` says how many they are."""
    config = tmp_path / "v.toml"
    config.write_text(CONFIG + (f'[memory]\nlimit = "{limit}"\n' if limit else ""))
    write = f"import os; open({str(tmp_path / 'limit')!r}, 'w').write(os.environ.get('VORTEX_MEMORY__LIMIT', ''))"
    with socket_folder() as folder:
        running = Supervisor(load(config, {}), [sys.executable, "-c", write], count, Path(folder))
        await running._live(supervising._Child(0))
    assert (tmp_path / "limit").read_text() == given
    assert worker_command(None, count)[-2:] == ["--supervised", str(count)]


def test_worker_command_finds_the_package_when_the_folder_has_a_namesake(tmp_path: Path) -> None:
    (tmp_path / "vortex").mkdir()
    (tmp_path / "vortex/__init__.py").write_text("raise SystemExit('the wrong package')")
    command = worker_command(None, 2)
    program = command[: command.index("vortex") + 1]
    done = subprocess.run([*program, "version"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert worker_command(Path("v.toml"), 2)[-2:] == ["-c", "v.toml"]
