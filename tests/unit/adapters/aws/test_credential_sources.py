"""The search for credentials: files, profiles, threads and memory."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faultproxy import FaultProxy
from tests.unit.adapters.aws.searching import SECRET, always, failure, found, keys, of_identity, write
from vortex.adapters.aws import credential_sources as sources
from vortex.adapters.aws.bounded_replies import BoundedSession
from vortex.adapters.aws.credential_sources import SourceFailed, Sources

pytestmark = pytest.mark.usefixtures("no_source")


def sessions() -> int:
    return sum(isinstance(each, BoundedSession) for each in gc.get_objects())


@pytest.fixture
def rare_collections() -> Iterator[None]:
    """No collection of garbage, as in a worker for a long time."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_find_leaves_no_session_in_memory_when_it_finds_credentials(
    rare_collections: None, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each would hold 4 to 8 MiB until garbage is collected, which a worker does rarely."""
    of_identity(proxy, monkeypatch, tmp_path / "token")
    assert found().frozen.access_key
    assert sessions() == 0


def test_find_leaves_no_session_in_memory_when_a_source_fails(
    rare_collections: None,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Not even while the failure is kept, as `Credentials` keeps the last one."""
    of_identity(proxy, monkeypatch, tmp_path / "token")
    proxy.choose = always("idp_silent")
    caplog.set_level(logging.CRITICAL, "botocore")  # pytest keeps the records, with their tracebacks
    kept = failure()
    assert sessions() == 0
    assert kept.reason


def test_find_names_all_places_when_there_are_no_credentials(tmp_path: Path) -> None:
    message = str(failure())
    assert message.startswith("environment, profile default (in ")
    assert str(tmp_path / "credentials") in message and "instance metadata service" in message


def test_find_reads_a_credentials_file_again_when_it_appears_or_changes(tmp_path: Path) -> None:
    """`files()` shows the change."""
    chain = Sources(None)
    with pytest.raises(SourceFailed):
        chain.find()
    before = chain.files()
    write(tmp_path / "credentials", **keys("AK1"))
    assert chain.files() != before
    one = chain.find()
    assert (one.frozen.access_key, one.expires) == ("AK1", None)
    assert one.source == f"profile default in {tmp_path / 'credentials'}"
    before = chain.files()
    write(tmp_path / "credentials", **keys("AK2"))
    assert chain.files() != before
    assert chain.find().frozen.access_key == "AK2"


def test_find_reads_the_section_of_the_profile_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_PROFILE stays; the section changes."""
    monkeypatch.setenv("AWS_PROFILE", "night")
    assert "profile (night) could not be found" in str(failure())
    write(tmp_path / "config", "night", region="eu-west-1", **keys("AK1"))
    assert found().source == f"profile night in {tmp_path / 'config'}"
    write(tmp_path / "config", "night", region="eu-west-1", **keys("AK2"))
    assert found().frozen.access_key == "AK2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[default\naws_access_key_id = AK", "Unable to parse config file"),
        (b"\xff\xfe\0[", "Unable to parse config file"),
        (b"[default]\naws_access_key_id = AK\n", "Partial credentials"),
        (b"[default]\naws_access_key_id = A K\naws_secret_access_key = " + SECRET.encode(), "invalid characters"),
        (b"", "none found"),
    ],
    ids=["truncated", "binary", "half", "invalid", "empty"],
)
def test_find_fails_when_the_credentials_file_is_broken(tmp_path: Path, text: bytes, message: str) -> None:
    """It may be in the middle of being written."""
    (tmp_path / "credentials").write_bytes(text)
    assert message in str(failure())


def test_find_fails_when_the_profile_needs_an_mfa_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Botocore would read it from standard input, which a service does not have."""
    role = {"role_arn": "arn:aws:iam::1:role/r", "source_profile": "default", "mfa_serial": "arn:aws:iam::1:mfa/m"}
    write(tmp_path / "config", "night", **role)
    write(tmp_path / "credentials", **keys("AK"))
    monkeypatch.setenv("AWS_PROFILE", "night")
    assert "mfa_serial" in str(failure())


def test_find_names_the_login_command_when_the_sso_token_has_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message contains nothing of the token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    session = {"sso_start_url": "https://x.awsapps.com/start", "sso_region": "us-east-1"}
    write(tmp_path / "config", "night", **session, sso_account_id="123456789012", sso_role_name="r")
    monkeypatch.setenv("AWS_PROFILE", "night")
    problem = failure()
    assert str(problem) == "sso of profile night: its token has expired, or is missing"
    assert "aws sso login" in problem.hint


def test_in_thread_refuses_to_start_when_many_earlier_threads_hang() -> None:
    """Each that a source never ends holds memory. It works again when they have ended."""
    ends = threading.Event()

    async def story() -> None:
        hanging = [asyncio.ensure_future(sources.in_thread(ends.wait)) for _ in range(sources._MOST_THREADS)]
        await asyncio.sleep(0)
        with pytest.raises(SourceFailed, match="earlier searches still hang"):
            await sources.in_thread(str)
        ends.set()
        await asyncio.gather(*hanging)
        for thread in threading.enumerate():
            if thread.name == "vortex-credentials":
                thread.join()
        assert await sources.in_thread(str) == ""

    asyncio.run(story())


def test_in_thread_does_not_block_the_loop() -> None:
    async def longest_gap() -> float:
        longest, last = 0.0, time.monotonic()
        asking = asyncio.ensure_future(sources.in_thread(time.sleep, 0.5))
        while not asking.done():
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        return longest

    assert asyncio.run(longest_gap()) < 0.4


async def test_in_thread_raises_the_exception_of_the_function() -> None:
    with pytest.raises(ZeroDivisionError):
        await sources.in_thread(lambda: 1 / 0)
