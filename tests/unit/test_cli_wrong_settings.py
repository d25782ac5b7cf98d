"""Every wrong setting or environment, with every command that reads settings: one line that names it, and
exit code 3.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from vortex.cli import main
from vortex.exits import Exit

SETTINGS = """
[source]
stream = "clicks"
endpoint_url = "http://127.0.0.1:9"
[event]
customer = "c"
type = "t"
id = "i"
time = "x"
[store]
url = "s3://bucket/prefix"
endpoint_url = "http://127.0.0.1:9"
[coordination]
mode = "dynamodb"
endpoint_url = "http://127.0.0.1:9"
[http]
port = 0
"""
COMMANDS = {
    "run": ["run"],
    "drain": ["run", "--drain"],
    "check": ["check", "--json"],
    "status": ["status"],
    "verify": ["verify"],
    "close": ["close", "--before", "2026-01-01T00:00:00Z"],
}
ARN = "arn:aws:kinesis:eu-central-1:123456789012:stream"
WRONG = {
    "stream with invalid characters": ("VORTEX_SOURCE__STREAM", "cli cks", "source.stream"),
    "stream ARN cut short": ("VORTEX_SOURCE__STREAM", "arn:aws:kinesis", "source.stream"),
    "stream ARN of a consumer": ("VORTEX_SOURCE__STREAM", f"{ARN}/s/consumer/c:1", "source.stream"),
    "stream endpoint without scheme": ("VORTEX_SOURCE__ENDPOINT_URL", "localhost:4566", "source.endpoint_url"),
    "store endpoint without scheme": ("VORTEX_STORE__ENDPOINT_URL", "localhost:9000", "store.endpoint_url"),
    "table endpoint without scheme": ("VORTEX_COORDINATION__ENDPOINT_URL", "db", "coordination.endpoint_url"),
    "region of one word": ("VORTEX_COORDINATION__REGION", "a b", "coordination.region"),
    "bucket name": ("VORTEX_STORE__URL", "s3://My Bucket/p", "store.url"),
    "store of another scheme": ("VORTEX_STORE__URL", "gs://bucket/p", "store.url"),
    "fragment": ("VORTEX_STORE__URL", "file:///a#1", "store.url"),
    "relative folder": ("VORTEX_STORE__URL", "file://data", "store.url"),
    "directory bucket": ("VORTEX_STORE__URL", "s3://b--use1-az4--x-s3", "store.url"),
    "KMS key": ("VORTEX_STORE__KMS_KEY_ID", "arn:aws:kms:x", "store.kms_key_id"),
    "bucket owner": ("VORTEX_STORE__EXPECTED_BUCKET_OWNER", "me", "store.expected_bucket_owner"),
    "negative duration": ("VORTEX_COMMIT__EVERY", "-5s", "commit.every"),
    "negative size": ("VORTEX_MEMORY__LIMIT", "-1", "memory.limit"),
    "negative port": ("VORTEX_HTTP__PORT", "-1", "http.port"),
    "listening host": ("VORTEX_HTTP__HOST", "http://0.0.0.0", "http.host"),
    "table name": ("VORTEX_COORDINATION__TABLE", "a/b", "coordination.table"),
    "mistyped variable": ("VORTEX_STORE__URI", "s3://b", "VORTEX_STORE__URI"),
    "unknown profile": ("AWS_PROFILE", "nobody", "AWS_PROFILE"),
    "region in the environment": ("AWS_DEFAULT_REGION", "eu central", "AWS_DEFAULT_REGION"),
    "region of other SDKs": ("AWS_REGION", "eu central", "AWS_REGION"),
    "IMDS endpoint": ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "here", "AWS_EC2_METADATA_SERVICE_ENDPOINT"),
    "a time-out in words": ("AWS_METADATA_SERVICE_TIMEOUT", "soon", "AWS_METADATA_SERVICE_TIMEOUT"),
    "defaults mode": ("AWS_DEFAULTS_MODE", "fast", "AWS_DEFAULTS_MODE"),
    "CA bundle": ("AWS_CA_BUNDLE", "/nowhere/ca.pem", "AWS_CA_BUNDLE"),
    "proxy": ("HTTPS_PROXY", "socks5://user:secret@host:1", "HTTPS_PROXY"),
}
"""By name: a variable, its value, and what the line must name."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Valid settings, without the AWS configuration of this machine."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    path = tmp_path / "v.toml"
    path.write_text(SETTINGS)
    usual = signal.getsignal(signal.SIGTERM), logging.getLogger().handlers[:]
    yield path
    signal.signal(signal.SIGTERM, usual[0])
    logging.getLogger().handlers[:] = usual[1]


