"""Container endpoint, instance metadata and STS, working or failing: what is found, and that no secret leaks."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.faultproxy import FaultProxy, no_fault
from tests.faults import FAULTS
from tests.issuer import Issuer
from tests.unit.adapters.aws.searching import (
    always,
    failure,
    found,
    keys,
    of_container,
    of_identity,
    of_instance,
    write,
)
from vortex.adapters.aws.credential_sources import SourceFailed, Sources

pytestmark = pytest.mark.usefixtures("no_source")

SLOW = {"silence", "silence_after", "silence_midway", "slow", "endless", "trickle"}


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
            assert 0 < len(one.frozen.token or "") < 20_000, name
    assert time.monotonic() - begun < 120
