"""Fixtures shared by all suites."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import CREDENTIALS, NoMinistack, NoNode, kinesis_local, ministack, moto_server

settings.register_profile("vortex", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vortex")


@pytest.fixture(scope="session", autouse=True)
def credentials() -> Iterator[None]:
    """Test credentials for the emulators; no variable of this machine may reach a test."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "VORTEX_"))]:
        del os.environ[name]
    os.environ.update(CREDENTIALS)
    yield


@pytest.fixture(scope="session")
def moto_url(credentials: None) -> Iterator[str]:
    """A moto server of this test process."""
    with moto_server() as url:
        yield url


def _or_skipped(emulator: AbstractContextManager[str], missing: type[Exception]) -> Iterator[str]:
    """An emulator's URL. Without the emulator its tests are skipped with the reason, except in CI."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(emulator)
        except missing as problem:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(problem))  # without Node or ministack the other tests still run; in CI this is an error
        yield url


@pytest.fixture(scope="session")
def kinesis_local_url(credentials: None) -> Iterator[str]:
    """A kinesis-local of this test process; it needs Node."""
    yield from _or_skipped(kinesis_local(), NoNode)


@pytest.fixture(scope="session")
def dynamodb_url(credentials: None) -> Iterator[str]:
    """A DynamoDB of this test process, with atomic conditional writes."""
    yield from _or_skipped(ministack(), NoMinistack)
