"""What users read, in two files, so that a changed message is read again.

tests/snapshots/messages.txt: what commands print in a table of situations. tests/snapshots/source_messages.txt: every
log line, raised error and printed line of the source. `UPDATE_SNAPSHOTS=1 pytest tests/unit/test_message_snapshot.py`
writes both.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from simulation import vtime
from tests.loops import World
from tests.published_store import published
from tests.source_messages import messages_below, messages_of
from tests.unit.commands.test_probes import FaultyStore
from tests.unit.commands.test_probes import lines as probed
from vortex.adapters.http.server import not_served
from vortex.cli import main
from vortex.commands.close import close_logs
from vortex.commands.existing_state import NoState, existing_state
from vortex.commands.verify import _print
from vortex.config.loading import ConfigError, load
from vortex.config.settings import Settings
from vortex.core.log.rules import BrokenLog
from vortex.verify.store import verify_store

ROOT = Path(__file__).parents[2]
SNAPSHOTS = ROOT / "tests/snapshots"

LEAST = {
    "source": 'stream = "clicks"\n',
    "event": 'customer = "c"\ntype = "t"\nid = "i"\ntime = "x"\n',
    "store": 'url = "file:///nowhere/x"\n',
}

COMMANDS = """
--help
run --help
check --help
status --help
verify --help
close --help
init --help
demo --help
fly
run
run -c none.toml
run -c folder
run -c latin.toml
run -c v.toml --processes 2
run -c v.toml --processes none
run -c v.toml --processes 2 --drain
close -c v.toml
close -c v.toml --before yesterday
verify -c v.toml
init v.toml
init none/x.toml
init new.toml
init --schema new.toml
version
"""

SETTINGS = """
[comit] every = "1s"
[commit] evry = "1s"
[commit] every = "soon"
[commit] every = 30
[commit] every = "0s"
[commit] every = "2000y"
[commit] max_bytes = "many"
[commit] max_bytes = 0
[commit] max_bytes = "6GiB"
[memory] limit = "9999999TiB"
[memory] limit = "1KiB"
[limits] record = 0
[limits] events = 0
[limits] events = "few"
[source] poll = "1h"
[source] start = "yesterday"
[source] stream = "a b"
[source] stream = "arn:aws:kinesis:::x"
[source] stream = 5
[source] region = "mars"
[source] endpoint_url = "localhost:4566"
[source] endpoint_url = "http://user:secret@host"
[source] endpoint_url = "http://:80"
[source] endpoint_url = "http://host?x=1"
[event] id = "a..b"
[event] id = []
[event] id = "[a"
[event] max_bytes = "1B"
[event] lone_surrogates = "drop"
[event] time_format = "%H:%M"
[event] time_format = "%Q %Y-%m-%d"
[event] time_format = "%I %Y-%m-%d"
[event] time_format = 5
[store] url = "bucket"
[store] url = "/data"
[store] url = "file://data"
[store] url = "file:///"
[store] url = "file:///a#b"
[store] url = "file:///a/../b"
[store] url = "file:///~/b"
[store] url = "file:///100%"
[store] url = " s3://b"
[store] url = "s3://My_Bucket/p"
[store] url = "s3://b/p?x"
[store] url = "s3://b//p"
[store] url = "s3://name--x-s3/p"
[store] url = "s3://arn:aws:s3:::bucket"
[store] url = "s3://arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/n"
[store] kms_key_id = "key"
[store] expected_bucket_owner = "me"
[layout] path = "x/{customer}"
[layout] path = "{customer}/{event_type}/{date}/{hour}"
[layout] path = "a={customer}-{event_type}/{date}/{hour}"
[layout] path = "a={customer:x}/{event_type}/{date}/{hour}"
[layout] path = "_vortex/{customer}/{event_type}/{date}/{hour}"
[layout] path = "_{customer}/{event_type}/{date}/{hour}"
[layout] rejected = "x"
[layout] rejected = "customer=_rejected/event_type=_rejected/date={date}/hour={hour}"
[publish] period = "7m"
[hours] max_delay = "1m"
[coordination] mode = "zookeeper"
[coordination] table = "a/b"
[coordination] failover = "10ms"
[http] port = 70000
[http] port = "http"
[http] host = "http://0.0.0.0"
[http] host = "unix:relative"
[log] level = "loud"
"""

ENVIRONMENT = (
    {"VORTEX_STORE__URI": "s3://b"},
    {"VORTEX_NOTHING__LIKE_IT": "1"},
    {"VORTEX_COMMIT__EVERY": "soon"},
    {"VORTEX_SOURCE__STREAM": "a b", "VORTEX_STORE__URL": "bucket", "VORTEX_HTTP__PORT": "70000"},
)

STORES = (
    "",
    "overwrites",
    "overwrites in silence",
    "finds everything",
    "ignores ranges",
    "416",
    "cut",
    "unordered",
    "no start-after",
    "one case",
    "keeps",
    "crashes",
    "put denied",
    "list denied",
    "put hangs",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with settings, which commands are started in; nothing of this machine's own settings."""
    for name in [name for name in os.environ if name.startswith(("VORTEX_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("v.toml").write_text("".join(f"[{name}]\n{text}" for name, text in LEAST.items()))
    Path("latin.toml").write_bytes(b"# \xe9\n")
    Path("folder").mkdir()
    usual = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, usual)


def commands() -> Iterator[tuple[str, str]]:
    """Each command line with what it prints."""
    for line in COMMANDS.strip().splitlines():
        done = CliRunner().invoke(main, line.split(), prog_name="vortex", terminal_width=100)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        yield f"$ vortex {line}", f"{done.output}exit code {done.exit_code}"


def settings() -> Iterator[tuple[str, str]]:
    """Each wrong setting with what is said of it."""
    for line in SETTINGS.strip().splitlines():
        section, _, setting = line[1:].partition("] ")
        tables = {name: [row for row in text.splitlines() if row] for name, text in LEAST.items()}
        key = setting.partition(" = ")[0]
        tables[section] = [row for row in tables.get(section, []) if not row.startswith(f"{key} = ")] + [setting]
        Path("wrong.toml").write_text("\n".join(row for name, rows in tables.items() for row in (f"[{name}]", *rows)))
        yield line, refused(Path("wrong.toml"), {})
    for environ in ENVIRONMENT:
        yield " ".join(f"{name}={value}" for name, value in environ.items()), refused(Path("v.toml"), environ)
    yield "nothing is set", refused(None, {})


def refused(path: Path | None, environ: dict[str, str]) -> str:
    """The message of the error."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
        pytest.fail(f"{path and path.read_text()} {environ}: was accepted")
    return str(caught.value)


def stores() -> Iterator[tuple[str, str]]:
    """What `vortex check` says of stores with a fault: all of the sound one, of the others the lines that fail."""
    for fault in STORES:
        found = vtime.run(probed(FaultyStore(fault)))
        said = [f"{'ok  ' if one.ok else 'FAIL'} {one.what}: {one.detail}" for one in found if not (one.ok and fault)]
        yield f"vortex check: a store that: {fault or 'is sound'}", "\n".join(said)


async def damaged() -> World:
    """A store in which an object is missing, one is not a plan's, and a segment is gone."""
    world = await published()
    objects = sorted(key for key in world.store.objects if not key.startswith("_"))
    segments = sorted(key for key in world.store.objects if key.endswith(".seg"))
    await world.store.delete([objects[0], segments[-1]])
    await world.store.put_if_absent("stranger.gz", b"x")
    return world


def verifying(capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, str]]:
    """What `vortex verify` prints."""

    async def report(make: Callable[[], Awaitable[World]]) -> None:
        _print(await verify_store((await make()).store))

    async def empty() -> World:
        return World()

    for title, make in (("a sound store", published), ("a damaged store", damaged), ("an empty store", empty)):
        vtime.run(report(make))
        printed = capsys.readouterr()
        yield f"vortex verify: {title}", printed.err + printed.out


def states() -> Iterator[tuple[str, str]]:
    """What `vortex close`, `status` say where they cannot do what they are asked."""

    async def message_of(call: Callable[[World], Awaitable[object]]) -> str:
        with pytest.raises((ValueError, BrokenLog, NoState)) as caught:
            await call(await published())
        return str(caught.value)

    async def closing(world: World, shards: tuple[str, ...], before: int) -> None:
        log_store, state = await existing_state(world.store, await world.stream.describe())
        document = {"source": {"stream": "s"}, "event": dict.fromkeys(("customer", "type", "id", "time"), "x")}
        made = Settings.model_validate(document | {"store": {"url": "s3://b"}})
        await close_logs(log_store, state, world.stream, made, shards, before)

    async def elsewhere(world: World, **other: object) -> None:
        info = await world.stream.describe()
        await existing_state(world.store, type(info)(**{name: getattr(info, name) for name in info.__slots__} | other))

    async def nowhere(world: World) -> None:
        await existing_state(World().store, await world.stream.describe())

    cases: dict[str, Callable[[World], Awaitable[object]]] = {
        "vortex close: a time in the future": lambda world: closing(world, (), 32_503_680_000_000),
        "vortex close: an unknown shard": lambda world: closing(world, ("nobody",), 0),
        "vortex status: another stream's state": lambda world: elsewhere(world, name="other"),
        "vortex status: an earlier stream's state": lambda world: elsewhere(world, created_ms=5000),
        "vortex status: no state": nowhere,
    }
    for title, call in cases.items():
        yield title, vtime.run(message_of(call))


def surroundings() -> Iterator[tuple[str, str]]:
    """What is said of regions, profiles and addresses, which settings alone do not show to be wrong."""
    for title, environ in (
        ("no region anywhere", {}),
        ("a region that AWS does not have", {"VORTEX_SOURCE__REGION": "xx-nowhere-1"}),
        ("a region of other SDKs", {"AWS_REGION": "eu central"}),
        ("a profile that does not exist", {"AWS_PROFILE": "nobody"}),
        ("a proxy that cannot be used", {"HTTPS_PROXY": "socks5://user:secret@host:1"}),
    ):
        none = {"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true"}
        done = CliRunner(env=none | environ).invoke(main, ["status", "-c", "v.toml"], prog_name="vortex")
        yield f"vortex status: {title}", f"{done.output}exit code {done.exit_code}"
    for host, port, problem in (
        ("127.0.0.1", 9400, OSError(errno.EADDRINUSE, "in use")),
        ("0.0.0.0", 80, PermissionError(errno.EACCES, "denied")),
        ("nohost", 1, socket.gaierror(-2, "Name or service not known")),
    ):
        yield f"vortex run: {host}:{port} cannot be listened on", not_served(host, port, problem)


def test_messages_are_those_of_the_snapshot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them; read the file when it changes."""
    parts = [*commands(), *settings(), *stores(), *verifying(capsys), *states(), *surroundings()]
    text = "\n\n".join(f"{title}\n{click.unstyle(said).rstrip()}" for title, said in parts) + "\n"
    text = re.sub(r"_check/[0-9a-f]{16}", "_check/PROBE", text)
    text = "".join(f"{line.rstrip()}\n" for line in text.replace(str(folder), "TMP").splitlines())
    check("messages.txt", text)


def test_messages_of_the_source_are_those_of_the_snapshot() -> None:
    """Log lines, errors and printed lines, by package."""
    packages = {name: messages_below(ROOT / name) for name in ("vortex", "vortex_loader")}
    parts = ["\n".join([f"# {name}", *messages]) for name, messages in packages.items()]
    check("source_messages.txt", "\n\n".join(parts) + "\n")


def test_messages_of_a_source_are_log_lines_errors_and_printed_lines() -> None:
    source = """
log.info("shard %s: taken%s", shard, f" from {lease.owner}" if lease.owner else "")
log.warning("%s", line)
raise BrokenLog(f"{self.key}: {len(rows)} rows, " "not those of the plan") from problem
raise Stop(code)
click.echo("nothing to " + ("close" if idle else "do"))
name = "no message"
"""
    assert sorted(messages_of(source)) == [
        "BrokenLog: {key}: {…} rows, not those of the plan",
        "log info: from {owner}",
        "log info: shard %s: taken%s",
        "print: nothing to close | do",
    ]


def check(name: str, text: str) -> None:
    """Compare with a snapshot, or write it."""
    path = SNAPSHOTS / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8"), "messages have changed: read them, then write them with UPDATE_SNAPSHOTS=1"
