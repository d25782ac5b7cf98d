"""`vortex health`: does the worker on this machine answer? For the health check of a container."""

from __future__ import annotations

import http.client
import socket

from vortex.commands.printing import print_line
from vortex.config.settings import Http
from vortex.exits import Exit

_WAIT_S = 2.0
_UNIX = "unix:"
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""A server that listens on every address is asked on loopback."""


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_WAIT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_WAIT_S)
        self.sock.connect(self._path)


def health(endpoint: Http) -> int:
    """Ask /livez where `endpoint` says that the worker listens; 0 if it answers within two seconds, else 1."""
    if not endpoint.host.startswith(_UNIX) and not endpoint.port:
        print_line("http.port is 0, so the worker takes any free port: set a port to use vortex health", err=True)
        return Exit.CONFIG
    where, connection = _connection(endpoint)
    try:
        connection.request("GET", "/livez")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as problem:
        print_line(
            f"{where}/livez does not answer: {problem or type(problem).__name__}; start `vortex run` with these "
            "settings, or name its http.host and http.port",
            err=True,
        )
        return Exit.FAILED
    finally:
        connection.close()
    if status != 200:
        print_line(f"{where}/livez answers {status}", err=True)
        return Exit.FAILED
    print_line("ok")
    return Exit.OK


def _connection(endpoint: Http) -> tuple[str, http.client.HTTPConnection]:
    if endpoint.host.startswith(_UNIX):
        return endpoint.host, _SocketConnection(endpoint.host.removeprefix(_UNIX))
    host = _ANY.get(endpoint.host, endpoint.host)
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{endpoint.port}", http.client.HTTPConnection(host, endpoint.port, timeout=_WAIT_S)
