"""The pulse of the chaos tests measures how long a worker did not answer."""

from __future__ import annotations

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.chaos.pulse import Pulse

SILENT_S = 0.8


def test_pulse_measures_a_silence_and_the_peak_memory_of_a_process() -> None:
    """The server answers at once, except that it sleeps before its third reply."""
    came = 0
    enough = threading.Event()

    class Livez(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            nonlocal came
            came += 1
            if came == 3:
                time.sleep(SILENT_S)  # the silence to measure
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"ok\n")
            if came == 6:
                enough.set()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Livez) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pulse = Pulse()
        try:
            pulse.say("watch", "server", server.server_port, os.getpid())
            assert enough.wait(30)
            pulse.say("leave", "server")
            felt = pulse.finish()["server"]
        finally:
            pulse.kill()
            server.shutdown()
    assert felt.silent_raw_s >= SILENT_S - 0.1
    assert 0 < felt.silent_s <= felt.silent_raw_s
    assert felt.polls >= 4
    assert felt.peak_mib > 10
