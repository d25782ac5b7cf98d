"""Limits for botocore's own calls for credentials: how long a call may take, and the size of its reply.

botocore reads a whole body into memory, whatever its size, and its read time-out begins again with every byte of head
and body. The look-up of a name has no time-out at all, and each of its addresses may take a whole connect time-out. An
answer with credentials has a few kilobytes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from botocore.session import Session
from urllib3.exceptions import ProtocolError
from urllib3.exceptions import TimeoutError as SocketTimeout

MOST_BYTES = 256 * 1024
CALL_S = 10.0
_STEP = 16 * 1024
_ENDED_S = 1.0
"""Seconds in which a call must end once its connections are shut down. If not, it waits for something else."""
_THREAD, _MOST_THREADS = "vortex-credentials-call", 8
_here = threading.local()
"""`call`: that which this thread makes."""


class _Call(threading.Thread):
    """One call, in a thread of its own: nothing can end a look-up of a name. After `CALL_S` its connections are shut
    down, so that whatever waits for them ends. A call that does not end by that is left behind.
    """

    def __init__(self, send: Callable[[], Any]) -> None:
        super().__init__(name=_THREAD, daemon=True)
        self._send, self._lock = send, threading.Lock()
        self._sockets: list[socket.socket] = []
        self._response: Any = None
        self._problem: BaseException | None = None
        self.passed = False
        """Whether the deadline has passed."""

    def run(self) -> None:
        _here.call = self
        try:
            self._response = self._send()
        except BaseException as problem:  # noqa: BLE001  # delivered to the caller
            self._problem = problem
        finally:
            with self._lock:
                for each in self._sockets:
                    each.close()
                self._sockets.clear()

    def result(self) -> Any:
        """The reply. Raises what the call raises, and TimeoutError if it has not ended by its deadline."""
        if sum(thread.name == _THREAD for thread in threading.enumerate()) >= _MOST_THREADS:
            raise TimeoutError(f"{_MOST_THREADS} earlier calls still hang")
        self.start()
        self.join(CALL_S)
        if self.is_alive():
            self._shut_down()
            self.join(_ENDED_S)
        if self.passed or self.is_alive():  # a body without a length ends as if it was whole
            raise TimeoutError(f"the call takes more than {CALL_S:g} s")
        if self._problem is not None:
            raise self._problem
        return self._response

    def watch(self, connection: socket.socket) -> None:
        """A duplicate shuts down the connection also where TLS has taken over the socket."""
        with self._lock:
            self._sockets.append(connection.dup())
        if self.passed:
            self._shut_down()

    def _shut_down(self) -> None:
        with self._lock:
            self.passed = True
            for each in self._sockets:
                with contextlib.suppress(OSError):  # the peer has closed it
                    each.shutdown(socket.SHUT_RDWR)


class _Watched:
    """A connection of botocore that its call can shut down."""

    def _new_conn(self) -> socket.socket:
        connection: socket.socket = super()._new_conn()  # type: ignore[misc]
        call: _Call | None = getattr(_here, "call", None)
        if call is not None:
            call.watch(connection)
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
    """Sends requests through a `URLLib3Session`, each by a deadline that covers the look-up of the name, too. Reads the
    bodies of the replies itself.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        session._pool_classes_by_scheme.update(http=_HttpPool, https=_HttpsPool)

    def send(self, request: Any) -> Any:
        """The reply, with its body. Raises HTTPClientError, which has several subclasses."""
        request.stream_output = True  # so that the body is left to us
        self._session.close()  # no call knows connections of former ones
        call = _Call(lambda: self._sent(request))
        try:
            return call.result()
        except TimeoutError as late:
            raise ReadTimeoutError(endpoint_url=request.url, error=late) from late

    def _sent(self, request: Any) -> Any:
        response = self._session.send(request)
        response._content = self._received(response, request)
        return response

    def _received(self, response: Any, request: Any) -> bytes:
        body = bytearray()
        try:
            while chunk := response.raw.read1(_STEP):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise HTTPClientError(error=ValueError(f"a body of more than {MOST_BYTES} bytes"))
        except SocketTimeout as late:
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
