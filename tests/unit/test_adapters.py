"""The edges of the store adapters: what goes wrong on disks and in AWS, and what it means to the caller."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from vortex.adapters.aws import new_session, translate
from vortex.adapters.localdir import LocalDirStore
from vortex.ports import Denied, InvalidPosition, IteratorExpired, NotFound, PortError, Unavailable


async def test_a_full_disk_is_waited_for_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unavailable: the same bytes are put again later; no part of a file is ever seen."""
    store = LocalDirStore(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="the disk is full") as caught:
        await store.put_if_absent("a/b", b"x" * 100)
    assert caught.value.cause == "disk_full"
    monkeypatch.undo()
    assert [info async for info in store.list("")] == []
    assert list((tmp_path / "a").iterdir()) == []
    assert await store.put_if_absent("a/b", b"y")


async def test_a_folder_without_permission_is_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said with what to do."""

    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "folder")

    monkeypatch.setattr(os, "link", forbidden)
    with pytest.raises(Denied, match="check owner and permissions"):
        await LocalDirStore(tmp_path).put_if_absent("a", b"x")


async def test_what_a_crash_left_is_never_listed(tmp_path: Path) -> None:
    """A temporary file is no object."""
    store = LocalDirStore(tmp_path)
    await store.put_if_absent("a/b", b"x")
    (tmp_path / "a" / ".tmp-0123").write_bytes(b"half")
    assert [info.key async for info in store.list("")] == ["a/b"]


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/x", "a//b", "", ".", "a/.", "a\0b", "a/.tmp-x"])
async def test_no_key_leaves_the_root(tmp_path: Path, key: str) -> None:
    """Such a key is a bug of the caller."""
    with pytest.raises(ValueError, match="no key"):
        await LocalDirStore(tmp_path / "root").put_if_absent(key, b"x")


def reply(code: str, status: int = 400) -> ClientError:
    """An error reply of AWS."""
    return ClientError(
        {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Call",
    )


@pytest.mark.parametrize(
    ("error", "meaning", "cause"),
    [
        (reply("ProvisionedThroughputExceededException"), Unavailable, "throttled"),
        (reply("SlowDown", 503), Unavailable, "throttled"),
        (reply("ConditionalRequestConflict", 409), Unavailable, "conflict"),
        (reply("ExpiredTokenException"), Unavailable, "credentials"),
        (reply("KMSThrottlingException"), Unavailable, "kms"),
        (reply("TransactionConflictException"), Unavailable, "conflict"),
        (reply("RequestLimitExceeded"), Unavailable, "throttled"),
        (reply("InternalServerError", 500), Unavailable, "server"),
        (reply("ValidationException"), Denied, ""),
        (reply("InternalFailure", 500), Unavailable, "server"),
        (reply("SomethingNew", 400), Unavailable, "other"),
        (ReadTimeoutError(endpoint_url="u", error="e"), Unavailable, "timeout"),
        (EndpointConnectionError(endpoint_url="u"), Unavailable, "connection"),
        (ConnectionResetError("reset"), Unavailable, "connection"),
        (reply("AccessDenied", 403), Denied, ""),
        (reply("NoSuchBucket", 404), Denied, ""),
        (reply("ResourceNotFoundException"), Denied, ""),
        (NoCredentialsError(), Denied, ""),
        (reply("NoSuchKey", 404), NotFound, ""),
        (reply("ExpiredIteratorException"), IteratorExpired, ""),
        (reply("InvalidArgumentException"), InvalidPosition, ""),
    ],
)
def test_errors_are_sorted_by_what_the_caller_must_do(error: Exception, meaning: type[PortError], cause: str) -> None:
    """And the message names what the call was about."""
    found = translate(error, "read shard-1")
    assert type(found) is meaning
    assert "read shard-1" in str(found)
    assert getattr(found, "cause", "") == cause


def test_a_bug_is_not_translated() -> None:
    """What is no service's error passes through."""
    with pytest.raises(KeyError):
        translate(KeyError("x"), "read")


@pytest.mark.parametrize(
    "told",
    ["2018-12-18T07:05:09Z", "2018-12-18T07:05:09.000Z", "Tue, 18 Dec 2018 07:05:09 GMT", 1545116709, 1545116709.0],
)
def test_times_in_replies_however_they_are_written(told: object) -> None:
    """As botocore reads them, in a tenth of the time."""
    parser = new_session().get_component("response_parser_factory").create_parser("rest-xml")
    assert parser._timestamp_parser(told) == datetime(2018, 12, 18, 7, 5, 9, tzinfo=UTC)
