"""Closed hours from a folder and from S3: what the manifests say, and the error when they are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import boto3
import pytest
from moto import mock_aws

from tests.loader.stores import hour, page, publish
from vortex.core.compression import Compression
from vortex_loader.model import LoaderError, Missing, NotClosed, Passing, StoredObject
from vortex_loader.store import Bucket, Store, open_store

EVENTS = [page(n) for n in range(7)]


@pytest.fixture(
    params=[(place, kind, bundled) for place in ("folder", "s3") for kind in Compression for bundled in (False, True)]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store with one closed hour, in either compression, with and without bundles."""
    partitions = {("acme", "page"): EVENTS, ("wayne/retail", "注文 completed"): EVENTS[:3]}
    place, kind, bundled = request.param
    publish(tmp_path, hour(0), partitions, rejected=2, compression=kind, bundled=bundled)
    if place == "folder":
        yield open_store(str(tmp_path))
        return
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t")
        client.create_bucket(Bucket="bucket")
        for path in tmp_path.rglob("*"):
            if path.is_file():
                client.put_object(Bucket="bucket", Key=f"pre/fix/{path.relative_to(tmp_path)}", Body=path.read_bytes())
        yield Store(Bucket("s3://bucket/pre/fix/", client))


def test_store_hour_returns_the_partitions_of_its_manifest(store: Store) -> None:
    assert store.closed(hour(0)) and not store.closed(hour(1))
    found = store.hour(hour(0))
    assert [(part.customer, part.event_type, part.rows, part.hour) for part in found.partitions] == [
        ("acme", "page", 7, hour(0)),
        ("wayne/retail", "注文 completed", 3, hour(0)),
    ]
    assert found.rejected == 2
    lines = [
        [
            json.loads(line)
            for stored in store.objects(part)
            for block in store.blocks(stored)
            for line in block.splitlines()
        ]
        for part in found.partitions
    ]
    assert lines == [EVENTS, EVENTS[:3]]


def test_store_hour_raises_not_closed_without_a_manifest(store: Store) -> None:
    with pytest.raises(
        NotClosed, match=r"2026-11-29T10 is not closed: .*/_hours/date=2026-11-29/hour=10/manifest.json"
    ):
        store.hour(hour(1))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"version": 2, "compression": "lz4"}',
        b'{"version": 1, "hour": "2026-11-29T10:00:00Z"}',
        b'{"version": 1}',
        b"\xff",
    ],
)
def test_store_hour_names_an_invalid_manifest(tmp_path: Path, body: bytes) -> None:
    publish(tmp_path, hour(0), {})
    path = tmp_path / "_hours/date=2026-11-29/hour=09/manifest.json"
    path.write_bytes(body)
    with pytest.raises(LoaderError, match=r"hour=09/manifest\.json cannot be read"):
        open_store(str(tmp_path)).hour(hour(0))


@pytest.mark.parametrize("version", [0, 4])
def test_store_hour_says_what_to_run_when_the_manifest_has_another_version(tmp_path: Path, version: int) -> None:
    publish(tmp_path, hour(0), {})
    path = tmp_path / "_hours/date=2026-11-29/hour=09/manifest.json"
    path.write_text(json.dumps({"version": version}))
    message = rf"hour=09/manifest\.json: format version {version}; this loader reads up to 3; run"
    with pytest.raises(LoaderError, match=message):
        open_store(str(tmp_path)).hour(hour(0))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda body: body[:-9], "not a complete KIND file|bytes; its manifest says"),
        (lambda body: body + b"more", "not a complete KIND file|bytes; its manifest says"),
        (lambda body: b"x" * len(body), "not a complete KIND file"),
        (lambda body: body[:40] + bytes([body[40] ^ 255]) + body[41:], "not a complete KIND file"),
        (lambda body: b"", "not a complete KIND file|bytes; its manifest says"),
    ],
)
@pytest.mark.parametrize("kind", Compression)
def test_store_blocks_names_a_damaged_object(tmp_path: Path, damage: object, message: str, kind: Compression) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): EVENTS}, objects=1, compression=kind)
    path = next((tmp_path / "customer=acme").rglob(f"*{kind.ending}"))
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    store = open_store(tmp_path.as_uri())
    (part,) = store.hour(hour(0)).partitions
    (stored,) = store.objects(part)
    with pytest.raises(LoaderError, match=f"0900-000{kind.ending}.*({message.replace('KIND', kind)})"):
        list(store.blocks(stored))


def test_store_blocks_raises_missing_when_the_object_does_not_exist(tmp_path: Path) -> None:
    publish(tmp_path, hour(0), {("acme", "page"): EVENTS}, objects=1)
    next((tmp_path / "customer=acme").rglob("*.gz")).unlink()
    store = open_store(str(tmp_path))
    (part,) = store.hour(hour(0)).partitions
    with pytest.raises(Missing, match="is not there"):
        list(store.blocks(store.objects(part)[0]))


def test_store_blocks_are_whole_lines_of_any_length(tmp_path: Path) -> None:
    events = [{"n": n, "blob": "x" * size} for n, size in enumerate([10, 3_000_000, 5, 1_100_000, 1])]
    publish(tmp_path, hour(0), {("acme", "page"): events}, objects=1)
    store = open_store(str(tmp_path))
    (part,) = store.hour(hour(0)).partitions
    blocks = list(store.blocks(store.objects(part)[0]))
    assert all(block.endswith(b"\n") for block in blocks)
    assert sum(block.count(b"\n") for block in blocks) == 5


