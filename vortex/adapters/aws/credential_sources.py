"""Where AWS credentials come from: botocore's chain of sources, asked anew each time, in a thread of its own.

A session of botocore reads its files once, and what it found renews itself as it was found. So each question has a
session of its own: a file that appeared, a profile that changed and a metadata service that is up by now are seen.
Everything that asking may raise, hang on or print ends as `SourceFailed`, in words that quote nothing of what came.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials, create_credential_resolver
from botocore.exceptions import (
    ClientError,
    ConfigParseError,
    ConnectionError,
    ConnectTimeoutError,
    HTTPClientError,
    InfiniteLoopConfigError,
    InvalidConfigError,
    LoginError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
from botocore.session import Session

from vortex.adapters.secrecy import keep

T = TypeVar("T")

FIRST_PROCESS_S, PROCESS_S = 60.0, 20.0
"""How long a credential_process may take the first time, when a person may be about, and later."""
_PROGRAM = Path(__file__).with_name("credential_process.py")
_OF_CONFIGURATION = (
    InfiniteLoopConfigError,
    InvalidConfigError,
    PartialCredentialsError,
    ProfileNotFound,
    ConfigParseError,
    UnknownCredentialError,
)
"""Their messages name profiles, settings and files, and nothing of what stands there."""
_OF_SESSIONS = (SSOError, TokenRetrievalError, LoginError)
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_HINTS = {
    "env": "the environment of a running process does not change: start it again with others",
    "sso": "run `aws sso login`; no restart is needed",
    "login": "run `aws login`; no restart is needed",
}
_FILE_VARIABLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CREDENTIAL_FILE",
    "BOTO_CONFIG",
)

_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
_SECRET_SETTINGS = {"aws_secret_access_key", "aws_session_token", "aws_security_token"}


class SourceFailed(Exception):
    """No credentials could be had. `source` names from where, `reason` says why, `hint` what a person may do."""

    def __init__(self, source: str, reason: str, hint: str = "") -> None:
        super().__init__(f"{source}: {reason}")
        self.source, self.reason, self.hint = source, reason, hint


@dataclass(frozen=True, slots=True)
class Found:
    """Credentials, what they came from, and until when they are good (epoch seconds; None: for good)."""

    frozen: ReadOnlyCredentials
    source: str
    expires: float | None = None
    hint: str = ""
    """What a person may do where they have expired."""


class Sources:
    """botocore's chain. `region` is that of STS where neither environment nor profile names one; `prepare` is given
    each session before it is used. For one thread at a time.
    """

    def __init__(self, region: str | None, prepare: Callable[[Session], None] = lambda session: None) -> None:
        self._region, self._prepare = region, prepare
        self._paths: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises BotoCoreError or ValueError where files or variables make no sense, so that nothing can be asked."""
        create_credential_resolver(Session(), region_name=self._region)

    def find(self, interactive: bool = False) -> Found:
        """What the first source has that has any. Raises SourceFailed. May take a minute.

        `interactive`: somebody may be asked for a code (MFA).
        """
        session = Session()
        self._prepare(session)
        # A source that hangs must not hang for long: it is asked again soon anyway.
        short = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
        session.set_default_client_config(short)
        method, source = "", "profile and files"
        try:
            self._paths = _paths(session)
            _kept_secret(session.full_config)
            _bounded(session.full_config, FIRST_PROCESS_S if interactive else PROCESS_S)
            if not (interactive and sys.stdin.isatty()):
                _nobody_is_asked(session)
            for provider in create_credential_resolver(session, region_name=self._region).providers:
                method, source = provider.METHOD, _named(provider.METHOD, session)
                found = provider.load()
                if found is not None:
                    return _read(found, source, _HINTS.get(method, ""))
        except SourceFailed:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a source does, it may do right the next time
            raise SourceFailed(source, _reason(error), _HINTS.get(method, "")) from None
        raise SourceFailed(_chain(session), "none found")

    def files(self) -> tuple[tuple[str, int, int, int], ...]:
        """The files that credentials may come from, those that there are: path, time of change, size and inode."""
        known, self._paths = [], self._paths or _paths(Session())
        for path in self._paths:
            with contextlib.suppress(OSError, ValueError):
                told = os.stat(path)  # noqa: PTH116
                known.append((path, told.st_mtime_ns, told.st_size, told.st_ino))
        return tuple(known)


def _paths(session: Session) -> tuple[str, ...]:
    """Raises ConfigParseError."""
    paths = [session.get_config_variable("credentials_file"), session.get_config_variable("config_file")]
    paths += [os.environ.get(name) for name in _FILE_VARIABLES]
    with contextlib.suppress(ConfigParseError):
        paths += [each.get("web_identity_token_file") for each in session.full_config.get("profiles", {}).values()]
    return tuple(dict.fromkeys(os.path.expanduser(path) for path in paths if path))  # noqa: PTH111  # as botocore does


