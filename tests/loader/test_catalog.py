"""The catalogue: which events are wanted, where they go, and what happens when its source is unavailable."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import boto3
import pytest
from moto import mock_aws

from vortex_loader.catalog import read_catalog
from vortex_loader.model import LoaderError
from vortex_loader.sources import catalog_source

TOML = b"""
[default]
events = ["page"]
flatten = ["properties", "context.page"]
types = { "context.ip" = "text" }

[customer.acme]
events = ["page", "Order Completed"]
max_columns = 10
[customer.acme.event."Order Completed"]
table = "orders"
types = { "/properties/a.b" = "integer" }
drop = ["context.ip"]

[customer."wayne/retail"]
schema = "wayne"
[customer.globex]
enabled = false
"""


def test_catalog_applies_rules_of_the_event_before_the_customer_before_the_default() -> None:
    catalog = read_catalog(TOML, "catalog.toml")
    assert catalog.customers() == ["acme", "wayne/retail"]
    wanted = [
        ("acme", "page"),
        ("acme", "Order Completed"),
        ("acme", "x"),
        ("wayne/retail", "page"),
        ("wayne/retail", "x"),
        ("globex", "page"),
        ("unknown", "page"),
    ]
    assert [catalog.wanted(*one) for one in wanted] == [True, True, False, True, False, False, False]
    orders = catalog.target("acme", "Order Completed")
    assert (orders.schema, orders.table, orders.max_columns) == (None, "orders", 10)
    assert orders.flatten == (("properties",), ("context", "page"))
    assert orders.types["properties", "a.b"] == "integer"
    assert (
        orders.types[
            "context",
            "ip",
        ]
        == "text"
    )
    assert orders.types["timestamp",] == "time"
    assert orders.drop == (("context", "ip"),)
    assert catalog.target("wayne/retail", "page").schema == "wayne"


def test_catalog_wants_everything_of_all_customers_except_disabled_ones() -> None:
    catalog = read_catalog(b'{"customers": "all", "customer": {"acme": {"enabled": false}}}', "c")
    assert catalog.wanted("anybody", "anything")
    assert not catalog.wanted("acme", "anything")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"events = 1", "c: events"),
        (b'[default]\ntypes = { x = "varchar" }', "default.types.x"),
        (b"version = 2", "version"),
        (b'[customer.a]\nschema = "No!"', "customer.a.schema"),
        (b'[customer.a.event.x]\ntable = "t"\n[customer.a.event.y]\ntable = "t"', "two events in one table"),
        (b"[default", "neither TOML nor JSON"),
        (b"\xff", "neither TOML nor JSON"),
        (b'{"customer": {"a": {"evnets": []}}}', "customer.a.evnets"),
    ],
)
def test_read_catalog_raises_an_error_with_file_and_key_when_the_catalogue_is_wrong(text: bytes, message: str) -> None:
    with pytest.raises(LoaderError, match=message):
        read_catalog(text, "c")


def test_catalog_as_json_gives_the_same_document_when_read_again() -> None:
    catalog = read_catalog(TOML, "c")
    again = read_catalog(json.dumps(catalog.as_json()).encode(), "d")
    assert again.document == catalog.document


class _Answers(BaseHTTPRequestHandler):
    """A server that gives the answer of the test."""

    body, status, location = b"", 200, ""
    tokens: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.tokens.append(self.headers["Authorization"])
        self.send_response(type(self).status)
        if type(self).location:
            self.send_header("Location", type(self).location)
        self.send_header("Content-Length", str(len(type(self).body)))
        self.end_headers()
        self.wfile.write(type(self).body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[type[_Answers], str]]:
    """Such a server and its URL."""
    kind = type("Answers", (_Answers,), {})
    httpd = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield kind, f"http://127.0.0.1:{httpd.server_port}/v1/catalog"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_catalog_source_returns_its_last_good_copy_while_the_source_fails(
    tmp_path: Path, server: tuple[type[_Answers], str]
) -> None:
    answers, url = server
    source = catalog_source(url, cache=tmp_path)
    answers.body, answers.status = b"<html>log in</html>", 200
    with pytest.raises(LoaderError, match=r"neither TOML nor JSON.*no earlier copy"):
        source.read()
    answers.body = b'{"customer": {"acme": {}}}'
    assert (source.read().catalog.customers(), source.read().reason) == (["acme"], "")
    for answers.body, answers.status in (
        (b"<html>", 200),
        (b"", 200),
        (b" \n", 200),
        (b"", 503),
        (b"[]", 200),
        (b'{"customer": {"a": 1}}', 200),
        (b"{}", 200),
        (b"# nothing", 200),
        (b'{"a":' * 100_000, 200),
    ):
        copy = source.read()
        assert copy.catalog.customers() == ["acme"]
        assert copy.reason and 0 <= copy.age < 60
    later = catalog_source(url, cache=tmp_path)
    assert later.read().catalog.customers() == ["acme"]
    answers.body, answers.status = b'{"customer": {"globex": {}}}', 200
    assert later.read().catalog.customers() == ["globex"]


def test_catalog_source_sends_its_token_to_no_other_address(
    tmp_path: Path, server: tuple[type[_Answers], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect is no answer: it may lead anywhere."""
    answers, url = server
    monkeypatch.setenv("VORTEX_LOADER_CATALOG_TOKEN", " s3cr3t\n")
    answers.tokens, answers.status, answers.location = [], 302, url + "?elsewhere"
    with pytest.raises(LoaderError, match=r"/v1/catalog: it answers 302, and there is no earlier copy"):
        catalog_source(url, cache=tmp_path).read()
    assert answers.tokens == ["Bearer s3cr3t"]