def test_store_distinguishes_denied_from_temporary_failures() -> None:
    """A missing key answers 403 without permission to list; the message says so."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t")
        store = Store(Bucket("s3://bucket/p", client))
        for code, kind, message in (
            ("AccessDenied", LoaderError, "deploy/iam/loader.json"),
            ("SlowDown", Passing, "SlowDown"),
            ("InternalError", Passing, "InternalError"),
        ):
            error = client.exceptions.ClientError({"Error": {"Code": code}}, "GetObject")
            with patch.object(client, "get_object", side_effect=error), pytest.raises(kind, match=message):
                store.hour(hour(0))


def test_open_store_refuses_unknown_addresses() -> None:
    with pytest.raises(LoaderError, match="a store is s3://bucket/prefix"):
        open_store("gs://bucket/x")


def test_folder_is_refused_where_names_of_files_are_not_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "iso8859-1")
    with pytest.raises(LoaderError, match=r"iso8859-1.*set PYTHONUTF8=1"):
        open_store(str(tmp_path))


@pytest.mark.parametrize("place", [{"endpoint_url": "no address"}, {"region": "no such"}])
def test_open_store_names_the_option_when_the_address_of_s3_is_invalid(place: dict[str, str]) -> None:
    with pytest.raises(LoaderError, match="S3: --endpoint-url or --region cannot be read"):
        open_store("s3://bucket/x", **place)  # type: ignore[arg-type]


def _bundled(tmp_path: Path) -> tuple[Path, Store, list[StoredObject]]:
    """A store with a bundle of two partitions, and the files of the first."""
    publish(tmp_path, hour(0), {("acme", "page"): EVENTS, ("acme", "track"): EVENTS}, objects=1, bundled=True)
    (bundle,) = (tmp_path / "_bundles").rglob("*.json.gz")
    store = open_store(str(tmp_path))
    return bundle, store, store.objects(store.hour(hour(0)).partitions[0])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda body: body[:40], "not a complete gzip file"),
        (lambda body: b"x" * len(body), "not a complete gzip file"),
        (lambda body: body[:40] + bytes([body[40] ^ 255]) + body[41:], "not a complete gzip file"),
    ],
)
def test_store_blocks_names_a_damaged_part_of_a_bundle(tmp_path: Path, damage: object, message: str) -> None:
    bundle, store, files = _bundled(tmp_path)
    bundle.write_bytes(damage(bundle.read_bytes()))  # type: ignore[operator]
    with pytest.raises(LoaderError, match=rf"_bundles/.*/0900-000-000\.json\.gz bytes 0\+\d+ .*{message}"):
        list(store.blocks(files[0]))


def _second_in_s3(tmp_path: Path, damage: Callable[[bytes], bytes] = bytes) -> tuple[Store, StoredObject]:
    """A store in S3, and the second partition's part of its bundle."""
    bundle, store, _ = _bundled(tmp_path)
    (stored,) = store.objects(store.hour(hour(0)).partitions[1])
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t")
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key=f"p/{stored.key}", Body=damage(bundle.read_bytes()))
    return Store(Bucket("s3://bucket/p", client)), stored


def test_store_blocks_does_not_try_a_bundle_again_that_ends_before_the_partition(tmp_path: Path) -> None:
    """No later call would find more: objects never change."""
    with mock_aws():
        store, stored = _second_in_s3(tmp_path, lambda body: body[:40])
        with pytest.raises(LoaderError, match=r"0900-000-000\.json\.gz ends before bytes=\d+-\d+") as caught:
            list(store.blocks(stored))
        assert not isinstance(caught.value, Passing)


def test_store_blocks_refuses_the_whole_bundle_where_ranges_are_ignored(tmp_path: Path) -> None:
    """Its first bytes are another partition's lines."""
    with mock_aws():
        store, stored = _second_in_s3(tmp_path)
        assert b"".join(store.blocks(stored)).count(b"\n") == len(EVENTS)
        assert isinstance(store.files, Bucket)
        whole = store.files._client.get_object

        def ignoring(**options: str) -> object:
            return whole(**{name: value for name, value in options.items() if name != "Range"})

        with (
            patch.object(store.files._client, "get_object", ignoring),
            pytest.raises(LoaderError, match="ignores ranges"),
        ):
            list(store.blocks(stored))


@pytest.mark.parametrize(
    "row", [{}, {"files": [{}]}, {"files": [{"key": "k", "offset": "x", "bytes": 1}]}, {"files": 1}]
)
def test_store_hour_names_a_manifest_that_does_not_say_where_a_partition_is(tmp_path: Path, row: object) -> None:
    """A row without files and without a manifest would load nothing."""
    publish(tmp_path, hour(0), {("acme", "page"): EVENTS}, bundled=True)
    path = tmp_path / "_hours/date=2026-11-29/hour=09/manifest.json"
    document = json.loads(path.read_bytes())
    del document["partitions"][0]["files"]
    document["partitions"][0] |= row
    path.write_text(json.dumps(document))
    with pytest.raises(LoaderError, match=r"hour=09/manifest\.json cannot be read"):
        open_store(str(tmp_path)).hour(hour(0))
