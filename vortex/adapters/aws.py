"""What all AWS clients share: how they are made, so that a call costs little, and what their errors mean."""

from __future__ import annotations

import asyncio
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    TokenRetrievalError,
)
from botocore.utils import parse_timestamp

from vortex.adapters.exchange import HttpSession
from vortex.ports import Denied, InvalidPosition, IteratorExpired, NotFound, PortError, Unavailable

_THROTTLED = {
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "SlowDown",
    "TooManyRequestsException",
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
_EXPIRED_CREDENTIALS = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeTooSkewed"}
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "NoSuchBucket",
    "OptInRequired",
    "PermanentRedirect",
    "ResourceNotFoundException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "ValidationException",
    "403",
}
_MISSING = {"NoSuchKey", "404", "NotFound"}


def new_session() -> AioSession:
    """A session whose clients read times quickly: dateutil takes 36 us for each key of a listing."""
    session = AioSession()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_instant)
    return session


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
    return datetime.fromisoformat(value) if value[:4].isdigit() else parsedate_to_datetime(value)


def translate(error: BaseException, what: str) -> PortError:
    """The port's error for one of botocore's. `what` names the call and the key or shard that it was about.

    Retried, never final: throttling, 5xx, time-outs, lost connections, KMS troubles, and expired credentials (somebody
    renews those; a batch dropped for them is lost: Vector issue 18491). What nobody knows is retried, too.
    """
    if isinstance(error, ClientError):
        return _of_reply(error, what)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Denied(f"{what}: no AWS credentials found ({error}); set them in the environment, or give a role")
    if isinstance(error, CredentialRetrievalError | TokenRetrievalError):
        return Unavailable(f"{what}: {error}", "credentials")
    if isinstance(error, ReadTimeoutError | TimeoutError | asyncio.TimeoutError):
        return Unavailable(f"{what}: timed out: {error}", "timeout")
    if isinstance(error, ConnectionError | HTTPClientError | OSError):
        return Unavailable(f"{what}: {error}", "connection")
    if isinstance(error, BotoCoreError):
        return Unavailable(f"{what}: {error}", "client")
    raise error


def _of_reply(error: ClientError, what: str) -> PortError:
    detail = error.response.get("Error", {})
    code = str(detail.get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = f"{what}: {code}: {detail.get('Message', '')}"
    if code == "ExpiredIteratorException":
        return IteratorExpired(message)
    if code == "InvalidArgumentException":
        return InvalidPosition(message)
    if code in _MISSING:
        return NotFound(message)
    if code in _THROTTLED:
        return Unavailable(message, "throttled")
    if code in _CONFLICT or status == 409:
        return Unavailable(message, "conflict")
    if code in _EXPIRED_CREDENTIALS:
        return Unavailable(message, "credentials")
    if code.startswith("KMS"):
        return Unavailable(message, "kms")
    if code in _DENIED or status in (401, 403):
        return Denied(f"{message} - check credentials, permissions and names")
    return Unavailable(message, "server" if status >= 500 else "other")
