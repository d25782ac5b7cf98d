"""Each source of credentials, working or failing: what is found, how a failure is reported, and that no
secret leaks.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.utils import ContainerMetadataFetcher

from tests.faultproxy import FaultProxy, in_thread, no_fault
from tests.faults import FAULTS
from tests.faults.wire import Request
from tests.issuer import CONTAINER, Issuer
from vortex.adapters.aws import credential_sources as sources
from vortex.adapters.aws.bounded_replies import BoundedSession
from vortex.adapters.aws.credential_sources import Found, SourceFailed, Sources

SECRET = "hunter2-hunter2-hunter2"
SLOW = {"silence", "silence_after", "silence_midway", "slow", "endless", "trickle"}


@pytest.fixture(autouse=True)
def no_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No source is configured, and container endpoints are not waited for."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    monkeypatch.setattr(ContainerMetadataFetcher, "TIMEOUT_SECONDS", 0.5)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(life_s=3600)


@pytest.fixture
def proxy(issuer: Issuer) -> Iterator[FaultProxy]:
    proxy = FaultProxy(issuer, hang_s=2)
    with in_thread(proxy):
        yield proxy


def found(**kept: Any) -> Found:
    return Sources("us-east-1").find(**kept)


def failure() -> SourceFailed:
    with pytest.raises(SourceFailed) as caught:
        found()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, (
        "a traceback would print the quoted text"
    )
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def write(path: Path, profile: str = "default", **settings: str) -> None:
    heading = f"profile {profile}" if path.name == "config" and profile != "default" else profile
    path.write_text(f"[{heading}]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))


def keys(key: str) -> dict[str, str]:
    return {"aws_access_key_id": key, "aws_secret_access_key": SECRET}


def sessions() -> int:
    return sum(isinstance(each, BoundedSession) for each in gc.get_objects())


@pytest.fixture
def rare_collections() -> Iterator[None]:
    """No collection of garbage, as in a worker for a long time."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# Memory.


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


# Files.


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


# The credential_process.


def command(tmp_path: Path, body: str) -> str:
    script = tmp_path / "helper.py"
    script.write_text(f"import json, os, subprocess, sys, time\nsecret = {SECRET!r}\n{body}\n")
    return shlex.join([sys.executable, "-I", "-S", str(script)])


def printed(**changes: object) -> str:
    output = {"Version": 1, "AccessKeyId": "AK", "SecretAccessKey": SECRET, "SessionToken": "t", **changes}
    return f"print(json.dumps({ {name: value for name, value in output.items() if value is not None}!r}))"


def test_find_uses_the_output_of_a_credential_process(tmp_path: Path) -> None:
    """Until its expiration; without one they do not expire."""
    until = datetime.now(UTC) + timedelta(minutes=5)
    write(tmp_path / "config", credential_process=command(tmp_path, printed(Expiration=until.isoformat())))
    one = found()
    assert one.expires == pytest.approx(until.timestamp())
    assert (one.source, one.frozen.token) == ("credential_process of profile default", "t")
    write(tmp_path / "config", credential_process=command(tmp_path, printed()))
    assert found().expires is None


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-12:00"])
def test_find_returns_an_expiry_within_the_years_of_a_date(tmp_path: Path, until: str) -> None:
    """Messages show it as a date."""
    write(tmp_path / "config", credential_process=command(tmp_path, printed(Expiration=until)))
    expires = found().expires
    assert expires is not None
    assert str(datetime.fromtimestamp(expires, UTC).year) in ("1970", "9999")


@pytest.mark.parametrize(
    ("account", "kept"),
    [("123456789012", "123456789012"), ("1234", None), ("evil.example/", None), ([1], None), ({"a": 1}, None)],
)
def test_find_leaves_out_an_account_that_is_not_twelve_digits(tmp_path: Path, account: object, kept: object) -> None:
    """It would become part of the host names of endpoints."""
    until = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    write(tmp_path / "config", credential_process=command(tmp_path, printed(AccountId=account, Expiration=until)))
    assert found().frozen.account_id == kept


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print(secret, file=sys.stderr); sys.exit(3)", "the command ended with code 3"),
        ("os.kill(os.getpid(), 9)", "the command ended with code -9"),
        ("print('not json', secret)", "the command printed no JSON"),
        ("print('[' * 100000)", "the command printed no JSON"),
        ("print(json.dumps([secret]))", "the command printed no JSON object"),
        ("sys.stdout.buffer.write(bytes(range(256)))", "the command printed no JSON"),
        ("pass", "the command printed no JSON"),
        ("print('x' * 5_000_000)", "the command prints too much"),
        (printed(Version=2), "the command printed a Version other than 1"),
        (printed(AccessKeyId=None), "the command printed no AccessKeyId"),
        (printed(SecretAccessKey=7), "the command printed no SecretAccessKey"),
        (printed(AccessKeyId="A\nK"), "it returned a key or token with invalid characters"),
        (printed(SessionToken=["t"]), "it returned a key or token with invalid characters"),
        (printed(Expiration="soon"), "its answer is malformed"),
        (printed(Expiration=7), "its answer is malformed"),
    ],
)
def test_find_quotes_nothing_of_a_failing_credential_process(tmp_path: Path, body: str, message: str) -> None:
    """Its output may hold a secret."""
    write(tmp_path / "config", credential_process=command(tmp_path, body))
    assert str(failure()) == f"credential_process of profile default: {message}"


