"""Wrong addresses and values: errors say what to write instead, and are short however long the values are."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from vortex_loader.catalog import read_catalog
from vortex_loader.catalog_commands import _call
from vortex_loader.cli import main
from vortex_loader.model import Listed, LoaderError, Partition, Passing, parse_hour
from vortex_loader.sources import catalog_source
from vortex_loader.store import Bucket, hour_key, open_store
from vortex_loader.warehouse import connect, registry
from vortex_loader.warehouse.duck import DuckDb

HUGE = "x" * 100_000
HOUR = parse_hour("2026-11-29T09")


def catalogue(**document: object) -> Callable[[], object]:
    return lambda: read_catalog(json.dumps({"version": 1, **document}).encode(), "catalog.json")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: parse_hour(HUGE), "is not an hour; write 2026-11-29T09"),
        (catalogue(**{HUGE: 1}), "Extra inputs are not permitted"),
        (catalogue(customer={HUGE: {"enabled": HUGE}}), "should be a valid boolean"),
        (catalogue(customer={f"c{n}": {"colour": 1} for n in range(1000)}), "and 990 more problems"),
        (catalogue(customer={HUGE: {"event": {e: {"table": "t"} for e in "ab"}}}), "two events in one table 't'"),
        (lambda: read_catalog(HUGE.encode(), "catalog.toml"), "catalog.toml is neither TOML nor JSON"),
        (lambda: _call("PUT", HUGE, "/", {}), "is not a service; change the file itself"),
        (lambda: catalog_source(f"gopher://{HUGE}"), "a catalogue is a file, s3://bucket/key, or an HTTP address"),
        (lambda: open_store(f"gopher://{HUGE}"), "a store is s3://bucket/prefix, file:///dir, or a folder"),
    ],
)
def test_error_is_short_and_says_what_to_do_when_a_value_is_huge(call: Callable[[], object], said: str) -> None:
    with pytest.raises(LoaderError) as problem:
        call()
    assert said in str(problem.value)
    assert len(str(problem.value)) <= 510


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": HUGE}, "this loader reads up to"),
        ({"compression": HUGE}, "its files have the compression"),
        ({"hour": HUGE}, "it says that it is of"),
        ({"hour": [HUGE] * 10}, "it says that it is of"),
        ({"partitions": HUGE}, "cannot be read"),
    ],
)
def test_error_of_a_manifest_is_short_when_a_value_is_huge(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / hour_key(HOUR)
    path.parent.mkdir(parents=True)
    document: dict[str, object] = {"version": 1, "hour": "2026-11-29T09:00:00Z", "partitions": []}
    path.write_text(json.dumps(document | changes))
    with pytest.raises(LoaderError) as problem:
        open_store(str(tmp_path)).hour(HOUR)
    assert said in str(problem.value)
    assert len(str(problem.value)) <= 510


def test_name_of_a_partition_is_short_when_its_customer_has_a_long_one() -> None:
    one = Partition(HUGE, "view" + HUGE, HOUR, 1, (Listed("a", "b"),))
    assert one.name.startswith("xxx")
    assert one.name.endswith("/ 2026-11-29T09")
    assert len(one.name) < 230


def test_error_has_the_first_lines_of_many() -> None:
    assert str(Passing("a\n" * 5000)).count("\n") == 20
    assert str(LoaderError("one\ntwo")) == "one\ntwo"


def test_errors_about_schemas_and_tables_are_short_when_names_are_long(tmp_path: Path) -> None:
    with pytest.raises(LoaderError, match="is the warehouse's or the loader's own") as problem:
        registry.schema_of(DuckDb(str(tmp_path / "a.duckdb")), HUGE, "pg_catalog")
    assert len(str(problem.value)) < 300


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (partial(open_store, "file://["), "write file:///path, with three slashes"),
        (partial(open_store, "file://"), "write file:///path"),
        (partial(open_store, "file://host/folder"), "write file:///path"),
        (partial(open_store, "file:///a#b"), "%3F and %23 for a ? and a # in a name"),
        (partial(open_store, ""), "a store is s3://bucket/prefix"),
        (partial(open_store, "s3://", region="us-east-1"), "names no bucket; write s3://bucket/prefix"),
        (partial(open_store, "s3://\u2603/x", region="us-east-1"), "names no bucket; write s3://bucket/prefix"),
        (partial(catalog_source, ""), "a catalogue is a file"),
        (partial(catalog_source, "file://["), "write file:///path"),
        (partial(catalog_source, "s3://"), "names no object; write s3://bucket/key"),
        (partial(catalog_source, "s3://bucket"), "names no object; write s3://bucket/key"),
        (partial(catalog_source, "s3://bucket/"), "names no object; write s3://bucket/key"),
        (partial(connect, "duckdb://"), "write duckdb:///path"),
        (partial(connect, "duckdb://:memory:"), "write duckdb:///path"),
        (partial(connect, "duckdb://folder/x.duckdb"), "write duckdb:///path"),
    ],
)
def test_address_that_names_nothing_is_refused_with_what_to_write(call: Callable[[], object], said: str) -> None:
    """`duckdb://` once was a database in memory, and `file://` the present folder."""
    with pytest.raises(LoaderError) as problem:
        call()
    assert said in str(problem.value)


def test_store_in_s3_has_a_bucket_or_an_access_point_and_a_prefix() -> None:
    point = "arn:aws:s3:eu-west-1:123456789012:accesspoint/events"
    for url, bucket, prefix in (
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/a/b/", "bucket", "a/b"),
        (f"s3://{point}/a#b", point, "a#b"),
    ):
        files = open_store(url, region="us-east-1").files
        assert isinstance(files, Bucket)
        assert (files.bucket, files.prefix) == (bucket, prefix)


@pytest.mark.parametrize("arguments", [[HUGE], ["load", f"--{HUGE}"]], ids=["command", "option"])
def test_message_about_arguments_is_short_when_they_are_long(arguments: list[str]) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert len(done.output) < 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--metrics-port", "99999"], "99999 is not in the range"),
        (["run", "--every", "nan"], "nan is no number of seconds"),
        (["run", "--wait", "nan"], "nan is no number of seconds"),
        (["catalog", "serve", "--port", "99999"], "99999 is not in the range"),
        (["catalog", "serve", "--host", "a..b"], "--host 'a..b' is no host"),
    ],
)
def test_number_or_host_that_cannot_be_is_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    places = ["--store", str(tmp_path), "--warehouse", str(tmp_path / "a.duckdb"), "--catalog", str(tmp_path / "c")]
    more = ["--database", str(tmp_path / "c.db")] if arguments[0] == "catalog" else places
    done = CliRunner().invoke(main, [*arguments, *more])
    assert done.exit_code in (1, 2)
    assert said in done.output
    assert isinstance(done.exception, SystemExit)


def test_run_names_the_port_of_its_metrics_when_it_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = ["--store", str(tmp_path), "--warehouse", str(tmp_path / "a.duckdb"), "--catalog", str(tmp_path / "c")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ["run", *places, "--metrics-port", port])
    assert done.exit_code == 1
    assert done.output.startswith("--metrics-port (VORTEX_LOADER_METRICS_HOST): '127.0.0.1', port ")
    monkeypatch.setenv("VORTEX_LOADER_METRICS_HOST", "a..b")
    done = CliRunner().invoke(main, ["run", *places, "--metrics-port", "0"])
    assert "it is no host" in done.output
