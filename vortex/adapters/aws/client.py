"""What all AWS clients share: how they are made, so that a call costs little, their credentials, what errors mean.

Every call is made inside `calling`: whatever comes of it is an answer or a PortError, and in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from types import MappingProxyType, TracebackType
from typing import Any

import aiohttp
import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from aiohttp.http_exceptions import HttpProcessingError
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    TokenRetrievalError,
)
from botocore.utils import parse_timestamp

from vortex.adapters.aws.credential_sources import Sources
from vortex.adapters.aws.credentials import Credentials
from vortex.adapters.aws.exchange import MOST_BYTES, Call, HttpSession, Malformed
from vortex.adapters.aws.service_time import Refusal, ServiceClock
from vortex.adapters.secrecy import hidden, without_signatures
from vortex.ports import Denied, IteratorExpired, NotFound, PortError, Unavailable

_THROTTLED = {
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "SlowDown",
    "TooManyRequestsException",
    "429",
    "503",
}
_CONFLICT = {
    "ConditionalRequestConflict",
    "OperationAborted",
    "ReplicatedWriteConflictException",
    "ResourceInUseException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "409",
}
_REFUSED = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
"""The credentials themselves are refused, whoever is asked for what: others are looked for."""
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "NoSuchBucket",
    "OptInRequired",
    "PermanentRedirect",
    "ResourceNotFoundException",
    "ValidationException",
}
_MISSING = {"NoSuchKey", "NotFound"}
_NONSENSE = (Malformed, aiohttp.ClientResponseError, HttpProcessingError, ChecksumError, FlexibleChecksumError)
_SAID = 300
"""Characters of an error's text that are told: it may be a whole page of HTML."""
SESSION = "vortex_session"
"""Under which a call's signing context holds the session."""
_CLOCK, _ABOUT = "VortexClock", "VortexCredentials"
"""Under which an error's details hold what `Session.again` found out."""
_AGAIN = 2
"""Attempts after which a call is made once more: of two refusals the time is learned."""


class Session(AioSession):  # type: ignore[misc]  # aiobotocore has no types
    """A session of aiobotocore whose clients share credentials that are renewed in the background, and sign by the
    services' time where the local clock is wrong. They read times quickly (dateutil takes 36 us for each key of a
    listing), and believe no reply that is not of the service's form. `region` is where roles are assumed, if nothing
    else says so.

    What it hooks into are botocore's own events (https://docs.aws.amazon.com/boto3/latest/guide/events.html).
    """

    def __init__(self, region: str | None = None) -> None:
        super().__init__()
        self.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_instant)
        self.clock = ServiceClock()
        self.sources = Sources(region, self._hook_source)
        self.credentials = Credentials(self.clock, self.sources.find, self.sources.files)
        self.register_component("credential_provider", self.credentials)
        self.register("before-parse", _check_form)
        self.register("before-sign", self._stamp)
        self.register("needs-retry", self._needs_retry)
        self.get_component("event_emitter").register_first("choose-signer", self._note)

    async def again(self, reply: Mapping[str, Any], region: str | None, attempts: int) -> bool:
        """Look at a reply as botocore has parsed it, the `attempts`-th to a call, and note in it what it says about
        time and credentials, for `translate`. Whether to sign and send the call again at once.
        """
        refusal = self._of_time(reply)
        if refusal is not None:
            return refusal.again and attempts <= _AGAIN
        error = _error_of(reply)
        if error.get("Code") not in _REFUSED and error.get("Code") not in _DENIED:
            return False
        error[_ABOUT] = f"the credentials are those of {self.credentials.told()}; region {region}"
        if error["Code"] not in _REFUSED:
            return False
        return attempts <= _AGAIN and await self.credentials.refused(sure=attempts > 1)

    def _of_time(self, reply: Mapping[str, Any]) -> Refusal | None:
        error, told = _error_of(reply), reply.get("ResponseMetadata", {})
        code, date = str(error.get("Code", "")), told.get("HTTPHeaders", {}).get("date", "")
        refusal = self.clock.refused(code, str(error.get("Message", "")), date) if code else None
        if refusal is not None:
            error[_CLOCK] = refusal.detail
        elif told.get("HTTPStatusCode", 500) < 500:
            self.clock.accepted()
        return refusal

    # What botocore's events call.

    def _hook_source(self, session: Any) -> None:
        """A session that asks for credentials is of another thread, and what STS refuses are not the present ones."""

        def needs_retry(response: Any, attempts: int, **_: Any) -> float | None:
            refusal = self._of_time(response[1]) if response is not None else None
            return 0.0 if refusal is not None and refusal.again and attempts <= _AGAIN else None

        session.register("before-sign", self._stamp)
        session.register("needs-retry", needs_retry)

    async def _needs_retry(self, response: Any, attempts: int, request_dict: Any, **_: Any) -> float | None:
        """After every attempt: seconds to wait for the next one, or None for none."""
        if response is None:
            return None
        return 0.0 if await self.again(response[1], request_dict["context"].get("client_region"), attempts) else None

    def _stamp(self, request: Any, **_: Any) -> None:
        request.context = self.clock.stamped(request.context)

    def _note(self, context: dict[str, Any], **_: Any) -> None:
        context[SESSION] = self


