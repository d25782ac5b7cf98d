"""Shared by all AWS clients: cheap calls, shared credentials, and the translation of errors.

Every call runs inside `calling`, which turns every failure into a PortError and enforces a deadline.
"""

from __future__ import annotations

import contextlib
import gzip
import re
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
from botocore.loaders import JSONFileLoader, create_loader
from botocore.utils import parse_timestamp

from vortex.adapters.aws.credential_sources import Sources
from vortex.adapters.aws.credentials import Credentials
from vortex.adapters.aws.exchange import MOST_BYTES, USUAL_BYTES, Call, HttpSession, Malformed
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
"""The service refuses the credentials themselves, whatever the call: look for others."""
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
"""Maximum characters of an error's text in a message: the text may be a whole page of HTML."""
_TLS_OBJECT = re.compile(r" ssl:(?:<[^>]*>|default|True|False)")
"""The object of Python's in aiohttp's messages on connections."""
_SERVICES = ("dynamodb", "kinesis", "s3")
"""The services with a client. botocore would look through the folders of all four hundred before it loads one."""
SESSION = "vortex_session"
"""Key of the session in a call's signing context."""
_CLOCK, _ABOUT = "VortexClock", "VortexCredentials"
"""Keys in an error's details for the findings of `Session.again`."""
_AGAIN = 2
"""A call is sent again after at most this many attempts: `ServiceClock` needs two refusals to learn the time."""


class _Models(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    """Reads model files quickly: one of them, the endpoints, takes botocore 15 ms at each start."""

    def load_file(self, file_path: str) -> Any:
        """The content of the file; None where there is no such file."""
        for opened, ending in ((open, ".json"), (gzip.open, ".json.gz")):
            with contextlib.suppress(FileNotFoundError), opened(file_path + ending, "rb") as file:
                return msgspec.json.decode(file.read())
        return None


class Session(AioSession):  # type: ignore[misc]  # aiobotocore has no types
    """A session of aiobotocore for all clients of the process. `region` is the default region for assuming roles.

    Its clients share credentials that are renewed in the background. They sign by the services' time where the local
    clock is wrong. They parse times quickly (dateutil takes 36 us for each key of a listing). They reject replies that
    do not have the service's format.

    It registers handlers for botocore's events (https://docs.aws.amazon.com/boto3/latest/guide/events.html).
    """

    def __init__(self, region: str | None = None) -> None:
        super().__init__()
        self.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_instant)
        self._components.lazy_register_component("data_loader", self._models)
        self.clock = ServiceClock()
        self.sources = Sources(region, self._hook_source)
        self.credentials = Credentials(self.clock, self.sources.find, self.sources.files)
        self.register_component("credential_provider", self.credentials)
        self.register("before-parse", _check_form)
        self.register("before-sign", self._stamp)
        self.register("needs-retry", self._needs_retry)
        self.get_component("event_emitter").register_first("choose-signer", self._note)

    async def again(self, reply: Mapping[str, Any], region: str | None, attempts: int) -> bool:
        """Whether to sign and send the call again at once. `reply` is the answer to attempt number `attempts`, as
        botocore parsed it. Adds to it what it says about time and credentials, for `translate`.
        """
        refusal = self._of_time(reply)
        if refusal is not None:
            return refusal.again and attempts <= _AGAIN
        error = _error_of(reply)
        if error.get("Code") not in _REFUSED and error.get("Code") not in _DENIED:
            return False
        error[_ABOUT] = f"the credentials are from {self.credentials.description()}; region {region}"
        if error["Code"] not in _REFUSED:
            return False
        return attempts <= _AGAIN and await self.credentials.refused(current=attempts > 1)

    def _of_time(self, reply: Mapping[str, Any]) -> Refusal | None:
        error, metadata = _error_of(reply), reply.get("ResponseMetadata", {})
        code, date = str(error.get("Code", "")), metadata.get("HTTPHeaders", {}).get("date", "")
        refusal = self.clock.refused(code, str(error.get("Message", "")), date) if code else None
        if refusal is not None:
            error[_CLOCK] = refusal.detail
        elif metadata.get("HTTPStatusCode", 500) < 500:
            self.clock.accepted()
        return refusal

    def _models(self) -> Any:
        """The reader of the services' models. Called when a client is created: it reads the configuration."""
        loader = create_loader(self.get_config_variable("data_path"))
        loader.file_loader = _Models()
        loader.list_available_services = lambda type_name: _SERVICES
        return loader

    # Handlers of botocore's events.

    def _hook_source(self, session: Any) -> None:
        """Prepare a session that asks for credentials. It runs in another thread, and a refusal by STS is not about the
        present credentials, so only the time is handled.
        """

        def needs_retry(response: Any, attempts: int, **_: Any) -> float | None:
            refusal = self._of_time(response[1]) if response is not None else None
            return 0.0 if refusal is not None and refusal.again and attempts <= _AGAIN else None

        session.register("before-sign", self._stamp)
        session.register("needs-retry", needs_retry)

    async def _needs_retry(self, response: Any, attempts: int, request_dict: Any, **_: Any) -> float | None:
        """After every attempt: seconds until the next attempt, or None to stop."""
        if response is None:
            return None
        return 0.0 if await self.again(response[1], request_dict["context"].get("client_region"), attempts) else None

    def _stamp(self, request: Any, **_: Any) -> None:
        request.context = self.clock.stamped(request.context)

    def _note(self, context: dict[str, Any], **_: Any) -> None:
        context[SESSION] = self


