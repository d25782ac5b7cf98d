"""A worker with short-lived credentials whose source fails: it continues, reports it, and hides every secret."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.faultproxy import FaultProxy, in_thread, no_fault
from tests.faults import FAULTS
from tests.faults.wire import Request
from tests.harness import Site, make_stream, stopped, until
from tests.issuer import CONTAINER, Issuer
from tests.servers import free_port

pytestmark = pytest.mark.integration

LIFE_S = 6


def ready(port: int) -> tuple[int, str]:
    """Status and text of /readyz?verbose; status 0 while the port is closed."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz?verbose", timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as unready:
        return unready.code, unready.read().decode()
    except OSError:
        return 0, ""


@contextmanager
def guarded(url: str, issuer: Issuer) -> Iterator[FaultProxy]:
    """Moto behind a proxy that checks credentials, and that also issues them."""
    proxy = FaultProxy({"": url, "credentials": issuer, "sts": issuer}, guard=issuer.guard)
    with in_thread(proxy):
        yield proxy


def test_worker_renews_its_credentials_and_recovers_when_the_source_does(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing source has no effect while the credentials are valid, makes the worker unready when they expire, and is
    retried until it recovers. The debug log has a line for each failure, and no secret.
    """
    issuer, port = Issuer(life_s=LIFE_S), free_port()
    make_stream(moto_url, "lives", 2)
    with guarded(moto_url, issuer) as proxy:
        site = Site(proxy.url, "lives", f"file://{tmp_path / 'out'}", tmp_path / "v.toml")
        site.configure()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", proxy.url + CONTAINER)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("VORTEX_HTTP__PORT", str(port))
        monkeypatch.setenv("VORTEX_SOURCE__POLL", "250ms")
        monkeypatch.setenv("VORTEX_LOG__LEVEL", "debug")
        log = tmp_path / "log"
        worker = site.start(log)
        with stopped(worker):
            until(lambda: ready(port)[0] == 200)
            until(lambda: len(issuer.secrets) >= 4)  # those of two renewals
            assert issuer.refused == 0
            for fault in ("stale", "html_500"):
                proxy.choose = partial(of_credentials, fault)
                # Until then it may name a call that was refused with expired credentials.
                until(lambda: f"container endpoint localhost:{proxy.port}" in ready(port)[1])
                assert "kinesis" in ready(port)[1]
                assert worker.poll() is None
                proxy.choose = no_fault
                until(lambda: ready(port)[0] == 200)
            until(lambda: bool(re.search(r"^vortex_ready\{.*\} 1.0$", metrics(port), re.MULTILINE)))  # gauges follow
            assert re.search(
                r'^vortex_credential_renewals_total\{result="failed".*\} [1-9]', metrics(port), re.MULTILINE
            )
            assert ended(worker) == 0
    text = log.read_text()
    assert not any(secret in text for secret in issuer.secrets)
    assert not re.search(r"Signature=[0-9a-f]|X-Amz-Security-Token", text, re.IGNORECASE)
    lines = [json.loads(line)["message"] for line in text.splitlines()]
    failures = [line for line in lines if line.startswith("credentials: not renewed: ")]
    assert f"container endpoint localhost:{proxy.port}: it returned credentials that expired at" in failures[0]
    assert len([line for line in failures if "that expired at" in line]) == 1


def of_credentials(fault: str, request: Request) -> str | None:
    """The fault for requests of credentials only."""
    return fault if request.service == "credentials" and request.call in FAULTS[fault].calls else None


def ended(worker: subprocess.Popen[bytes]) -> int:
    """The exit code of a worker after SIGTERM."""
    worker.terminate()
    return worker.wait(30)


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        return str(reply.read().decode())


def test_worker_uses_a_credentials_file_that_appears_or_is_rotated(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after AWS has refused the previous credentials."""
    issuer, port, file = Issuer(life_s=3600), free_port(), tmp_path / "credentials"

    def give() -> None:
        """Rotate the file as another program does, by a rename."""
        pair = json.loads(json.dumps(issuer._issue()))
        fresh = tmp_path / "fresh"
        fresh.write_text(
            f"[default]\naws_access_key_id = {pair['AccessKeyId']}\naws_secret_access_key = {pair['SecretAccessKey']}\n"
        )
        fresh.rename(file)

    make_stream(moto_url, "comes", 1)
    with guarded(moto_url, issuer) as proxy:
        site = Site(proxy.url, "comes", f"file://{tmp_path / 'out'}", tmp_path / "v.toml")
        site.configure()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        monkeypatch.setenv("VORTEX_HTTP__PORT", str(port))
        monkeypatch.setenv("VORTEX_SOURCE__POLL", "250ms")
        worker = site.start(tmp_path / "log")
        with stopped(worker):
            until(lambda: "no valid AWS credentials" in ready(port)[1])
            assert str(file) in ready(port)[1]
            give()
            until(lambda: ready(port)[0] == 200)
            for key in issuer._ends:
                issuer._ends[key] = 0.0  # AWS refuses them now
            until(lambda: "kinesis" in ready(port)[1])
            assert f"profile default in {file}" in ready(port)[1]
            give()
            until(lambda: ready(port)[0] == 200)
            before = proxy.calls["GetRecords"]
            give()  # rotated while the previous ones are still valid
            until(lambda: proxy.calls["GetRecords"] > before + 40)  # ten seconds: files are checked every five
            for key in list(issuer._ends)[:-1]:
                issuer._ends[key] = 0.0
            refused = issuer.refused
            time.sleep(3)  # nothing may happen in this time
            assert issuer.refused == refused
            assert worker.poll() is None
            assert ended(worker) == 0


def test_check_prints_source_and_expiry_of_the_credentials(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no secret."""
    issuer = Issuer(life_s=3600)
    make_stream(moto_url, "checked", 1)
    with guarded(moto_url, issuer) as proxy:
        site = Site(proxy.url, "checked", f"file://{tmp_path / 'out'}", tmp_path / "v.toml")
        site.configure()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", proxy.url + CONTAINER)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        done = site.call("check")
        assert done.returncode == 0, done.stdout
        found = re.search(
            r"ok   AWS credentials: from container endpoint localhost:\d+, valid until 20\S+Z\n", done.stdout
        )
        assert found, done.stdout
        proxy.choose = lambda request: "html_500" if request.service == "credentials" else None
        done = site.call("check")
        assert done.returncode == 1
        assert "FAIL AWS credentials: no valid AWS credentials: container endpoint" in done.stdout
        assert not any(secret in done.stdout + done.stderr for secret in issuer.secrets)
