"""Logging of the libraries."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.faultproxy import FaultProxy, in_thread, only
from tests.faults.wire import Reply, Request
from vortex.adapters.logs import set_up


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, whose handlers are restored afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_log_has_no_traceback_when_a_credential_endpoint_sends_a_broken_header(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Botocore calls such endpoints through urllib3."""
    from botocore.utils import ContainerMetadataFetcher

    async def origin(request: Request) -> Reply:
        return Reply(200, body=b'{"AccessKeyId": "a"}')

    set_up("json", "debug")
    proxy = FaultProxy(origin, only("header_broken"))
    with in_thread(proxy):
        fetcher = ContainerMetadataFetcher(sleep=lambda _: None)
        fetcher.retrieve_full_uri(proxy.url + "/credentials")
    assert proxy.struck["ContainerCredentials", "header_broken"] == 1
    assert "Traceback" not in capsys.readouterr().err