@pytest.mark.parametrize(
    ("address", "token", "message"),
    [
        ("http://ada:s3cr3t@127.0.0.1:1/v1/catalog?key=s3cr3t", "", "http://127.0.0.1:1/v1/catalog: "),
        ("http://127.0.0.1:s3cr3t/", "", "http://127.0.0.1:s"),
        ("http://[s3cr3t/x", "", "http://…: "),
        ("http://127.0.0.1:1", "s3cr\n3t", "VORTEX_LOADER_CATALOG_TOKEN holds"),
        ("http://127.0.0.1:1", "s3cr3t é", "VORTEX_LOADER_CATALOG_TOKEN holds"),
    ],
)
def test_errors_of_the_catalogue_have_no_secret(
    address: str, token: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place for a port is none for a password."""
    monkeypatch.setenv("VORTEX_LOADER_CATALOG_TOKEN", token)
    with pytest.raises(LoaderError) as caught:
        catalog_source(address, cache=tmp_path).read()
    assert str(caught.value).startswith(message)
    assert "cr3t" not in str(caught.value).replace("127.0.0.1:s3cr3t", "")


def test_catalog_source_reads_a_file_or_an_s3_key_again_each_time(tmp_path: Path) -> None:
    path = tmp_path / "catalog.toml"
    path.write_bytes(TOML)
    assert catalog_source(str(path)).read().catalog.customers() == ["acme", "wayne/retail"]
    path.write_bytes(b"version = 1")
    assert catalog_source(path.as_uri()).read().catalog.customers() == []
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "t")
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        source = catalog_source("s3://bucket/a/catalog.toml", region="us-east-1")
        with pytest.raises(LoaderError, match=r"s3://bucket/a/catalog\.toml is not there"):
            source.read()
        client.put_object(Bucket="bucket", Key="a/catalog.toml", Body=TOML)
        assert source.read().catalog.customers() == ["acme", "wayne/retail"]


def test_catalog_source_takes_no_half_of_an_answer(tmp_path: Path) -> None:
    """Half of a TOML document is one, too, with fewer customers."""

    class Half(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "99")
            self.end_headers()
            self.wfile.write(b"[customer.acme]\n")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Half) as httpd:
        thread = threading.Thread(target=httpd.handle_request)
        thread.start()
        with pytest.raises(LoaderError, match="the answer ended before its end, and there is no earlier copy"):
            catalog_source(f"http://127.0.0.1:{httpd.server_port}/c.toml", cache=tmp_path).read()
        thread.join()