def new_session(region: str | None = None) -> Session:
    """A new session, see `Session`."""
    return Session(region)


def _error_of(reply: Mapping[str, Any]) -> dict[str, Any]:
    """The error details of a reply; empty where there are none, or where they are malformed."""
    error = reply.get("Error")
    return error if isinstance(error, dict) else {}


def _check_form(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    """Raises Malformed for a success that is not 200, or has no JSON object. botocore would read an empty one."""
    if operation_model.service_model.resolved_protocol != "json" or response_dict["status_code"] >= 300:
        return
    if response_dict["status_code"] != 200:
        raise Malformed(f"status {response_dict['status_code']}")
    try:
        msgspec.json.decode(response_dict["body"], type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"status {response_dict['status_code']} without a JSON object: {error}") from error


def client_config(session: AioSession, **options: Any) -> AioConfig:
    """A client configuration of `options` and of what makes each call cheaper (docs/performance.md).

    The user agent is built once, not twice a call (so AWS_SDK_UA_APP_ID is ignored). Parameters are not checked
    against the service's model, since only this package sets them.
    """
    agent = f"vortex/{version('vortex-microbatcher')} {session.user_agent()}"
    return AioConfig(user_agent=agent, parameter_validation=False, http_session_cls=HttpSession, **options)


def _instant(value: Any) -> datetime:
    """Parse a time of a reply: ISO 8601 in bodies, RFC 9110 in headers, anything else as botocore does."""
    if not isinstance(value, str):
        return parse_timestamp(value)  # type: ignore[no-any-return]
    time = datetime.fromisoformat(value) if value[:4].isdigit() else parsedate_to_datetime(value)
    return time if time.tzinfo else time.replace(tzinfo=UTC)  # never the local time zone


def patience_of(client: Any) -> float:
    """Seconds that a call of the client may take without progress: connect time-out plus read time-out."""
    config = client.meta.config
    return float(config.connect_timeout + config.read_timeout)


class calling:
    """A context for one call, from the request to the last field read of the reply.

    `what` names the call and its key or shard. `patience_s`, `most_bytes` and `usual_bytes` are as in `Call`.
    `meanings` maps error codes to errors where this call gives them a special meaning.

    Raises PortError. After a reply has arrived, any exception becomes Unavailable with the cause `malformed`. Before
    that, only the known errors of network and botocore are translated; any other is a bug and passes through.
    """

    __slots__ = ("_call", "_meanings", "_what")

    def __init__(
        self,
        what: str,
        patience_s: float,
        most_bytes: int = MOST_BYTES,
        meanings: Mapping[str, type[PortError]] = MappingProxyType({}),
        usual_bytes: int = USUAL_BYTES,
    ) -> None:
        self._what, self._call, self._meanings = what, Call(patience_s, most_bytes, usual_bytes), meanings

    async def __aenter__(self) -> None:
        """Start the deadline."""
        await self._call.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Translate errors into what they mean to the caller."""
        try:
            await self._call.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise translate(late, self._what) from _bare(late)
        finally:
            trace = None  # it would stay in the frame of this method, and so in the traceback of what is raised
        if error is None or isinstance(error, PortError):
            return
        if (
            isinstance(error, ClientError)
            and status_of(error) < 500
            and (meaning := self._meanings.get(code_of(error)))
        ):
            raise meaning(f"{self._what}: {said(error)}") from _bare(error)
        if isinstance(error, ClientError | BotoCoreError | aiohttp.ClientError | OSError | Malformed):
            raise translate(error, self._what) from _bare(error)
        if isinstance(error, Exception) and self._call.replied:
            raise _malformed(error, self._what) from _bare(error)


def _bare(error: BaseException) -> BaseException:
    """The error without tracebacks, whose frames hold the body of the reply.

    botocore keeps an error in variables of frames that are in its traceback. So they would stay in memory until garbage
    is collected, which a worker does rarely.
    """
    one: BaseException | None = error
    while one is not None:
        one = one.with_traceback(None)
        one = one.__cause__ or one.__context__
    return error


def code_of(error: ClientError) -> str:
    """The error code of the service; the HTTP status where the reply is not from an AWS service."""
    return str(_error_of(error.response).get("Code") or "")


def status_of(error: ClientError) -> int:
    """The HTTP status of the reply."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def translate(error: BaseException, what: str) -> PortError:
    """The port's error for an error of botocore or aiohttp. `what` names the call and its subject.

    Throttling, 5xx, time-outs, lost connections, KMS errors and expired credentials are retried, never final: expired
    credentials get renewed, and a batch dropped because of them is lost (Vector issue 18491). Unknown errors are
    retried, too.
    """
    if isinstance(error, ClientError):
        return _of_reply(error, what)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError | TokenRetrievalError):
        return Unavailable(f"{what}: {_text(error)}", "credentials")
    origin = error.kwargs.get("error") if isinstance(error, HTTPClientError) else error  # unwrapped
    if isinstance(origin, aiohttp.ClientHttpProxyError):
        return Unavailable(f"{what}: the proxy answered {origin.status} {origin.message[:_SAID]}", "connection")
    if isinstance(origin, _NONSENSE):
        return _malformed(origin, what)
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError | TimeoutError):
        return Unavailable(f"{what}: timed out: {_text(error) or 'no complete reply'}", "timeout")
    if isinstance(error, ConnectionError | HTTPClientError | IncompleteReadError | aiohttp.ClientError | OSError):
        return Unavailable(f"{what}: {_text(error)}", "connection")
    if isinstance(error, BotoCoreError):
        return Unavailable(f"{what}: {_text(error)}", "client")
    raise error


def said(error: ClientError) -> str:
    """Code and message of an error reply, without secrets: a service may repeat the request and the signed text."""
    message = str(_error_of(error.response).get("Message") or "").partition("The Canonical String")[0]
    return without_signatures(f"{code_of(error) or status_of(error)}: {message[:_SAID]}")


def _of_reply(error: ClientError, what: str) -> PortError:
    """Translate an error reply. A code that is only a status is from a proxy, or from a server without details."""
    detail, code, status = _error_of(error.response), code_of(error), status_of(error)
    message = f"{what}: {said(error)}"
    if status >= 500 and code not in _THROTTLED:  # whatever its code says
        return Unavailable(message, "server")
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
        return Denied(f"{message} - check credentials, permissions, names and any proxy{about}")
    if not code or code == str(status):
        return Unavailable(f"{message} - this reply is not from an AWS service; check for a proxy", "malformed")
    return Unavailable(message, "other")


def _malformed(error: BaseException, what: str) -> Unavailable:
    return Unavailable(f"{what}: malformed reply: {type(error).__name__}: {_text(error)}", "malformed")


def _text(error: BaseException) -> str:
    return hidden(_TLS_OBJECT.sub("", str(error))[:_SAID])