def result_of(command: str, config: Path) -> tuple[int, list[str]]:
    """The exit code, and the lines on standard error."""
    done = CliRunner().invoke(main, [*COMMANDS[command], "-c", str(config)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stderr.splitlines()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wrong", WRONG)
def test_commands_print_one_line_and_exit_with_the_config_code_when_a_setting_is_wrong(
    wrong: str, command: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes from; the line has no secret."""
    variable, value, named = WRONG[wrong]
    monkeypatch.setenv(variable, value)
    code, lines = result_of(command, config)
    assert code == Exit.CONFIG
    assert len(lines) == 1, lines
    assert named in lines[0]
    assert "secret" not in lines[0]
    assert not variable.startswith("VORTEX_") or variable in lines[0]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("aws-config", "[default\n", "aws-config"),
        ("aws-credentials", "[default\n", "aws-credentials"),
        ("aws-config", "[default]\ndefaults_mode = fast\n", "AWS_CONFIG_FILE"),
        ("aws-config", "[default]\nca_bundle = /nowhere/ca.pem\n", "ca_bundle"),
    ],
)
def test_commands_print_one_line_and_exit_with_the_config_code_when_an_aws_file_is_wrong(
    name: str, text: str, named: str, command: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the file."""
    (config.parent / name).write_text(text)
    code, lines = result_of(command, config)
    assert code == Exit.CONFIG
    assert len(lines) == 1, lines
    assert named in lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_name_a_region_that_botocore_does_not_know(command: str, config: Path) -> None:
    """Without an endpoint such a region leads nowhere."""
    lines = [line for line in SETTINGS.splitlines() if "endpoint_url" not in line]
    config.write_text("\n".join(lines).replace('stream = "clicks"', 'stream = "clicks"\nregion = "xx-nowhere-1"'))
    code, lines_ = result_of(command, config)
    assert code == Exit.CONFIG
    assert lines_ == [
        "source.region (or VORTEX_SOURCE__REGION): unknown AWS region 'xx-nowhere-1'; if it exists, set endpoint_url "
        "as well"
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_print_a_line_for_each_wrong_setting(
    command: str, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that all can be corrected at once."""
    monkeypatch.setenv("VORTEX_STORE__URL", "bucket")
    monkeypatch.setenv("VORTEX_SOURCE__STREAM", "a b")
    monkeypatch.setenv("VORTEX_HTTP__PORT", "70000")
    code, lines = result_of(command, config)
    assert code == Exit.CONFIG
    assert len(lines) == 3
    assert all(line.startswith(f"{config}: ") for line in lines)


@pytest.mark.parametrize("folder", [True, False])
def test_verify_says_that_nothing_was_run_when_the_prefix_is_empty(
    folder: bool, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It used to say that state was lost."""
    root = config.parent / "store"
    if folder:
        root.mkdir()
    monkeypatch.setenv("VORTEX_STORE__URL", root.as_uri())
    code, lines = result_of("verify", config)
    assert code == Exit.FAILED
    assert lines == [f"{root.as_uri()} holds no state of stream clicks; start it with `vortex run`, or check store.url"]


@pytest.mark.parametrize("command", [["verify"], ["explain", "c", "i", "--no-stream"]])
def test_commands_name_the_file_when_the_store_is_below_it(
    command: list[str], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They used to say that the store is empty."""
    monkeypatch.setenv("VORTEX_STORE__URL", (config / "store").as_uri())
    done = CliRunner().invoke(main, [*command, "-c", str(config)])
    assert done.exit_code == Exit.UNREACHABLE
    assert f"a file is where a folder is needed: {config}; see store.url" in done.stderr


def test_verify_exits_with_failed_when_there_are_only_other_files(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It used to say that every invariant holds."""
    root = config.parent / "store"
    root.mkdir()
    (root / "x.csv").write_text("1")
    monkeypatch.setenv("VORTEX_STORE__URL", root.as_uri())
    code, lines = result_of("verify", config)
    assert code == Exit.FAILED
    assert lines[0].startswith(f"FAULT state {root.as_uri()}: holds no Vortex state")
    assert [line.partition(":")[0] for line in lines[1:]] == ["state promises", "state what to do"]


def test_check_names_the_setting_of_each_address_that_does_not_answer(config: Path) -> None:
    """It used to print the address alone."""
    done = CliRunner().invoke(main, [*COMMANDS["check"], "-c", str(config)])
    assert done.exit_code == Exit.FAILED
    failed = {line["what"].split()[0]: line["detail"] for line in json.loads(done.stdout) if not line["ok"]}
    for what, section in {"kinesis:ListShards": "source", "store": "store", "lease": "coordination"}.items():
        assert failed[what].endswith(f"; check {section}.endpoint_url, and that it can be reached from here")
