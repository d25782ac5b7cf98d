"""Limits for botocore's own calls for credentials: how long a call may take, and the size of its reply.

botocore reads a whole body into memory, whatever its size, and its read time-out begins again with every byte of head
and body. An answer with credentials has a few kilobytes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from botocore.session import Session
from urllib3.exceptions import ProtocolError, TimeoutError

MOST_BYTES = 256 * 1024
CALL_S = 10.0
_STEP = 16 * 1024
_here = threading.local()
"""`deadline`: that of the call which this thread makes."""


class _Deadline:
    """After `CALL_S` the connections that a call has opened are shut down, so that whatever waits for them ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.passed = False
        self._timer = threading.Timer(CALL_S, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        _here.deadline = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        _here.deadline = None
        self._timer.cancel()
        with self._lock:
            for each in self._sockets:
                each.close()
            self._sockets.clear()

    def watch(self, connection: socket.socket) -> None:
        """A duplicate shuts down the connection also where TLS has taken over the socket."""
        with self._lock:
            self._sockets.append(connection.dup())
        if self.passed:
            self._pass()

    def _pass(self) -> None:
        with self._lock:
            self.passed = True
            for each in self._sockets:
                with contextlib.suppress(OSError):  # the peer has closed it
                    each.shutdown(socket.SHUT_RDWR)


class _Watched:
    """A connection of botocore that the deadline of its call can end."""

    def _new_conn(self) -> socket.socket:
        connection: socket.socket = super()._new_conn()  # type: ignore[misc]
        deadline: _Deadline | None = getattr(_here, "deadline", None)
        if deadline is not None:
            deadline.watch(connection)
        return connection


class _Http(_Watched, AWSHTTPConnection):  # type: ignore[misc]  # botocore has no types
    pass


class _Https(_Watched, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _HttpPool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Http


class _HttpsPool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Https


class BoundedSession(Session):  # type: ignore[misc]
    """A session of botocore whose clients make bounded calls."""

    def create_client(self, *arguments: Any, **options: Any) -> Any:
        """As in botocore."""
        client = super().create_client(*arguments, **options)
        client._endpoint.http_session = BoundedHttp(client._endpoint.http_session)  # botocore has no option for it
        return client


def bound(provider: Any) -> None:
    """Bound the provider's calls of a metadata service, if it makes any."""
    for name in ("_fetcher", "_role_fetcher"):
        fetcher: Any = getattr(provider, name, None)
        if fetcher is not None and hasattr(fetcher, "_session") and not isinstance(fetcher._session, BoundedHttp):
            fetcher._session = BoundedHttp(fetcher._session)


class BoundedHttp:
    """Sends requests through a `URLLib3Session`, each by a deadline, and reads the bodies of the replies itself."""

    def __init__(self, session: Any) -> None:
        self._session = session
        session._pool_classes_by_scheme.update(http=_HttpPool, https=_HttpsPool)

    def send(self, request: Any) -> Any:
        """The reply, with its body. Raises HTTPClientError, which has several subclasses."""
        request.stream_output = True  # so that the body is left to us
        self._session.close()  # no deadline knows connections of former calls
        with _Deadline() as deadline:
            try:
                response = self._session.send(request)
                response._content = self._received(response, request)
            except HTTPClientError as error:
                if not deadline.passed:
                    raise
                raise _late(request) from error
            if deadline.passed:  # a body without a length ends as if it was whole
                raise _late(request)
            return response

    def _received(self, response: Any, request: Any) -> bytes:
        body = bytearray()
        try:
            while chunk := response.raw.read1(_STEP):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise HTTPClientError(error=ValueError(f"a body of more than {MOST_BYTES} bytes"))
        except TimeoutError as late:
            raise ReadTimeoutError(endpoint_url=request.url, error=late) from late
        except ProtocolError as broken:
            raise ConnectionClosedError(error=broken, request=request, endpoint_url=request.url) from broken
        except HTTPClientError:
            raise
        except Exception as error:  # as in botocore
            raise HTTPClientError(error=error) from error
        finally:
            response.raw.close()
        return bytes(body)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()


def _late(request: Any) -> ReadTimeoutError:
    return ReadTimeoutError(endpoint_url=request.url, error=f"the call takes more than {CALL_S:g} s")