@pytest.mark.parametrize("process", ["/nowhere/at-all", '"unclosed', " ' '"])
def test_find_fails_when_the_credential_process_cannot_be_run(tmp_path: Path, process: str) -> None:
    """A missing command, or an invalid one."""
    write(tmp_path / "config", credential_process=process)
    assert "the command cannot be run" in str(failure())


def test_find_kills_a_hanging_credential_process_of_a_source_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role is assumed with its output, so it has the same time limit."""
    monkeypatch.setattr(sources, "PROCESS_S", 0.5)
    monkeypatch.setenv("AWS_PROFILE", "night")
    (tmp_path / "config").write_text(
        "[profile night]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = day\n"
        f"[profile day]\ncredential_process = {command(tmp_path, 'time.sleep(60)')}\n"
    )
    assert str(failure()) == "role arn:aws:iam::1:role/r of profile night: the command did not end within 0.5 s"


# Endpoints.


def of_container(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", proxy.url + CONTAINER)


def of_instance(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", proxy.url)


def of_identity(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, token: Path) -> None:
    token.write_text(SECRET)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", proxy.url)


def always(name: str) -> Any:
    def choose(request: Request) -> str | None:
        return name if request.call in FAULTS[name].calls else None

    return choose


def test_find_uses_a_container_endpoint(proxy: FaultProxy, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called once. Its path, which may be its only protection, is not in the message."""
    of_container(proxy, monkeypatch)
    one = found()
    assert one.frozen.secret_key in issuer.secrets
    assert one.source == f"container endpoint localhost:{proxy.port}"
    assert proxy.calls == {"ContainerCredentials": 1}


def test_find_calls_the_endpoint_once_for_credentials_that_expire_in_seconds(
    proxy: FaultProxy, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Botocore would renew at once whatever has less than 15 minutes left."""
    issuer.life_s = 5
    of_container(proxy, monkeypatch)
    assert found().expires == pytest.approx(time.time() + 5, abs=2)
    assert proxy.calls == {"ContainerCredentials": 1}


def test_find_calls_the_metadata_service_again_after_a_failure(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_instance(proxy, monkeypatch)
    proxy.choose = always("html_503")
    assert "none found" in str(failure())
    proxy.choose = no_fault
    assert found().source == "instance metadata service"


def test_find_reads_a_web_identity_token_that_appears_late_or_changes(
    proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`files()` includes it."""
    token = tmp_path / "token"
    of_identity(proxy, monkeypatch, token)
    token.unlink()
    chain = Sources("us-east-1")
    with pytest.raises(SourceFailed, match="token: No such file or directory"):
        chain.find()
    before = chain.files()
    token.write_text("another token")
    assert chain.files() != before
    assert chain.find().source == f"web identity token {token}, role arn:aws:iam::123456789012:role/r"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("throttled", "AssumeRoleWithWebIdentity was answered with Throttling (HTTP 400)"),
        ("denied", "AssumeRoleWithWebIdentity was answered with AccessDenied (HTTP 403)"),
        ("expired_token", "AssumeRoleWithWebIdentity was answered with ExpiredTokenException (HTTP 403)"),
        ("idp_silent", "AssumeRoleWithWebIdentity was answered with IDPCommunicationError (HTTP 400)"),
        ("internal", "AssumeRoleWithWebIdentity was answered with InternalFailure (HTTP 500)"),
        ("html_502", "(HTTP 502)"),
        ("html_200", ""),
        ("empty_200", ""),
        ("half_body", ""),
        ("refused", "it cannot be reached"),
        ("junk", "it cannot be reached"),
    ],
)
def test_find_reports_the_error_code_of_sts_and_nothing_of_its_message(
    proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    of_identity(proxy, monkeypatch, tmp_path / "token")
    proxy.choose = always(fault)
    text = str(failure())
    assert message in text
    assert text.startswith(f"web identity token {tmp_path / 'token'}")


def test_find_assumes_a_role_with_the_credentials_of_the_source_profile(
    proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the given region if nothing else names one."""
    write(tmp_path / "credentials", **keys("AK"))
    write(tmp_path / "config", "night", role_arn="arn:aws:iam::1:role/r", source_profile="default")
    monkeypatch.setenv("AWS_PROFILE", "night")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", proxy.url)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert found().source == "role arn:aws:iam::1:role/r of profile night"
    assert proxy.calls == {"AssumeRole": 1}


@pytest.mark.parametrize("endpoint", ["container", "instance"])
def test_find_returns_credentials_or_fails_without_a_secret_for_every_endpoint_fault(
    proxy: FaultProxy, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """All faults of the table (a quarter of them where three requests are made)."""
    of_container(proxy, monkeypatch) if endpoint == "container" else of_instance(proxy, monkeypatch)
    begun, calls = time.monotonic(), {"ContainerCredentials", "ImdsToken", "ImdsRole", "ImdsCredentials"}
    names = [name for name, fault in FAULTS.items() if fault.calls & calls and name not in SLOW]
    assert len(names) > 100
    for name in names if endpoint == "container" else names[::4]:
        proxy.choose = always(name)
        try:
            one = found()
        except SourceFailed as problem:
            message = str(problem)
            assert not any(secret in message for secret in issuer.secrets), (name, message)
            assert "\n" not in message and len(message) < 400, (name, message)
        else:
            assert one.expires is not None, name
            assert json.dumps(one.frozen), name
    assert time.monotonic() - begun < 120
