"""`vortex demo`: an emulated Kinesis and S3, a producer, a real worker, and the sum at the end."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from vortex.commands.demo_traffic import Put, traffic
from vortex.commands.demo_warehouse import LoadingFailed, Places, load, waiting, warehouse_address
from vortex.config.environment import PREFIX
from vortex.core.wording import counted
from vortex.exits import Exit
from vortex.metrics import EVENTS_READ

_STREAM = "clickstream"
_BUCKET = "vortex-demo"
_SHARDS = 3
_STOP_S, _DRAIN_S = 60, 600
_BATCH = 500  # of PutRecords
_SHOWN = 14
_QUERY = """\
SELECT customer, event_type, count(*)
FROM read_ndjson_objects('{root}/customer=*/event_type=*/date=*/hour=*/*.json.gz',
                         hive_partitioning = true, hive_types_autocast = false, maximum_object_size = 20000000)
GROUP BY ALL;"""
_SURROUNDINGS = {
    "AWS_ACCESS_KEY_ID": "demo",
    "AWS_SECRET_ACCESS_KEY": "demo",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}
"""All settings of the demo's clients, so that they reach no real stream or store, whatever the environment names."""
_SETTINGS = """
[source]
stream = "clickstream"
endpoint_url = "{kinesis}"
[event]
customer = "context.app.namespace"
type = ["event", "type"]
id = "messageId"
time = "timestamp"
[store]
url = "{store}"
{endpoint}
[commit]
every = "2s"
[publish]
period = "1h"
[hours]
allowed_lateness = "4h"
[http]
port = {port}
[log]
level = "warning"
format = "text"
"""


class DemoFailed(Exception):
    """The demo could not be carried out; the message says why."""


@dataclass(slots=True)
class _Scene:
    """Where everything is."""

    kinesis: str
    port: int
    config: Path
    keep: Path | None
    warehouse: str

    @property
    def store(self) -> str:
        return self.keep.absolute().as_uri() if self.keep else f"s3://{_BUCKET}/demo"


def run(keep: Path | None, events: int, warehouse: str = "duckdb") -> int:
    """Produce `events` events, load them, show what became of them. FAILED where a sum does not hold."""
    console = Console()
    for name in [name for name in os.environ if name.startswith(("AWS_", PREFIX))]:
        del os.environ[name]
    os.environ.update(_SURROUNDINGS)
    console.print("an emulated Kinesis and S3 start …")
    try:
        with tempfile.TemporaryDirectory(prefix="vortex-demo-") as folder, _moto() as url:
            kept = _checked(keep)
            # Beside the store: nothing else may write into it.
            file = Path(f"{kept.resolve()}.duckdb") if kept else Path(folder) / "warehouse.duckdb"
            address = "" if warehouse == "none" else warehouse_address(warehouse, file)
            scene = _Scene(url, _free_port(), Path(folder) / "vortex.toml", kept, address)
            return _play(console, scene, events)
    except (DemoFailed, LoadingFailed, OSError) as problem:
        console.print(str(problem), style="red", soft_wrap=True, markup=False)
        return Exit.FAILED


def _play(console: Console, scene: _Scene, events: int) -> int:
    _prepare(scene)
    console.print(f"Kinesis and S3 are emulated on {scene.kinesis}; {_SHARDS} shards, {counted(events, 'event')}")
    console.print(f"the worker's metrics, while it runs: http://127.0.0.1:{scene.port}/metrics")
    produced = _produce_and_read(console, scene, events)
    with waiting(
        console, "a second worker starts where it stopped, reads what is left, and closes the hours (--drain)"
    ):
        _worker(scene, "run", "--drain")
    with waiting(console, "reading what they have published"):
        objects = dict(_objects(scene))
    shown = _show(console, scene, objects, produced)
    return shown or (_load(console, scene, objects, produced) if scene.warehouse else Exit.OK)


def _load(console: Console, scene: _Scene, objects: dict[str, bytes], produced: int) -> int:
    endpoint = None if scene.keep else scene.kinesis
    hours = [
        datetime.fromisoformat(json.loads(body)["hour"]) for key, body in objects.items() if key.startswith("_hours/")
    ]
    places = Places(scene.store, scene.warehouse, scene.config.with_name("catalog.toml"), endpoint)
    loads = load(console, places, hours)
    holds = loads.holds(produced)
    console.print(f"\n{loads.sum_of(produced)}", style="bold green" if holds else "bold red", soft_wrap=True)
    if scene.keep:
        where = f", the warehouse is {scene.warehouse}" if scene.warehouse.endswith(".duckdb") else ""
        console.print(f"the files are in {scene.keep}{where}", markup=False, soft_wrap=True)
    return Exit.OK if holds else Exit.FAILED


