"""One request and its reply over the connections of an AWS client, and no more than that.

aiobotocore's own way for it copies headers twice and makes a request and a reply in botocore's form, which costs two
thirds of what the signature does (docs/performance.md). What is sent here is signed already, and of the reply a status
and a body are wanted. Connections, TLS, time-outs and proxies are the client's, as for every other call.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from aiohttp import ClientConnectorError, ClientError, ClientResponse, ClientSession
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)
from yarl import URL

_AS_IT_IS = {"Accept-Encoding": "identity"}


class HttpSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """The connections of one client, to be given to it as its `http_session_cls`."""

    def __init__(self, *args: Any, proxies: dict[str, str] | None = None, **options: Any) -> None:
        super().__init__(*args, proxies=proxies, **options)
        self._by_proxy = bool(proxies)

    async def exchange(self, method: str, url: str, headers: Mapping[str, str], body: Any) -> ClientResponse:
        """The reply, whatever its status; its body is still to be read, as by `whole_body`. Raises BotoCoreError."""
        if self._by_proxy or isinstance(body, io.IOBase):
            reply = await self.send(AWSPreparedRequest(method, url, headers, body, stream_output=True))
            raw: ClientResponse = reply.raw
            return raw
        try:
            session: ClientSession = await self._get_session(None)
            with http_errors(url):
                return await session.request(
                    method, URL(url, encoded=True), headers={**headers, **_AS_IT_IS}, data=body
                )
        except BotoCoreError:
            raise
        except Exception as error:  # as aiobotocore has it: whatever else goes wrong in a call may go right in the next
            raise HTTPClientError(error=error) from error


async def whole_body(reply: ClientResponse, url: str) -> bytes:
    """All of the reply's body; the reply is let go of. Raises BotoCoreError."""
    try:
        with http_errors(url):
            return await reply.read()
    finally:
        reply.close()


@contextmanager
def http_errors(url: str) -> Iterator[None]:
    """Errors of aiohttp as botocore's."""
    try:
        yield
    except TimeoutError as error:
        raise ReadTimeoutError(endpoint_url=url, error=error) from error
    except ClientConnectorError as error:
        raise EndpointConnectionError(endpoint_url=url, error=error) from error
    except (ClientError, OSError) as error:
        raise ConnectionClosedError(endpoint_url=url, error=error) from error
