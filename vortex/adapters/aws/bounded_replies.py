"""Limits for the replies to botocore's own calls for credentials: their size, and the time that their bodies take.

botocore reads a whole body into memory, whatever its size, and its read time-out begins again with every byte. An
answer with credentials has a few kilobytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError
from botocore.session import Session
from urllib3.exceptions import ProtocolError, TimeoutError

MOST_BYTES = 256 * 1024
BODY_S = 10.0
_STEP = 16 * 1024


class BoundedSession(Session):  # type: ignore[misc]  # botocore has no types
    """A session of botocore whose clients read bounded replies."""

    def create_client(self, *arguments: Any, **options: Any) -> Any:
        """As in botocore."""
        client = super().create_client(*arguments, **options)
        client._endpoint.http_session = BoundedHttp(client._endpoint.http_session)  # botocore has no option for it
        return client


def bound(provider: Any) -> None:
    """Make the provider's requests to a metadata service read bounded replies, if it makes any."""
    for name in ("_fetcher", "_role_fetcher"):
        fetcher: Any = getattr(provider, name, None)
        if fetcher is not None and hasattr(fetcher, "_session") and not isinstance(fetcher._session, BoundedHttp):
            fetcher._session = BoundedHttp(fetcher._session)


class BoundedHttp:
    """Sends requests through a `URLLib3Session`, and reads the bodies of the replies itself."""

    def __init__(self, session: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._session, self._clock = session, clock

    def send(self, request: Any) -> Any:
        """The reply, with its body. Raises HTTPClientError, which has several subclasses."""
        request.stream_output = True  # so that the body is left to us
        response = self._session.send(request)
        try:
            response._content = self._body(response.raw, request)
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
        return response

    def _body(self, raw: Any, request: Any) -> bytes:
        end, body = self._clock() + BODY_S, bytearray()
        while chunk := raw.read1(_STEP):
            body += chunk
            if len(body) > MOST_BYTES:
                raise HTTPClientError(error=ValueError(f"a body of more than {MOST_BYTES} bytes"))
            if self._clock() > end:
                raise ReadTimeoutError(endpoint_url=request.url, error=f"the body takes more than {BODY_S:g} s")
        return bytes(body)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()