def _checked(keep: Path | None) -> Path | None:
    if keep is None:
        return None
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise DemoFailed(f"{keep}: is not empty; give an empty or a new directory")
        with tempfile.TemporaryFile(dir=keep):
            return keep
    except OSError as problem:
        raise DemoFailed(f"{keep}: cannot be written to: {problem.strerror}") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _moto() -> Iterator[str]:
    if find_spec("moto") is None:
        raise DemoFailed("the demo needs moto: pip install 'vortex-microbatcher[demo]', or '.[demo]' in a checkout")
    port = _free_port()
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if server.poll() is not None:
                raise DemoFailed("the emulator did not start")
            time.sleep(0.1)  # another program's port: there is nothing to await
        else:
            raise DemoFailed(f"the emulator did not answer on port {port} in half a minute")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _client(service: str, scene: _Scene) -> Any:
    return boto3.client(service, endpoint_url=scene.kinesis, region_name="us-east-1")


def _prepare(scene: _Scene) -> None:
    _client("kinesis", scene).create_stream(StreamName=_STREAM, ShardCount=_SHARDS)
    _client("s3", scene).create_bucket(Bucket=_BUCKET)
    endpoint = "" if scene.keep else f'endpoint_url = "{scene.kinesis}"'
    text = _SETTINGS.format(kinesis=scene.kinesis, store=scene.store, endpoint=endpoint, port=scene.port)
    scene.config.write_text(text)


def _worker(scene: _Scene, *arguments: str) -> None:
    try:
        done = subprocess.run([*_command(scene), *arguments[1:]], capture_output=True, text=True, timeout=_DRAIN_S)
    except subprocess.TimeoutExpired as problem:
        printed = (problem.stderr or b"").decode(errors="replace")[-2000:]
        raise DemoFailed(f"vortex {' '.join(arguments)} did not end within {_DRAIN_S} s:\n{printed}") from None
    if done.returncode:
        raise DemoFailed(f"vortex {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")


def _command(scene: _Scene) -> list[str]:
    return [sys.executable, "-P", "-m", "vortex", "run", "-c", str(scene.config)]


@contextlib.contextmanager
def _reading(scene: _Scene) -> Iterator[subprocess.Popen[bytes]]:
    """A worker, stopped politely at the end. Its log goes into a file: a pipe that nobody reads would stop it."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        worker = subprocess.Popen(_command(scene), stderr=said)
        try:
            yield worker
        finally:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        if worker.returncode:
            said.seek(0)
            raise DemoFailed(f"the worker ended with {worker.returncode}:\n{said.read()[-2000:]}")


def _produce_and_read(console: Console, scene: _Scene, events: int) -> int:
    """Put all events while a worker reads; stop it once it has read them. How many were produced."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeElapsedColumn())
    with _reading(scene) as worker:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            putting, reading = progress.add_task("produced", total=events), progress.add_task("read", total=events)
            produced = 0
            kinesis = _client("kinesis", scene)
            for batch in _batches(traffic(events, 7, datetime.now(UTC))):
                _put(kinesis, batch)
                produced += sum(put.events for put in batch)
                progress.update(putting, completed=produced)
                progress.update(reading, completed=_read_so_far(scene))
                if not console.is_terminal and produced % 5000 < _BATCH:
                    console.print(f"produced {produced}, read {_read_so_far(scene)}")
            if not console.is_terminal:
                console.print("waiting until the worker has read them all")
            end = time.monotonic() + 30
            while (read := _read_so_far(scene)) < produced and time.monotonic() < end and worker.poll() is None:
                progress.update(reading, completed=read)
                time.sleep(0.3)  # the worker is another process; this one only shows how far it is
            progress.update(reading, completed=read)
        console.print(f"produced {counted(produced, 'event')}; the worker has read {read}; it gets SIGTERM")
    return produced


