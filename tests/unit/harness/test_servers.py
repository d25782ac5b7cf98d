"""How tests wait for other programs: until they can answer, not only until the port is open."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.servers import wait_for


class Starting(BaseHTTPRequestHandler):
    """Answers 503 until it was asked three times, as Prometheus does while it starts."""

    asked = 0

    def do_GET(self) -> None:
        """Answer."""
        type(self).asked += 1
        self.send_response(200 if self.path == "/-/ready" and self.asked > 3 else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    Starting.asked = 0
    with HTTPServer(("127.0.0.1", 0), Starting) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield running
        running.kill()


def test_wait_for_asks_again_while_an_open_port_answers_503(port: int, process: subprocess.Popen[bytes]) -> None:
    wait_for(port, process)
    assert Starting.asked == 0
    wait_for(port, process, "/-/ready")
    assert Starting.asked == 4


def test_wait_for_says_the_last_answer_when_a_program_does_not_become_ready(
    port: int, process: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(RuntimeError, match=rf"was not ready on port {port}/never after 0 s: HTTP Error 503"):
        wait_for(port, process, "/never", seconds=0.3)


def test_wait_for_says_that_the_process_has_ended(port: int, process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    with pytest.raises(RuntimeError, match="ended with code -9"):
        wait_for(port, process, "/-/ready")
