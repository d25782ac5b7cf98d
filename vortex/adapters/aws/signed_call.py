"""Calls that a worker makes all day, without what botocore does anew for each of them.

Through the ordinary client a call costs 500 to 700 us of CPU before its first byte (docs/performance.md): hooks,
endpoint rules, validation. From one call to the next only the body, the signature and perhaps the key differ. So
botocore is asked once what it would sign: the endpoint as its rules resolve it, the headers, the signer and its way.
Each call signs that with its own body and goes over the client's own connections; the signature, credentials (and their
renewal), proxies, CA bundle and time-outs are botocore's, as for every other call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from aiohttp import ClientResponse
from botocore import xform_name
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from vortex.adapters.aws.client import SESSION, Session
from vortex.adapters.aws.exchange import Answer, HttpSession, parsed, whole

_OF_ONE_CALL = ("amz-sdk-", "Expect")
"""Beginnings of headers that are not repeated: an invocation's id and the number of its attempt are of one call alone,
and whether to wait for "100 Continue" depends on the body."""
_REFUSING = {400, 401, 403}
"""Statuses of replies that may be about credentials, or the time of a signature."""


class _Stopped(Exception):
    """Carries what was about to be signed out of botocore, and how it would have been."""

    def __init__(self, request: AWSRequest, signer: Any, how: dict[str, str]) -> None:
        super().__init__("nothing was sent")
        self.request, self.signer, self.how = request, signer, how


class _Request(AWSRequest):  # type: ignore[misc]  # botocore has no types
    """To be signed. botocore's own prepares all of itself whenever its body is asked for, three times a signature, and
    keeps its headers as those of an e-mail are kept, which takes a third of the signature's time.
    """

    body: Any = b""

    def __init__(self, method: str, url: str, headers: dict[str, str]) -> None:
        super().__init__(method, url)
        self.headers = headers  # spelled as botocore's signers spell those that they look for


class Prepared:
    """One operation of an aiobotocore client, with fixed arguments, over its `HttpSession`. Made by `of`."""

    def __init__(self, operation: str, http: HttpSession, parser: Any, model: _Stopped) -> None:
        self._operation, self._parser = operation, parser
        request = model.request
        self.context: dict[str, Any] = request.context
        """What the signer is told of every call."""
        self.url: str = request.url
        """Where calls go."""
        self.session: Session = self.context[SESSION]
        """The session that the client is of."""
        self._region: str | None = self.context.get("client_region")
        self._http, self._signer, self._how = http, model.signer, model.how
        self._method = request.method
        self._headers = {name: text for name, text in request.headers.items() if not name.startswith(_OF_ONE_CALL)}
        self._headers["Host"] = urlsplit(self.url).netloc  # the signer would parse the URL for it, twice a call

    @classmethod
    async def of(cls, client: Any, operation: str, **arguments: Any) -> Prepared:
        """What `client` would sign for the operation; nothing is sent."""
        event = f"before-sign.{client.meta.service_model.service_id.hyphenize()}.{operation}"

        def stop(request: AWSRequest, request_signer: Any, signature_version: str, **told: str) -> NoReturn:
            signing = request.context.get("signing", {})
            how = {
                "signing_name": signing.get("signing_name") or told["signing_name"],
                "region_name": signing.get("region") or told["region_name"],
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
        raise NotImplementedError("this version of botocore signs without saying so")

    async def send(
        self, body: bytes | None, *, url: str = "", headers: Mapping[str, str] | None = None
    ) -> ClientResponse:
        """The reply, as `HttpSession.exchange` gives it, and with what that raises: whatever its status, but for those
        that refuse the caller. Raises ClientError for these, Unavailable where there are no credentials that are valid.
        """
        attempts = 0
        while True:
            attempts += 1
            response = await self._sent(body, url or self.url, {**self._headers, **(headers or {})})
            if response.status not in _REFUSING:
                return response
            refused = await self.refusal(await whole(response))
            if not await self.session.again(refused.response, self._region, attempts):
                raise refused

    async def _sent(self, body: bytes | None, url: str, headers: dict[str, str]) -> ClientResponse:
        request = _Request(self._method, url, headers)
        request.body, request.context = body, self.session.clock.stamped(dict(self.context))
        auth = await self._signer.get_auth_instance(**self._how)
        auth.add_auth(request)
        signed = request.headers
        if body is not None:
            signed["Content-Length"] = str(len(body))
        return await self._http.exchange(self._method, request.url, signed, body)

    async def refusal(self, answer: Answer) -> ClientError:
        """What an error reply says, read as botocore reads it."""
        body = parsed(answer.status, answer.body)
        told = {"status_code": answer.status, "headers": answer.headers, "body": body}
        return ClientError(await self._parser.parse(told, None), self._operation)