def _batches(puts: Iterator[Put]) -> Iterator[list[Put]]:
    for _, group in groupby(enumerate(puts), key=lambda pair: pair[0] // _BATCH):
        yield [put for _, put in group]


def _put(kinesis: Any, batch: list[Put]) -> None:
    rows = [{"Data": put.data, "PartitionKey": put.key} for put in batch]
    while rows:
        reply = kinesis.put_records(StreamName=_STREAM, Records=rows)
        rows = [row for row, answer in zip(rows, reply["Records"], strict=True) if answer.get("ErrorCode")]


def _read_so_far(scene: _Scene) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{scene.port}/metrics", timeout=1) as reply:
            text = reply.read().decode()
    except OSError:
        return 0  # the worker is still starting
    return _events_read(text)


def _events_read(page: str) -> int:
    """The counter on a page of metrics; 0 where it is not there yet."""
    series = f"{EVENTS_READ.name}{{"
    return sum(int(float(line.rpartition(" ")[2])) for line in page.splitlines() if line.startswith(series))


def _objects(scene: _Scene) -> Iterator[tuple[str, bytes]]:
    """Events, rejections, hours' manifests and plans' ends by their keys; a request each."""
    if scene.keep:
        for path in sorted(scene.keep.rglob("*")):
            if path.is_file() and _is_shown(key := path.relative_to(scene.keep).as_posix()):
                yield key, path.read_bytes()
        return
    s3 = _client("s3", scene)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET, Prefix="demo/"):
        for row in page.get("Contents", ()):
            if _is_shown(key := row["Key"].removeprefix("demo/")):
                yield key, s3.get_object(Bucket=_BUCKET, Key=row["Key"])["Body"].read()


def _is_shown(key: str) -> bool:
    return key.startswith("_hours/") or key.endswith((".json.gz", "/done.json"))


def _show(console: Console, scene: _Scene, objects: dict[str, bytes], produced: int) -> int:
    data = {key: gzip.decompress(body) for key, body in objects.items() if key.endswith(".json.gz")}
    published = {key: text for key, text in data.items() if not key.startswith("_")}
    rejected = sum(text.count(b"\n") for key, text in data.items() if key.startswith("_rejected/"))
    dones = [json.loads(body) for key, body in objects.items() if key.endswith("/done.json")]
    duplicates = sum(document["totals"]["dropped"] + document["totals"]["filtered"] for document in dones)
    rows = sum(text.count(b"\n") for text in published.values())
    _tree(console, published, objects)
    first = next(iter(published.items()), None)
    if first is not None:
        console.print("\none line:", style="bold")
        console.print_json(first[1].split(b"\n", 1)[0].decode())
    closed = sorted(key.split("/", 1)[1].rpartition("/")[0] for key in objects if key.startswith("_hours/"))
    console.print(f"\nclosed hours, each with a manifest: {', '.join(closed) or 'none'}", soft_wrap=True)
    root = scene.keep or "DIR"
    hint = "" if scene.keep else "   (vortex demo --keep DIR leaves the files there)"
    console.print(f"\nin DuckDB:{hint}", style="bold")
    console.print(textwrap.indent(_QUERY.format(root=root), "  "), markup=False, soft_wrap=True)
    holds = produced == rows + duplicates + rejected
    sign = "=" if holds else "≠"
    console.print(
        f"\nproduced {produced} {sign} published {rows} + duplicates {duplicates} + rejected {rejected}",
        style="bold green" if holds else "bold red",
    )
    return Exit.OK if holds else Exit.FAILED


def _tree(console: Console, published: dict[str, bytes], objects: dict[str, bytes]) -> None:
    """The partitions with rows and bytes, the largest first."""
    folders: dict[str, list[int]] = {}
    for key, text in published.items():
        sums = folders.setdefault(key.rpartition("/")[0], [0, 0, 0])
        sums[0] += 1
        sums[1] += text.count(b"\n")
        sums[2] += len(objects[key])
    console.print(f"\n{counted(len(folders), 'partition')}; the largest:", style="bold")
    ordered = sorted(folders.items(), key=lambda item: -item[1][1])
    for folder, (files, rows, size) in ordered[:_SHOWN]:
        console.print(
            f"  {counted(rows, 'row'):>11} {size:>10,} bytes {counted(files, 'file'):>8}  {folder}",
            markup=False,
            soft_wrap=True,
        )