async def in_thread(function: Callable[..., T], /, *arguments: object) -> T:
    """`function(*arguments)` in a thread that nobody waits for at the end of the process: it may hang."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, problem: BaseException | None) -> None:
        if answer.done():
            return
        if problem is not None:
            answer.set_exception(problem)
        else:
            answer.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, problem = None, None
        try:
            result = function(*arguments)
        except BaseException as error:  # noqa: BLE001  # delivered to whoever waits
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(deliver, result, problem)

    threading.Thread(target=run, name="vortex-credentials", daemon=True).start()
    return await answer


def _kept_secret(config: dict[str, Any]) -> None:
    """What is given to sources must be said as little as what comes from them."""
    keep(*(os.environ.get(name) for name in _SECRET_VARIABLES))
    for profile in config.get("profiles", {}).values():
        keep(*(told for name, told in profile.items() if name in _SECRET_SETTINGS and isinstance(told, str)))


def _bounded(config: dict[str, Any], patience_s: float) -> None:
    """Let every credential_process of the configuration run within bounds."""
    for profile in config.get("profiles", {}).values():
        if command := profile.get("credential_process"):
            bounded = [sys.executable, "-I", "-S", str(_PROGRAM), command, str(patience_s)]
            profile["credential_process"] = shlex.join(bounded)


def _nobody_is_asked(session: Session) -> None:
    """Raises SourceFailed where a profile needs the code of a device: botocore would ask standard input for it."""
    profiles = session.full_config.get("profiles", {})
    name, seen = session.get_config_variable("profile") or "default", set[str]()
    while name in profiles and name not in seen:
        seen.add(name)
        if "role_arn" in profiles[name] and "mfa_serial" in profiles[name]:
            why = "it asks for the code of a device (mfa_serial), and nobody is there to type it: use another source"
            raise SourceFailed(f"role of profile {name}", why)
        name = profiles[name].get("source_profile", "")


def _read(found: Any, source: str, hint: str) -> Found:
    """What a provider found. Credentials that botocore renews are read as they are, not renewed a second time."""
    expires = None
    if isinstance(found, RefreshableCredentials):
        if found._frozen_credentials is None:
            with contextlib.suppress(RuntimeError):  # "still expired", by the local clock
                found.get_frozen_credentials()
        frozen, until = found._frozen_credentials, found._expiry_time
        if frozen is None or until is None:
            raise SourceFailed(source, "it answered without credentials")
        expires = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp()
    else:
        frozen = found.get_frozen_credentials()
    for value in (frozen.access_key, frozen.secret_key, *([frozen.token] if frozen.token else [])):
        if not isinstance(value, str) or not _SENDABLE.fullmatch(value):
            raise SourceFailed(source, "it answered with a key or a token that cannot be sent")
    return Found(frozen, source, expires, hint)


def _named(method: str, session: Session) -> str:
    """A source, for people."""
    name = session.get_config_variable("profile") or "default"
    profile = session.full_config.get("profiles", {}).get(name, {})
    if method == "env":
        return "environment (AWS_ACCESS_KEY_ID)"
    if method in ("shared-credentials-file", "config-file"):
        variable = "credentials_file" if method == "shared-credentials-file" else "config_file"
        return f"profile {name} in {session.get_config_variable(variable)}"
    if method == "assume-role":
        return f"role {profile.get('role_arn')} of profile {name}"
    if method == "assume-role-with-web-identity":
        path = os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") or profile.get("web_identity_token_file")
        return f"web identity token {path}, role {os.environ.get('AWS_ROLE_ARN') or profile.get('role_arn')}"
    if method == "custom-process":
        return f"credential_process of profile {name}"
    if method == "container-role":
        told = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
        where = urlsplit(told)  # its path may be all that keeps others from asking there
        return f"container endpoint {where.hostname}:{where.port or where.scheme}" if told else "container endpoint"
    if method == "iam-role":
        return "instance metadata service"
    return f"{method} of profile {name}"


def _chain(session: Session) -> str:
    """Where all was looked, for people."""
    name = session.get_config_variable("profile") or "default"
    return (
        f"environment, profile {name} (in {session.get_config_variable('credentials_file')} and "
        f"{session.get_config_variable('config_file')}), container endpoint, instance metadata service"
    )


def _reason(error: Exception) -> str:
    """What went wrong, in words of our own: errors quote what came, and what came may hold secrets."""
    if isinstance(error, ClientError):
        code = re.sub(r"[^A-Za-z0-9.:_-]", "", str(error.response.get("Error", {}).get("Code", "")))[:64]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "?")
        return f"{error.operation_name} was answered with {code or 'no code'} (HTTP {status})"
    if isinstance(error, _OF_CONFIGURATION):
        return str(error)
    if isinstance(error, _OF_SESSIONS):
        return "its token has expired, or is missing"
    told = str(getattr(error, "kwargs", {}).get("error_msg", ""))
    if "the command " in told and error.kwargs.get("provider") == "custom-process":  # type: ignore[attr-defined]
        return told[told.index("the command ") :].strip()
    if status := re.search(r"non 200 response (\d{3})", told):
        return f"it answered HTTP {status[1]}"
    if "Unable to parse JSON" in told or isinstance(error, ValueError | TypeError | AttributeError | KeyError):
        return "its answer makes no sense"
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError | TimeoutError) or "timeout" in told.lower():
        return "it did not answer in time"
    if isinstance(error, HTTPClientError | ConnectionError) or "Received error when attempting" in told:
        return "it cannot be reached"
    if isinstance(error, OSError):
        return f"{error.filename or 'it'}: {error.strerror or type(error).__name__}"
    return f"it failed ({type(error).__name__})"
