"""Logging of the libraries."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from tests.faultproxy import FaultProxy, in_thread, only
from tests.faults.wire import Reply, Request
from vortex.adapters.logs import live_line, set_up


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


@pytest.mark.parametrize(
    ("problem", "lines"),
    [
        (RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"), 0),
        (RuntimeError("another"), 1),
    ],
)
async def test_log_has_no_traceback_when_bytes_come_for_a_closed_connection(
    problem: RuntimeError, lines: int, root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """The event loop reports it so; any other problem of the loop is an error."""
    set_up("json", "info")
    asyncio.get_running_loop().call_exception_handler({"message": "Fatal error on SSL protocol", "exception": problem})
    assert capsys.readouterr().err.count("Fatal error on SSL protocol") == lines


class Terminal(StringIO):
    """A terminal that notes what it is sent."""

    def isatty(self) -> bool:
        return True


def test_log_on_a_terminal_is_coloured_text_above_a_live_line(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line replaces the live one, which is written below it again, no wider than the terminal."""
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "20")
    set_up("auto", "info")
    show = live_line()
    assert show is not None
    show("snow: ready; 1,204 events/s and more")
    logging.getLogger("vortex").info("closed hour")
    logging.getLogger("vortex").error("a gap")
    show("")
    parts = screen.getvalue().split("\r\x1b[2K")
    assert parts[1] == "snow: ready; 1,204 "
    assert parts[2].endswith("info    closed hour\n") and parts[3] == parts[1]
    assert parts[4].startswith("\x1b[1;31m") and parts[4].endswith("error   a gap\x1b[0m\n")
    assert parts[-1] == ""


def test_log_elsewhere_is_json_without_a_live_line(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("auto", "info")
    logging.getLogger("vortex").info("closed hour")
    assert live_line() is None
    assert json.loads(capsys.readouterr().err)["message"] == "closed hour"