def new_session(region: str | None = None) -> Session:
    """A session; see there."""
    return Session(region)


def _error_of(reply: Mapping[str, Any]) -> dict[str, Any]:
    """What a reply says of an error; nothing where it says nothing, or nonsense."""
    error = reply.get("Error")
    return error if isinstance(error, dict) else {}


def _check_form(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    """Raises Malformed for a success without a JSON object, where one belongs: botocore takes it for an empty one."""
    if operation_model.service_model.resolved_protocol != "json" or response_dict["status_code"] >= 300:
        return
    try:
        msgspec.json.decode(response_dict["body"], type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"status {response_dict['status_code']} without a JSON object: {error}") from error


def client_config(session: AioSession, **options: Any) -> AioConfig:
    """`options` and what makes each call of a client cheaper (docs/performance.md): its user agent is put together
    once, not twice a call (which leaves AWS_SDK_UA_APP_ID out of it), and the parameters are not checked against the
    service's model, since they are all this package's own.
    """
    agent = f"vortex/{version('vortex-microbatcher')} {session.user_agent()}"
    return AioConfig(user_agent=agent, parameter_validation=False, http_session_cls=HttpSession, **options)


def _instant(value: Any) -> datetime:
    """A time of a reply: ISO 8601 in bodies, RFC 9110 in headers, else whatever botocore makes of it."""
    if not isinstance(value, str):
        return parse_timestamp(value)  # type: ignore[no-any-return]
    told = datetime.fromisoformat(value) if value[:4].isdigit() else parsedate_to_datetime(value)
    return told if told.tzinfo else told.replace(tzinfo=UTC)  # never the time zone of whoever reads


def patience_of(client: Any) -> float:
    """Seconds that a call of the client may take while nothing moves: what it may take to connect, and to answer."""
    config = client.meta.config
    return float(config.connect_timeout + config.read_timeout)


class calling:
    """What is done inside is one call: asked, answered, and every field read that is wanted of its reply.

    `what` names the call and the key or shard that it is about; `patience_s` and `most_bytes` as in `Call`. Raises
    PortError: Unavailable, `malformed`, for anything at all that goes wrong once a reply has come. What goes wrong
    before is a bug of this program, unless it is one of the errors that a network, or botocore, is known to give.
    `meanings`: of error codes, where they have one of their own for this call.
    """

    __slots__ = ("_call", "_meanings", "_what")

    def __init__(
        self,
        what: str,
        patience_s: float,
        most_bytes: int = MOST_BYTES,
        meanings: Mapping[str, type[PortError]] = MappingProxyType({}),
    ) -> None:
        self._what, self._call, self._meanings = what, Call(patience_s, most_bytes), meanings

    async def __aenter__(self) -> None:
        """Time begins to run."""
        await self._call.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Errors become what they mean to the caller."""
        try:
            await self._call.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise translate(late, self._what) from late
        if error is None or isinstance(error, PortError):
            return
        if isinstance(error, ClientError) and (meaning := self._meanings.get(code_of(error))):
            raise meaning(f"{self._what}: {said(error)}") from error
        if isinstance(error, ClientError | BotoCoreError | aiohttp.ClientError | OSError | Malformed):
            raise translate(error, self._what) from error
        if isinstance(error, Exception) and self._call.replied:
            raise _malformed(error, self._what) from error


def code_of(error: ClientError) -> str:
    """The service's code for it; a status where no service of AWS said anything."""
    return str(_error_of(error.response).get("Code") or "")


def status_of(error: ClientError) -> int:
    """The reply's status."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def translate(error: BaseException, what: str) -> PortError:
    """The port's error for one of botocore's or aiohttp's. `what` names the call, and what it was about.

    Retried, never final: throttling, 5xx, time-outs, lost connections, KMS troubles, and expired credentials (somebody
    renews those; a batch dropped for them is lost: Vector issue 18491). What nobody knows is retried, too.
    """
    if isinstance(error, ClientError):
        return _of_reply(error, what)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError | TokenRetrievalError):
        return Unavailable(f"{what}: {_text(error)}", "credentials")
    origin = error.kwargs.get("error") if isinstance(error, HTTPClientError) else error  # what aiobotocore wrapped
    if isinstance(origin, aiohttp.ClientHttpProxyError):
        return Unavailable(f"{what}: the proxy answers {origin.status} {origin.message[:_SAID]}", "connection")
    if isinstance(origin, _NONSENSE):
        return _malformed(origin, what)
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError | TimeoutError):
        return Unavailable(f"{what}: timed out: {_text(error) or 'no whole answer came'}", "timeout")
    if isinstance(error, ConnectionError | HTTPClientError | IncompleteReadError | aiohttp.ClientError | OSError):
        return Unavailable(f"{what}: {_text(error)}", "connection")
    if isinstance(error, BotoCoreError):
        return Unavailable(f"{what}: {_text(error)}", "client")
    raise error


def said(error: ClientError) -> str:
    """Code and message of an error reply, without secrets: a service may repeat what was sent, and what was signed."""
    told = str(_error_of(error.response).get("Message") or "").partition("The Canonical String")[0]
    return without_signatures(f"{code_of(error) or status_of(error)}: {told[:_SAID]}")


def _of_reply(error: ClientError, what: str) -> PortError:
    """What an error reply means. Nobody's code is a status alone: of a proxy, or a server that could say no more."""
    detail, code, status = _error_of(error.response), code_of(error), status_of(error)
    message = f"{what}: {said(error)}"
    if code == "ExpiredIteratorException":
        return IteratorExpired(message)
    if code in _MISSING:
        return NotFound(message)
    if code in _THROTTLED:
        return Unavailable(message, "throttled")
    if code in _CONFLICT or status == 409:
        return Unavailable(message, "conflict")
    if _CLOCK in detail:
        return Unavailable(f"{message} - clock: {detail[_CLOCK]}", "clock")
    if code in _REFUSED:
        return Unavailable(f"{message} - {detail.get(_ABOUT, 'renew the credentials')}", "credentials")
    if code.startswith("KMS"):
        return Unavailable(message, "kms")
    if code in _DENIED or status in (401, 403, 407):
        about = f"; {detail[_ABOUT]}" if _ABOUT in detail else ""
        return Denied(f"{message} - check credentials, permissions, names, and any proxy between{about}")
    if status >= 500:
        return Unavailable(message, "server")
    if not code or code == str(status):
        return Unavailable(f"{message} - no service of AWS says that: is there a proxy between?", "malformed")
    return Unavailable(message, "other")


def _malformed(error: BaseException, what: str) -> Unavailable:
    return Unavailable(f"{what}: the reply makes no sense: {type(error).__name__}: {_text(error)}", "malformed")


def _text(error: BaseException) -> str:
    return hidden(str(error)[:_SAID])
