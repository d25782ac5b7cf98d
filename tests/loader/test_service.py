"""The catalogue service: what anyone can read, what writers can change, and what the loader then reads."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from tests.loader.serving import serving
from vortex_loader import catalog_commands
from vortex_loader.catalog import Catalog, Document
from vortex_loader.cli import main
from vortex_loader.service.api import make_app
from vortex_loader.service.database import Database
from vortex_loader.sources import FileSource


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    opened = Database(tmp_path / "data" / "catalog.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def client(database: Database) -> Iterator[TestClient]:
    """A client with a token."""
    token = database.add_token("ada")
    with TestClient(make_app(database), headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def catalog(client: TestClient) -> Catalog:
    """The catalogue as the loader reads it."""
    return Catalog(Document.model_validate(client.get("/v1/catalog").json()))


def test_put_event_makes_an_event_wanted_until_it_is_deleted(client: TestClient) -> None:
    names = {"customer": "wayne/retail é", "event": "Order Completed?&"}
    assert client.put("/v1/events", params=names, json={"table": "orders"}).status_code == 204
    assert client.put("/v1/events", params={"customer": "acme", "event": "page"}).status_code == 204
    found = catalog(client)
    assert found.customers() == ["acme", "wayne/retail é"]
    assert found.wanted("wayne/retail é", "Order Completed?&")
    assert found.target("wayne/retail é", "Order Completed?&").table == "orders"
    assert not found.wanted("acme", "identify")
    assert client.delete("/v1/events", params=names).status_code == 204
    assert not catalog(client).wanted("wayne/retail é", "Order Completed?&")
    assert client.delete("/v1/events", params=names).status_code == 404
    changes = client.get("/v1/changes").json()
    assert [(one["who"], one["what"].split(" ")[0]) for one in changes] == [("ada", "event")] * 3


def test_put_customer_and_put_default_set_rules(client: TestClient) -> None:
    client.put("/v1/default", json={"flatten": ["properties", "context"]})
    client.put(
        "/v1/customers", params={"customer": "acme"}, json={"events": "all", "schema": "shop", "drop": ["context.ip"]}
    )
    found = catalog(client)
    assert found.wanted("acme", "anything")
    target = found.target("acme", "anything")
    assert (target.schema, target.flatten, target.drop) == (
        "shop",
        (("properties",), ("context",)),
        (("context", "ip"),),
    )
    assert client.delete("/v1/customers", params={"customer": "acme"}).status_code == 204
    assert catalog(client).customers() == []


@pytest.mark.parametrize(
    ("path", "names", "rules", "message"),
    [
        ("/v1/events", {"customer": "a", "event": "x"}, {"table": "No!"}, "customer.a.event.x.table"),
        ("/v1/events", {"customer": "a", "event": "x"}, {"tablee": "t"}, "customer.a.event.x.tablee"),
        ("/v1/customers", {"customer": "a"}, {"events": 7}, "customer.a.events"),
        ("/v1/default", {}, {"schema": "s"}, "a schema belongs to a customer"),
        ("/v1/events", {"customer": "a", "event": ""}, {}, "at least 1 character"),
    ],
)
def test_put_changes_nothing_when_the_rules_are_invalid(
    client: TestClient, path: str, names: dict[str, str], rules: dict[str, object], message: str
) -> None:
    before = client.get("/v1/catalog")
    reply = client.put(path, params=names, json=rules)
    assert reply.status_code == 422
    assert message in json.dumps(reply.json())
    after = client.get("/v1/catalog")
    assert (after.json(), after.headers["ETag"]) == (before.json(), before.headers["ETag"])


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic YTpi", "bearer "])
def test_writing_needs_a_valid_token_and_reading_needs_none(database: Database, authorization: str | None) -> None:
    database.add_token("ada")
    headers = {} if authorization is None else {"Authorization": authorization}
    with TestClient(make_app(database), headers=headers) as anonymous:
        for method in ("PUT", "DELETE"):
            for path in ("/v1/events", "/v1/customers", "/v1/default"):
                names = {"customer": "a", "event": "b"}
                reply = anonymous.request(method, path, params=names, json={} if method == "PUT" else None)
                assert reply.status_code in (401, 405)
                assert reply.status_code == 401 or (method, path) == ("DELETE", "/v1/default")
        assert anonymous.get("/v1/catalog").json()["customer"] == {}


def test_body_of_more_than_a_mebibyte_is_refused_before_it_is_read(client: TestClient, database: Database) -> None:
    """With a token or without, with a length or in pieces."""
    names = {"customer": "acme", "event": "page"}

    def body() -> Iterator[bytes]:
        yield from [b" " * 65_536] * 64

    assert client.put("/v1/events", params=names, content=body()).status_code == 413
    assert client.put("/v1/events", params=names, content=b" " * (2 << 20)).status_code == 413
    assert client.put("/v1/events", params=names, content=body(), headers={"Authorization": ""}).status_code == 413
    assert database.revision() == 0
    assert client.put("/v1/events", params=names, json={}).status_code == 204


def test_token_is_invalid_after_it_is_replaced_or_removed(database: Database) -> None:
    first = database.add_token("ada")
    second = database.add_token("ada")
    assert (database.writer(first), database.writer(second)) == (None, "ada")
    assert database.remove_token("ada")
    assert database.writer(second) is None
    assert not database.remove_token("ada")


def test_get_catalog_answers_304_when_it_is_unchanged(client: TestClient) -> None:
    tag = client.get("/v1/catalog").headers["ETag"]
    assert client.get("/v1/catalog", headers={"If-None-Match": tag}).status_code == 304
    client.put("/v1/events", params={"customer": "a", "event": "b"})
    assert client.get("/v1/catalog", headers={"If-None-Match": tag}).status_code == 200


def test_service_serves_its_openapi_document_and_a_page_with_a_script_policy(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/v1/catalog", "/v1/changes", "/v1/default", "/v1/customers", "/v1/events"}
    page = client.get("/")
    assert page.status_code == 200 and "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "innerHTML" not in client.get("/page.js").text
    assert client.get("/page.css").status_code == 200


def test_database_keeps_its_changes_after_a_restart(tmp_path: Path) -> None:
    for number in range(3):
        opened = Database(tmp_path / "catalog.sqlite")
        assert opened.revision() == number
        opened.put_event("ada", "acme", f"event {number}", {})
        opened.close()


def test_database_keeps_every_change_of_concurrent_writers(database: Database) -> None:
    threads = [
        threading.Thread(target=database.put_event, args=("ada", f"c{n % 3}", f"event {n}", {})) for n in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(rules["events"]) for rules in database.document()["customer"].values()) == 24
    assert database.revision() == 24


@pytest.fixture
def served(database: Database) -> Iterator[str]:
    """The service on a port."""
    with serving(database) as address:
        yield address


def test_catalog_commands_change_the_catalogue_of_the_service(
    served: str, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = CliRunner().invoke
    refused = run(main, ["catalog", "add", "--catalog", served, "acme", "page"])
    assert refused.exit_code == 1 and "does not hold a valid token" in refused.output
    monkeypatch.setenv("VORTEX_LOADER_CATALOG_TOKEN", database.add_token("ci"))
    added = run(main, ["catalog", "add", "--catalog", served, "acme", "Order Completed", "--table", "orders"])
    assert (added.exit_code, added.output) == (
        0,
        "'acme' 'Order Completed' is loaded from the next hour on; `vortex-loader backfill` loads earlier hours\n",
    )
    shown = json.loads(run(main, ["catalog", "show", "--catalog", served]).output)
    assert shown["customer"]["acme"] == {
        "events": ["Order Completed"],
        "event": {"Order Completed": {"table": "orders"}},
    }
    removed = run(main, ["catalog", "remove", "--catalog", served, "acme", "Order Completed"])
    assert (removed.exit_code, removed.output) == (
        0,
        "'acme' 'Order Completed' is not loaded any more; what is loaded stays\n",
    )
    assert "1 customer" in run(main, ["catalog", "check", "--catalog", served]).output
    missing = run(main, ["catalog", "remove", "--catalog", served, "acme", "x"])
    assert missing.exit_code == 1 and "404" in missing.output


def test_catalog_check_names_the_service_when_only_its_last_copy_is_there(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with serving(database) as address:
        assert CliRunner().invoke(main, ["catalog", "check", "--catalog", address]).exit_code == 0
    done = CliRunner().invoke(main, ["catalog", "check", "--catalog", address])
    assert done.exit_code == 5
    assert re.search(rf"^{address}: .*; the last good copy is \d+ s old$", done.output, re.MULTILINE)


@pytest.mark.parametrize("command", ["check", "show"])
def test_catalog_command_reads_a_key_of_the_given_s3(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `load` does."""
    asked: list[tuple[str, object]] = []

    def source(address: str, **where: object) -> FileSource:
        asked.append((address, where))
        return FileSource(Path("missing"))

    monkeypatch.setattr(catalog_commands, "catalog_source", source)
    monkeypatch.setenv("VORTEX_LOADER_ENDPOINT_URL", "http://127.0.0.1:9000")
    CliRunner().invoke(main, ["catalog", command, "--catalog", "s3://b/c.toml", "--region", "eu-central-1"])
    assert asked == [("s3://b/c.toml", {"endpoint_url": "http://127.0.0.1:9000", "region": "eu-central-1"})]


@pytest.mark.parametrize(
    "rules",
    [b'{"flatten": ["\\ud800"]}', b'{"event": {"\\ud800": {}}}', b'{"events": ["\\ud800"]}', b'{"drop": ["a\\u0000"]}'],
)
def test_put_refuses_text_that_the_catalogue_could_not_be_read_with(client: TestClient, rules: bytes) -> None:
    """Half a character once made each later answer to anybody a 500."""
    reply = client.put(
        "/v1/customers", params={"customer": "acme"}, content=rules, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 422
    assert "holds half a character" in reply.text or "holds U+0000" in reply.text
    assert client.get("/v1/catalog").json()["customer"] == {}
