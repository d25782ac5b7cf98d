"""A credential_process, working or failing: what is found of it, and that no secret leaks."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.adapters.aws.searching import SECRET, failure, found, write
from vortex.adapters.aws import credential_sources as sources

pytestmark = pytest.mark.usefixtures("no_source")


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
