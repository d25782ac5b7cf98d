"""The queries of docs/reading.md over a store with unusual names and types that change."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import orjson
import pydantic_core
import pytest

from tests.loader.stores import hour, page, publish, write
from vortex.core.compression import Compression
from vortex.core.layout import encode
from vortex.core.log.segment import compress

PAGE = (Path(__file__).parents[2] / "docs/reading.md").read_text()
Counts = dict[tuple[str, str], int]


def block(heading: str, language: str, root: Path, number: int = 0) -> str:
    """A block of a language below a heading, for the store in `root`."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found: str = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)[number]
    return found.replace("DIR", str(root)).replace(".json.gz", Compression(root.name[:4]).ending)


@pytest.fixture(scope="module", params=Compression)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Counts]]:
    """Two hours of objects of several members, rejections beside them; the counts that the manifests give."""
    kind: Compression = request.param
    root = tmp_path_factory.mktemp(kind)
    prices: list[Any] = [1, 2.5, "9.99", {"amount": 3}, [4], None, True, 12345678901234567890123]
    events = [page(n, price=price, properties=price, userId=[n, f"u-{n}"][n % 2]) for n, price in enumerate(prices)]
    names = [
        ("acme", "page"),
        ("wayne/retail", "Order Completed"),
        ("tyrell é", "注文完了"),
        ("007", "12"),
        ("a=b%c", "x y"),
        ("e\u0301 ☃", "𠮷 हिन्दी"),  # outside NFC
    ]
    for n in range(2):
        publish(root, hour(n), {name: events[: 8 - at] * (n + 1) for at, name in enumerate(names)}, compression=kind)
    rejected = b'{"reason":"not json","data":"eA=="}\n'
    write(root / f"_rejected/date=2026-11-29/hour=09/0900-000{kind.ending}", compress(rejected, kind))
    counts: Counts = {}
    for path in root.glob("_hours/*/*/manifest.json"):
        for row in json.loads(path.read_bytes())["partitions"]:
            name = (row["customer"], row["event_type"])
            counts[name] = counts.get(name, 0) + row["rows"]
    yield root, counts


def counted(rows: Any) -> Counts:
    """What a reader has counted."""
    return {(customer, kind): int(count) for customer, kind, count in rows}


def test_duckdb_query_of_the_documentation_reads_every_event(store: tuple[Path, Counts]) -> None:
    duckdb = pytest.importorskip("duckdb")
    root, counts = store
    assert counted(duckdb.sql(block("DuckDB", "sql", root)).fetchall()) == counts


def test_program_of_the_documentation_reads_bundles_by_the_manifests(tmp_path: Path) -> None:
    """Also an hour without bundles; and a bundle as a whole is a file that readers take."""
    root = tmp_path / "gzip"
    events = [page(n) for n in range(9)]
    names = {("acme", "page"): events, ("tyrell é", "注文完了"): events[:3]}
    publish(root, hour(0), names, bundled=True)
    publish(root, hour(1), names)
    found: dict[str, Any] = {}
    exec(block("Bundles", "python", root), found)
    counts: Counter[tuple[str, str]] = Counter()
    for customer, kind, count in found["counts"]:
        counts[customer, kind] += count
    assert counts == {("acme", "page"): 18, ("tyrell é", "注文完了"): 6}
    duckdb = pytest.importorskip("duckdb")
    everything = [f"{root}/customer=*/*/*/*/*.json.gz", f"{root}/_bundles/**/*.json.gz"]
    assert duckdb.sql(f"SELECT count(*) FROM read_ndjson_objects({everything})").fetchall() == [(24,)]


def test_clickhouse_query_of_the_documentation_reads_every_event(store: tuple[Path, Counts]) -> None:
    chdb = pytest.importorskip("chdb", reason="no chdb here: make test-readers installs it")
    root, counts = store
    output = str(chdb.query(block("ClickHouse", "sql", root), "JSONCompactEachRow"))
    assert counted(json.loads(line) for line in output.splitlines()) == counts


@pytest.mark.parametrize(("heading", "module"), [("Polars", "polars"), ("PyArrow", "pyarrow")])
def test_program_of_the_documentation_reads_every_event(store: tuple[Path, Counts], heading: str, module: str) -> None:
    pytest.importorskip(module, reason=f"no {module} here: make test-readers installs it")
    root, counts = store
    names: dict[str, Any] = {}
    of_file = module == "pyarrow" and root.name.startswith(Compression.ZSTD)  # its second program
    if of_file:
        exec("import glob, pyarrow as pa, pyarrow.csv as csv", names)
    exec(block(heading, "python", root, int(of_file)), names)
    assert counted(names["counts"]) == counts
    if module == "polars":  # a column of text takes both
        users = names["events"].select("userId").collect()["userId"].to_list()
        assert {"u-1", "0"} <= set(users) and None not in users


def test_spark_reads_every_event_and_shows_letters_as_they_are(store: tuple[Path, Counts]) -> None:
    pytest.importorskip("pyspark", reason="no pyspark here: make test-readers installs it")
    if shutil.which("java") is None:
        pytest.skip("no Java here, which Spark needs")
    from pyspark.sql import SparkSession

    root, counts = store
    here = {f"spark.driver.{name}": "127.0.0.1" for name in ("host", "bindAddress")}
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", **here}
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        names: dict[str, Any] = {"spark": spark}
        exec(block("Spark", "python", root).replace("s3://my-bucket/clickstream", str(root)), names)
        rows = names["events"].groupBy("customer", "event_type").count().collect()
        users = {row[0] for row in names["events"].select("userId").distinct().collect()}
    finally:
        spark.stop()

    assert {"u-1", "0"} <= users

    def shown(name: str) -> str:
        return re.sub("%(..)", lambda escape: chr(int(escape[1], 16)), encode(name))  # it decodes bytes one by one

    assert shown("tyrell é") == "tyrell é" and shown("注文完了") == "注文完了"
    assert counted(rows) == {(shown(customer), shown(kind)): count for (customer, kind), count in counts.items()}


@pytest.mark.parametrize(
    ("reader", "greatest"),
    [("json", 4300), ("msgspec", 4300), ("pydantic_core", 4300), ("orjson", 309), ("duckdb", 10_000)],
)
def test_reader_refuses_integers_of_more_digits_than_the_documentation_says(reader: str, greatest: int) -> None:
    """The page says so: docs/reference/events.md, Readers."""
    read = {
        "json": lambda line: json.loads(line)["n"],
        "msgspec": lambda line: msgspec.json.decode(line)["n"],
        "pydantic_core": lambda line: pydantic_core.from_json(line)["n"],
        "orjson": lambda line: orjson.loads(line)["n"],
        "duckdb": lambda line: duckdb.connect().execute("SELECT ($1::JSON)->'n'", [line.decode()]).fetchall(),
    }[reader]
    for digits in (19, 309, 4300, 4301, 10_000):
        line = b'{"n": ' + b"1" * digits + b"}"
        if digits <= greatest:
            assert read(line)
        else:
            with pytest.raises((ValueError, msgspec.ValidationError)):
                read(line)


def test_pandas_and_polars_refuse_integers_beyond_their_types(tmp_path: Path) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for number, right in ((2**64 - 1, (True, True)), (2**64, (False, True)), (2**128, (False, False))):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps({"n": number}) + "\n")
        reads = (partial(pandas.read_json, file, lines=True), partial(polars.read_ndjson, file))
        for read, fits in zip(reads, right, strict=True):
            with contextlib.nullcontext() if fits else pytest.raises((ValueError, polars.exceptions.ComputeError)):
                read()
