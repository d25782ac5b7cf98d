"""Messages of the commands for wrong input and wrong state: one line that names it, and its exit code."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from vortex.cli import main
from vortex.commands.event_files import FileError
from vortex.commands.existing_state import NoState, exit_code
from vortex.config.loading import ConfigError
from vortex.core.log.rules import BrokenLog
from vortex.core.log.trailer import CorruptSegment, OtherVersion
from vortex.exits import Exit
from vortex.lookup.rejections import BrokenRejection
from vortex.ports import Denied, NotFound, Unavailable
from vortex.runtime.first_start import ForeignState

LEAST = '[source]\nstream="s"\nendpoint_url="http://127.0.0.1:9"\n[event]\ncustomer="c"\ntype="t"\nid="i"\ntime="x"\n'


def program(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The program as a process, as a user starts it."""
    command = [sys.executable, "-m", "vortex", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with settings and other things."""
    (tmp_path / "v.toml").write_text(LEAST + '[store]\nurl="file:///nowhere/x"\n[http]\nport=0\n')
    (tmp_path / "bom.toml").write_text("[sorce]\n", "utf-8-sig")
    (tmp_path / "twice.toml").write_text("[source]\n[source]\n")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    (tmp_path / "file").write_text("x")
    return tmp_path


NOTHING = "file:///nowhere/x holds no state of stream s; start it with `vortex run`, or check store.url"
TABLE: list[tuple[str, Exit, str]] = [
    ("run -c none.toml", Exit.CONFIG, "none.toml: no such file; create one with `vortex init none.toml`"),
    ("run -c full", Exit.CONFIG, "full: cannot be read: Is a directory"),
    ("run -c latin.toml", Exit.CONFIG, "latin.toml: is not UTF-8: "),
    ("run -c twice.toml", Exit.CONFIG, "twice.toml: is not valid TOML: "),
    ("run -c bom.toml", Exit.CONFIG, "bom.toml: sorce: unknown section; did you mean 'source'?"),
    ("run", Exit.CONFIG, "environment: missing required section [source]"),
    ("run -c v.toml --processes 2", Exit.CONFIG, '--processes: several workers need coordination.mode = "dynamodb"'),
    ("run -c v.toml --processes none", Exit.USAGE, 'write a number from 1 to 256, or "auto"'),
    ("run -c v.toml --processes 257", Exit.USAGE, 'write a number from 1 to 256, or "auto"'),
    ("run -c v.toml --processes -1", Exit.USAGE, 'write a number from 1 to 256, or "auto"'),
    ("run -c v.toml --processes 2 --drain", Exit.USAGE, "leave out --processes"),
    ("status -c v.toml", Exit.UNREACHABLE, 'Could not connect to the endpoint URL: "http://127.0.0.1:9/"'),
    ("close -c v.toml --before 2026-01-01", Exit.UNREACHABLE, "Could not connect to the endpoint URL"),
    ("close -c v.toml --before yesterday", Exit.USAGE, "--before: invalid time 'yesterday'; write for example"),
    ("close -c v.toml --before 0001-01-01T00:00:00+14:00", Exit.USAGE, "is before 1970"),
    ("explain -c v.toml c i --around noon", Exit.USAGE, "--around: invalid time 'noon'; write for example"),
    ("explain -c v.toml c i", Exit.FAILED, NOTHING),
    ("rejects summary -c v.toml", Exit.FAILED, NOTHING),
    ("rejects summary -c v.toml --since 2020", Exit.USAGE, "--since: invalid time '2020'; write for example"),
    ("rejects list -c v.toml --until noon", Exit.USAGE, "--until: invalid time 'noon'; write for example"),
    ("rejects replay -c v.toml --since 2026-02-01 --until 2026-01-01", Exit.USAGE, "--since must be before --until"),
    ("verify -c v.toml --since 2026-02-01 --until 2026-01-01", Exit.USAGE, "--since must be before --until"),
    ("close -c v.toml", Exit.USAGE, "Missing option '--before'"),
    ("verify -c v.toml", Exit.FAILED, NOTHING),
    ("health -c v.toml", Exit.CONFIG, "http.port is 0"),
    ("explain -c v.toml \udcff x", Exit.USAGE, "CUSTOMER and ID must be UTF-8"),
    ('explain -c v.toml c ""', Exit.USAGE, "CUSTOMER or ID is empty; give the event on standard input instead"),
    ("init full", Exit.USAGE, "is a directory"),
    ("init none/x.toml", Exit.USAGE, "none/x.toml: cannot be written: No such file or directory"),
    ("init v.toml", Exit.USAGE, "v.toml: already exists; nothing was written"),
    ("demo --events 0", Exit.USAGE, "0 is not in the range 1<=x<=10000000"),
    ("demo --events many", Exit.USAGE, "'many' is not a valid integer"),
    ("demo --keep full", Exit.FAILED, "full: is not empty; give an empty or a new directory"),
    ("demo --keep file", Exit.USAGE, "Directory 'file' is a file"),
    ("demo --keep file/x", Exit.FAILED, "file/x: cannot be written to: Not a directory"),
    ("fly", Exit.USAGE, "No such command 'fly'"),
]


@pytest.mark.parametrize(("line", "code", "message"), TABLE, ids=[ascii(row[0]) for row in TABLE])
def test_commands_print_a_message_and_exit_with_its_code_when_input_is_wrong(
    line: str, code: Exit, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a traceback."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    usual = signal.getsignal(signal.SIGTERM)
    done = CliRunner().invoke(main, shlex.split(line))
    signal.signal(signal.SIGTERM, usual)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == code
    assert message in done.output


def test_run_prints_one_line_that_names_the_settings_when_the_address_is_in_use(folder: Path) -> None:
    """From a real process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = program(folder, "run", "-c", "v.toml", VORTEX_HTTP__PORT=port)
    assert done.returncode == Exit.CONFIG
    assert done.stderr.splitlines() == [
        f"http.host, http.port (or VORTEX_HTTP__HOST, VORTEX_HTTP__PORT): 127.0.0.1:{port}: is in use by "
        "another program or another worker"
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_verify_escapes_control_characters_of_object_keys(folder: Path, as_json: bool) -> None:
    """Keys can have line breaks, terminal escapes, and bytes that are not text."""
    unusual = folder / "unusual"
    unusual.mkdir()
    (unusual / os.fsdecode(b"\xff\nevery invariant holds\x1b[2J")).write_text("x")
    settings = {"VORTEX_STORE__URL": unusual.as_uri()}
    done = program(folder, "verify", "-c", "v.toml", *(["--json"] if as_json else []), **settings)
    assert done.returncode == Exit.FAILED
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    output = done.stdout if as_json else done.stderr
    assert "every invariant holds" in output
    assert not any(line.startswith("every invariant holds") for line in (done.stdout + done.stderr).splitlines())


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (ConfigError("x"), Exit.CONFIG),
        (Denied("x"), Exit.UNREACHABLE),
        (Unavailable("x"), Exit.UNREACHABLE),
        (NotFound("x"), Exit.UNREACHABLE),
        (NoState("x", Exit.FAILED), Exit.FAILED),
        (BrokenLog("x"), Exit.LOST_STATE),
        (CorruptSegment("x"), Exit.LOST_STATE),
        (OtherVersion("x"), Exit.LOST_STATE),
        (ForeignState("x"), Exit.LOST_STATE),
        (BrokenRejection("x"), Exit.LOST_STATE),
        (FileError("x"), Exit.USAGE),
        (KeyError("x"), None),
    ],
)
def test_commands_print_a_known_error_and_exit_with_its_code(
    problem: Exception, code: Exit | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other error is a bug and gives a traceback."""
    assert exit_code(problem) == code

    def fail(*_: object) -> int:
        raise problem

    monkeypatch.setattr("vortex.commands.verify.verify", fail)
    done = CliRunner().invoke(main, ["verify", "-c", str(folder / "v.toml")])
    if code is None:
        assert done.exception is problem
    else:
        assert (done.exit_code, done.stderr.splitlines()[0]) == (code, "x")
        assert ("`vortex check` tries" in done.stderr) == (code is Exit.UNREACHABLE)


def test_commands_exit_with_130_when_they_are_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("vortex.commands.verify.verify", interrupted)
    done = CliRunner().invoke(main, ["verify", "-c", str(folder / "v.toml")])
    assert (done.exit_code, done.stderr) == (Exit.INTERRUPTED, "interrupted\n")


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "arguments", [[LONG], ["run", f"--{LONG}"], ["plan", "--shards", LONG]], ids=["command", "option", "value"]
)
def test_message_about_arguments_is_short_when_they_are_long(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "xxx…xxx" in done.output
    assert len(done.output) < 1000
