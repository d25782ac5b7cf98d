"""Calls that a worker makes all the time, without the work that botocore repeats for each of them.

Through the ordinary client a call costs 500 to 700 us of CPU before its first byte (docs/performance.md): hooks,
endpoint rules, validation. Only the body, the signature and perhaps the key differ between calls. So botocore prepares
one request: the endpoint by its rules, the headers, the signer and its parameters. Each call signs that request with
its own body and sends it over the client's connections. Signature, credentials (and their renewal), proxies, CA bundle
and time-outs are botocore's, as for every other call.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn
from urllib.parse import urlsplit

from aiohttp import ClientResponse
from botocore import xform_name
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from vortex.adapters.aws import cbor
from vortex.adapters.aws.client import SESSION, Session
from vortex.adapters.aws.exchange import Answer, HttpSession, parsed, whole
from vortex.adapters.aws.signature import SIGNERS

_OF_ONE_CALL = ("amz-sdk-", "Expect")
"""Beginnings of headers that are not reused: the invocation id and attempt number belong to one call, and whether to
wait for "100 Continue" depends on the body."""
_SHOWN = 80
"""Characters of a foreign text that a message shows."""
_REFUSING = {400, 401, 403}
"""Statuses of replies that may be about credentials, or about the time of a signature."""


class _Stopped(Exception):
    """Carries the unsigned request, the signer and its parameters out of botocore."""

    def __init__(self, request: AWSRequest, signer: Any, how: dict[str, str]) -> None:
        super().__init__("nothing was sent")
        self.request, self.signer, self.how = request, signer, how


class _Request:
    """A request to be signed, as botocore's signers read it. botocore's own class prepares the whole request each time
    its body is read, three times a signature, and keeps headers in an e-mail message object.
    """

    params: Mapping[str, str] = MappingProxyType({})
    auth_path: str | None = None

    def __init__(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, context: dict[str, Any]
    ) -> None:
        self.method, self.url, self.body, self.context = method, url, body, context
        self.headers = headers  # spelled as botocore's signers look them up


class Prepared:
    """One operation of an aiobotocore client with fixed arguments, over its `HttpSession`. Create it with `of`."""

    def __init__(self, operation: str, http: HttpSession, parser: Any, model: _Stopped) -> None:
        self._operation, self._parser = operation, parser
        request = model.request
        self.context: dict[str, Any] = request.context
        """The signing context of every call."""
        self.url: str = request.url
        """The endpoint's URL."""
        self.session: Session = self.context[SESSION]
        """The session of the client."""
        self._region: str | None = self.context.get("client_region")
        self._http, self._signer, self._how = http, model.signer, model.how
        self._method = request.method
        self._headers = {name: text for name, text in request.headers.items() if not name.startswith(_OF_ONE_CALL)}
        self._headers["Host"] = urlsplit(self.url).netloc  # else the signer parses the URL twice a call

    @classmethod
    async def of(cls, client: Any, operation: str, **arguments: Any) -> Prepared:
        """Prepare the operation from the request that `client` would sign. Sends nothing."""
        event = f"before-sign.{client.meta.service_model.service_id.hyphenize()}.{operation}"

        def stop(request: AWSRequest, request_signer: Any, signature_version: str, **parameters: str) -> NoReturn:
            signing = request.context.get("signing", {})
            how = {
                "signing_name": signing.get("signing_name") or parameters["signing_name"],
                "region_name": signing.get("region") or parameters["region_name"],
                "signature_version": signature_version,
            }
            raise _Stopped(request, request_signer, how)

        client.meta.events.register(event, stop)
        try:
            await getattr(client, xform_name(operation))(**arguments)
        except _Stopped as stopped:
            protocol = client.meta.service_model.resolved_protocol
            parser = client._endpoint._response_parser_factory.create_parser(protocol)
            return cls(operation, client._endpoint.http_session, parser, stopped)
        finally:
            client.meta.events.unregister(event, stop)
        raise NotImplementedError("this version of botocore does not raise before-sign")

    async def send(
        self, body: bytes | None, *, url: str = "", headers: Mapping[str, str] | None = None, in_cbor: bool = False
    ) -> ClientResponse:
        """Send one call and return the reply as `HttpSession.exchange` does, whatever its status, with its errors.

        A refusal of the caller raises ClientError. Raises Unavailable without valid credentials. `in_cbor`: the body
        is, and the reply has to be, else NotCbor is raised.
        """
        attempts = 0
        headers = {**self._headers, **(headers or {}), **(cbor.HEADERS if in_cbor else {})}
        while True:
            attempts += 1
            response = await self._sent(body, url or self.url, dict(headers))
            if in_cbor and not cbor.is_cbor(response.headers):
                response.close()
                raise cbor.NotCbor(f"status {response.status} of type {response.content_type[:_SHOWN]!r}")
            if response.status not in _REFUSING:
                return response
            refused = await self.refusal(await whole(response), in_cbor=in_cbor)
            if not await self.session.again(refused.response, self._region, attempts):
                raise refused

    async def _sent(self, body: bytes | None, url: str, headers: dict[str, str]) -> ClientResponse:
        request = _Request(self._method, url, headers, body, self.session.clock.stamped(dict(self.context)))
        (await self._auth()).add_auth(request)
        if body is not None:
            headers["Content-Length"] = str(len(body))
        return await self._http.exchange(self._method, request.url, headers, body)

    async def _auth(self) -> Any:
        """The signer of one request."""
        quick = SIGNERS.get(self._how["signature_version"])
        if quick is None:
            return await self._signer.get_auth_instance(**self._how)
        credentials = await self.session.credentials.get_frozen_credentials()
        return quick(credentials, self._how["signing_name"], self._how["region_name"])

    async def refusal(self, answer: Answer, *, in_cbor: bool = False) -> ClientError:
        """The error of a reply, parsed as botocore parses it. Raises NotCbor for one in CBOR that names no error."""
        if in_cbor:
            return ClientError(await cbor.error(*answer), self._operation)
        body = parsed(answer.status, answer.body)
        reply = {"status_code": answer.status, "headers": answer.headers, "body": body}
        return ClientError(await self._parser.parse(reply, None), self._operation)
