"""A server that takes metrics by OTLP."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Its address, and the requests that came. Raises ImportError without the extra otlp."""
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service

    requests: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            requests.append(service.ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def resource_of(request: Any) -> dict[str, str]:
    """The attributes of the program that sent a request."""
    (whole,) = request.resource_metrics
    return {one.key: one.value.string_value for one in whole.resource.attributes}


def metrics_of(request: Any) -> dict[str, Any]:
    """The metrics of a request by name."""
    (whole,) = request.resource_metrics
    return {one.name: one for scope in whole.scope_metrics for one in scope.metrics}
