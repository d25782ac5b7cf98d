"""An environment without sources of credentials, and services that give some."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.utils import ContainerMetadataFetcher

from tests.faultproxy import FaultProxy, in_thread
from tests.issuer import Issuer


@pytest.fixture
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
