"""Clients from settings: the region, the bucket and the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.loaders import Loader
from botocore.session import Session as BotocoreSession

from simulation import vtime
from vortex.config.loading import ConfigError, load
from vortex.config.settings import Settings
from vortex.runtime.environment import open_environment
from vortex.runtime.factories import aws_session, open_lease_table, open_store, open_stream

POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/clicks"


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The required settings, without a region in the environment."""
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    names = {"SOURCE__STREAM": "s", "STORE__URL": "s3://bucket/p"}
    names |= {f"EVENT__{name}": name for name in ("CUSTOMER", "TYPE", "ID", "TIME")}
    return {f"VORTEX_{name}": value for name, value in names.items()}


async def regions(settings: Settings) -> tuple[str, str]:
    """The regions of the stream's client and of the store's client."""
    stream: Any
    store: Any
    async with open_stream(settings) as stream, open_store(settings) as store:
        return stream._client.meta.region_name, store._client.meta.region_name


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"AWS_REGION": "eu-west-3"}, ("eu-west-3", "eu-west-3")),
        ({"AWS_DEFAULT_REGION": "eu-west-3"}, ("eu-west-3", "eu-west-3")),
        ({"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "us-east-1"}, ("eu-west-3", "eu-west-3")),
        ({"AWS_REGION": "eu-west-3", "VORTEX_SOURCE__REGION": "us-east-2"}, ("us-east-2", "us-east-2")),
        ({"VORTEX_SOURCE__REGION": "us-east-2", "VORTEX_STORE__REGION": "eu-west-1"}, ("us-east-2", "eu-west-1")),
        ({"AWS_REGION": "eu-west-3", "VORTEX_STORE__URL": f"s3://{POINT}/p"}, ("eu-west-3", "eu-west-1")),
        (
            {"AWS_REGION": "eu-west-3", "VORTEX_SOURCE__STREAM": f"arn:aws:kinesis:us-west-2:{'1' * 12}:stream/s"},
            ("us-west-2", "eu-west-3"),
        ),
    ],
)
async def test_region_comes_from_the_setting_then_the_arn_then_aws_region(
    variables: dict[str, str], found: tuple[str, str], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then from what botocore reads itself."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert await regions(load(None, {**environ, **variables})) == found


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("s3://bucket/pre/fix", "bucket.s3.amazonaws.com", "/pre/fix/k"),
        (f"s3://{POINT}/pre/fix/", "clicks-123456789012.s3-accesspoint.eu-west-1.amazonaws.com", "/pre/fix/k"),
        (f"s3://{POINT}", "clicks-123456789012.s3-accesspoint.eu-west-1.amazonaws.com", "/k"),
    ],
)
async def test_store_calls_an_access_point_at_its_own_host(
    url: str, host: str, path: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prefix follows the access point in the URL."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    store: Any
    async with open_store(load(None, {**environ, "VORTEX_STORE__URL": url})) as store:
        assert store.url == url.rstrip("/")
        where = {"Bucket": store._bucket, "Key": f"{store._prefix}k"}
        asked = urlsplit(await store._client.generate_presigned_url("get_object", Params=where))
    assert (asked.netloc, asked.path) == (host, path)


async def test_folders_whose_names_differ_after_a_hash_sign_are_separate_stores(
    environ: dict[str, str], tmp_path: Path
) -> None:
    found = []
    for name in ("a#1", "a#2", "a"):
        url = (tmp_path / name).as_uri()
        async with open_store(load(None, {**environ, "VORTEX_STORE__URL": url})) as store:
            assert store.url == url
            assert await store.put_if_absent("k", name.encode())
            found.append(await store.get("k"))
    assert found == [b"a#1", b"a#2", b"a"]


async def test_store_on_disk_is_refused_where_names_of_files_are_not_utf_8(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python could not write them: a customer `é` would end the worker."""
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "iso8859-1")
    settings = load(None, environ | {"VORTEX_STORE__URL": tmp_path.as_uri()})
    with pytest.raises(ConfigError, match=r"store.url.*iso8859-1.*PYTHONUTF8=1"):
        async with open_store(settings):
            pass


async def test_clients_start_with_two_sets_of_handlers_and_no_search_for_services(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clients share one session; another searches for credentials. Each set takes botocore 15 ms."""
    sets = 0
    register = BotocoreSession._register_builtin_handlers

    def counted(session: Any, events: Any) -> None:
        nonlocal sets
        sets += 1
        register(session, events)

    def searched(loader: Any, kind: str) -> None:
        raise AssertionError(f"a search for all services with {kind}")

    monkeypatch.setattr(BotocoreSession, "_register_builtin_handlers", counted)
    monkeypatch.setattr(Loader, "list_available_services", searched)
    settings = load(None, {**environ, "VORTEX_SOURCE__REGION": "eu-west-1"})
    session = aws_session(settings)
    async with (
        open_stream(settings, session),
        open_store(settings, session),
        open_lease_table(settings, session),
    ):
        assert sets == 2


async def test_trim_frees_the_buffers_of_replies_when_the_heap_is_given_back(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are up to 48 MiB that publishing a large plan can use."""
    given_back: list[str] = []
    monkeypatch.setattr("vortex.runtime.environment.trim", lambda: given_back.append("heap"))
    settings = load(None, {**environ, "VORTEX_SOURCE__REGION": "eu-west-1"})
    async with open_environment(settings, vtime.NullMeter()) as env:
        stream: Any = env.stream
        spare = stream._stream._get_records._spare
        spare.append(bytearray(1))
        env.trim()
    assert (spare, given_back) == ([], ["heap"])
