"""Why a source of credentials fails: the message names the source, the setting and what to do, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.adapters.aws.searching import SECRET, failure
from vortex.adapters.aws.credential_sources import Sources

pytestmark = pytest.mark.usefixtures("no_source")

FULL, RELATIVE = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
TOKEN, TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
HERE = "http://127.0.0.1:9/path"
ROLE = "arn:aws:iam::123456789012:role/r"
OF_ROLE = f"[default]\nrole_arn = {ROLE}\nsource_profile = keys\n"
KEYS = f"[profile keys]\naws_access_key_id = AK\naws_secret_access_key = {SECRET}\n"
NO_URL = f"container endpoint ({FULL}): {FULL} is no URL, such as http://HOST:PORT/PATH"


@pytest.mark.parametrize(
    ("content", "role", "message"),
    [
        (b"", ROLE, "the file holds no token: it is empty"),
        (b" \n", ROLE, "the file holds no token: it is empty"),
        (b"x" * 30_000, ROLE, "it cannot be reached"),
        (b"\xff\xfe\0", ROLE, "its file is not UTF-8 text"),
        (SECRET.encode(), "r", "role r: role_arn (AWS_ROLE_ARN): missing, or not a valid value"),
        (SECRET.encode(), "", "role (no AWS_ROLE_ARN or role_arn): "),
        (SECRET.encode(), ROLE + "\nx" + "y" * 5000, "it cannot be reached"),
    ],
)
def test_failure_of_a_web_identity_names_the_setting(
    content: bytes, role: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_bytes(content)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", role)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    said = str(failure())
    assert said.startswith(f"web identity token {tmp_path / 'token'}, role ")
    assert message in said
    assert len(said) < 700


@pytest.mark.parametrize("url", ["foo", "http://", "https:////x", "http://[::1", "http://127.0.0.1:99999"])
def test_failure_names_the_variables_when_the_endpoint_of_sts_is_no_url(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(SECRET)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
    assert "its endpoint is no URL, such as https://HOST; see AWS_ENDPOINT_URL_STS" in str(failure())


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({FULL: "None:"}, NO_URL),
        ({FULL: ""}, NO_URL),
        ({FULL: "foo"}, NO_URL),
        ({FULL: "http://"}, NO_URL),
        ({FULL: f"http:////{SECRET}"}, NO_URL),
        ({FULL: "http://[::1/x"}, NO_URL),
        ({FULL: "http://127.0.0.1:99999/x"}, NO_URL),
        ({FULL: "http://127.0.0.1:port/x"}, NO_URL),
        ({FULL: f"ftp://127.0.0.1/{SECRET}"}, f"{FULL} is no URL"),
        ({FULL: f"http://127.0.0.1:9/{SECRET} x"}, f"{FULL} is no URL"),
        ({FULL: f"http://10.1.2.3/{SECRET}"}, f"10.1.2.3:http: {FULL}: http is only for this machine"),
        ({FULL: f"http://user:{SECRET}@127.0.0.1:9/x"}, "container endpoint 127.0.0.1:9: it cannot be reached"),
        ({RELATIVE: "x"}, f'container endpoint ({RELATIVE}): {RELATIVE} must begin with "/"'),
        ({RELATIVE: f"@127.0.0.1:9/{SECRET}"}, f'{RELATIVE} must begin with "/"'),
        ({FULL: HERE, TOKEN: f"{SECRET}\n"}, f"container endpoint 127.0.0.1:9: {TOKEN} has no token"),
        ({FULL: HERE, TOKEN: f"{SECRET}é"}, f"{TOKEN} has no token"),
        ({FULL: HERE, TOKEN: ""}, f"{TOKEN} has no token"),
        ({FULL: HERE, TOKEN_FILE: "/nowhere/token"}, "/nowhere/token: No such file or directory"),
        ({FULL: HERE, TOKEN_FILE: "/dev/null"}, f"{TOKEN_FILE} has no token: one line"),
    ],
)
def test_failure_of_a_container_endpoint_names_the_variable(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert message in str(failure())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default]\ncredential_process =\n", "credential_process of profile default: the command cannot be run"),
        ("[default]\ncredential_process = a\0b\n", "credential_process of profile default has a zero byte"),
        (f"[default]\nrole_arn = x\nsource_profile = keys\n{KEYS}", "role_arn (AWS_ROLE_ARN): missing, or not"),
        (f"{OF_ROLE}external_id = x\n{KEYS}", "external_id: missing, or not a valid value"),
        (f"{OF_ROLE}duration_seconds = -5\n{KEYS}", "duration_seconds: missing, or not a valid value"),
        (f"{OF_ROLE}role_session_name = x\n{KEYS}", "role_session_name (AWS_ROLE_SESSION_NAME): missing, or not"),
        (f"{OF_ROLE}defaults_mode = x\n{KEYS}", "invalid defaults mode: x"),
        (f"{OF_ROLE}sts_regional_endpoints = x\n{KEYS}", "STS regional endpoints option x is invalid"),
        (
            f"[default]\nrole_arn = {ROLE}\ncredential_source = Environment\n",
            "its credential_source Environment has no credentials",
        ),
        (
            "[default]\nmetadata_service_timeout = soon\n",
            "metadata_service_timeout or metadata_service_num_attempts is",
        ),
    ],
)
def test_failure_of_a_profile_names_the_setting(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(text)
    assert message in str(failure())


@pytest.mark.parametrize(
    "setting",
    ["aws_access_key_id", "credential_process", "role_arn", "source_profile", "web_identity_token_file", "region"],
)
def test_failure_names_the_setting_when_it_is_a_table(setting: str, tmp_path: Path) -> None:
    """Botocore reads indented lines as one. The files are looked at all the same."""
    (tmp_path / "config").write_text(f"[default]\n{setting} =\n  a = {SECRET}\n")
    assert f"{setting} of profile default has lines of settings below it" in str(failure())
    assert [path for path, *_ in Sources(None).files()] == [str(tmp_path / "config")]


def test_failure_says_what_to_do_when_a_setting_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AK")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "soon")
    problem = failure()
    assert problem.reason == "AWS_CREDENTIAL_EXPIRATION is no time, such as 2026-01-31T00:00:00Z"
    assert "start it again" in problem.hint
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "night\n" * 500)
    problem = failure()
    assert "could not be found" in problem.reason
    assert len(problem.reason) <= 301
    assert problem.hint.startswith("correct it; a file is read again")
