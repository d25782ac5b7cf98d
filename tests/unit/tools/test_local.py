"""What `make up` started, by process id; tests/up runs it as a whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tools import local
from tools.local import Process, Stack


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state of its own."""
    monkeypatch.setattr(local, "FOLDER", tmp_path)
    monkeypatch.setattr(local, "_STATE", tmp_path / "state.json")
    return tmp_path


def sleeping(stack: Stack, name: str) -> Process:
    stack.start(name, [sys.executable, "-c", "import time; time.sleep(60)"], None, dict(os.environ))
    return stack.processes[-1]


def test_down_ends_each_process_and_forgets_it(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    stack = Stack()
    started = [sleeping(stack, "one"), sleeping(stack, "other")]
    assert all(process.runs for process in started)
    assert local.down() == 0
    assert not any(process.runs for process in started)
    assert not (folder / "state.json").exists()
    assert capsys.readouterr().out.splitlines()[-2:] == ["  other: ended", "  one: ended"]
    assert local.down() == 0


def test_up_names_a_process_that_has_died(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    stack = Stack()
    dead, alive = sleeping(stack, "dead"), sleeping(stack, "alive")
    os.kill(dead.pid, signal.SIGKILL)
    os.waitpid(dead.pid, 0)
    assert local.up() == 1
    said = capsys.readouterr()
    assert "is up already" in said.out
    assert said.err == f"dead (process {dead.pid}) has died: see {folder}/dead.log\n"
    assert local.down() == 0 and not alive.runs


def test_down_leaves_a_process_alone_that_got_the_id_of_another() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        Stack([Process("ours", stranger.pid, "Mon Jan 1 00:00:00 2024")]).save()
        assert local.down() == 0
        assert stranger.poll() is None
        stranger.kill()


def test_port_is_another_when_the_wanted_one_is_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        wanted = taken.getsockname()[1]
        assert local._port(wanted) != wanted
    assert local._port(wanted) == wanted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["while a process is started", "while one is awaited"])
def test_up_ends_what_it_started_when_it_is_interrupted(
    number: signal.Signals,
    moment: str,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second Ctrl-C does not keep it from that."""
    started: list[Process] = []
    began = local._began

    def start(stack: Stack) -> None:
        sleeping(stack, "one")
        started.extend(stack.processes)
        if moment == "while a process is started":
            monkeypatch.setattr(local, "_began", interrupted)
            sleeping(stack, "other")
        os.kill(os.getpid(), number)
        raise AssertionError("it went on")

    def interrupted(pid: int) -> str:
        monkeypatch.setattr(local, "_began", began)
        os.kill(os.getpid(), number)
        started.append(Process("other", pid, began(pid)))
        return began(pid)

    ending = local.down

    def down() -> int:
        os.kill(os.getpid(), number)
        return ending()

    monkeypatch.setattr(local, "_start", start)
    monkeypatch.setattr(local, "down", down)
    before = signal.getsignal(number)
    assert local.up() == 128 + number
    assert len(started) == (2 if moment == "while a process is started" else 1)
    assert not any(process.runs for process in started)
    assert not (folder / "state.json").exists()
    assert "Stopping what was started" in capsys.readouterr().err
    assert signal.getsignal(number) is before
