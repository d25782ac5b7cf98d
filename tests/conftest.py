"""Fixtures shared by all suites."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import CREDENTIALS, NoMinistack, NoNode, kinesis_local, ministack, moto_server

settings.register_profile("vortex", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vortex")


@pytest.fixture(scope="session", autouse=True)
def credentials() -> Iterator[None]:
    """Emulators want some; none of this machine's own may leak into a test."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "VORTEX_"))]:
        del os.environ[name]
    os.environ.update(CREDENTIALS)
    yield


@pytest.fixture(scope="session")
def moto_url(credentials: None) -> Iterator[str]:
    """A moto server of this test process."""
    with moto_server() as url:
        yield url


@pytest.fixture(scope="session")
def kinesis_local_url(credentials: None) -> Iterator[str]:
    """A kinesis-local of this test process; skipped without Node, except in CI."""
    try:
        with kinesis_local() as url:
            yield url
    except NoNode as problem:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(problem))


@pytest.fixture(scope="session")
def dynamodb_url(credentials: None) -> Iterator[str]:
    """A DynamoDB of this test process, with atomic conditional writes; skipped where it cannot be had, except in CI."""
    try:
        with ministack() as url:
            yield url
    except NoMinistack as problem:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(problem))
