"""Finds AWS credentials through botocore's chain of sources, with a new session for each search, in its own thread.

A botocore session reads its files once and renews credentials only from the source that gave them. A new session for
each search also sees new files, changed profiles, and a metadata service that has started since. Every error, hang or
output of a source becomes `SourceFailed`, whose text quotes nothing that the source returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import shlex
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials, create_credential_resolver
from botocore.exceptions import ConfigParseError
from botocore.session import Session

from vortex.adapters.aws.bounded_replies import BoundedSession, bound
from vortex.adapters.aws.credential_reasons import (
    chain,
    check_container,
    check_texts,
    is_of_settings,
    line,
    named,
    reason,
)
from vortex.adapters.secrecy import keep

T = TypeVar("T")

FIRST_PROCESS_S, PROCESS_S = 60.0, 20.0
"""How long a credential_process may take, in seconds: the first time, when an operator may be present, and later."""
_THREAD, _MOST_THREADS = "vortex-credentials", 8
"""A search that is given up leaves a thread behind until its source ends, for example a file on a disk that hangs."""
_PROGRAM = Path(__file__).with_name("credential_process.py")
_SENDABLE, _LONGEST = re.compile(r"[\x21-\x7e]+"), 16 * 1024
"""What a header can hold. Tokens of AWS have one or two kilobytes."""
_TEMPORARY = {"assume-role", "assume-role-with-web-identity", "container-role", "iam-role", "sso"}
"""Sources whose credentials always have a session token."""
_ACCOUNT = re.compile(r"[0-9]{12}")
"""An account becomes part of the host names of endpoints."""
_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
"""Offsets from UTC can put an expiry outside the years that a date may have."""
_HINTS = {
    "env": "the environment of a running process does not change: start it again with others",
    "sso": "run `aws sso login`; a worker that runs needs no restart",
    "login": "run `aws login`; a worker that runs needs no restart",
}
_CORRECT = "correct it; a file is read again, but a change of the environment needs a restart"
_FILE_VARIABLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CREDENTIAL_FILE",
    "BOTO_CONFIG",
)

_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
_SECRET_SETTINGS = {"aws_secret_access_key", "aws_session_token", "aws_security_token"}


class SourceFailed(Exception):
    """A source gave no credentials: `source` names it, `reason` says why, `hint` says what an operator can do."""

    def __init__(self, source: str, reason: str, hint: str = "") -> None:
        source = line(source)
        super().__init__(f"{source}: {reason}")
        self.source, self.reason, self.hint = source, reason, hint


@dataclass(frozen=True, slots=True)
class Found:
    """Credentials, their source, and when they expire (epoch seconds; None: never)."""

    frozen: ReadOnlyCredentials
    source: str
    expires: float | None = None
    hint: str = ""
    """What an operator can do when they have expired."""


class Sources:
    """botocore's chain of credential sources. Not thread-safe.

    `region` is the region of STS where neither environment nor profile names one. `prepare` is called with each session
    before it is used.
    """

    def __init__(self, region: str | None, prepare: Callable[[Session], None] = lambda session: None) -> None:
        self._region, self._prepare = region, prepare
        self._paths: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises BotoCoreError or ValueError where files or variables are invalid, so that no source can be asked."""
        create_credential_resolver(Session(include_builtin_handlers=False), region_name=self._region)

    def find(self, interactive: bool = False) -> Found:
        """Return the credentials of the first source that has any. Raises SourceFailed. May take a minute.

        `interactive`: a source may ask for an MFA code on the terminal.
        """
        try:
            return self._search(interactive)
        except SourceFailed as failed:
            failed.__context__ = None  # as the traceback, it refers to the session
            raise failed.with_traceback(None) from None
        finally:
            # A session and its clients refer to each other, and hold 4 to 8 MiB. A worker collects garbage so rarely
            # that dozens of them would stay in memory.
            gc.collect(1)

    def _search(self, interactive: bool) -> Found:
        session = BoundedSession()
        self._prepare(session)
        # Short time-outs: a search that hangs blocks the next one, which comes soon anyway.
        short = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
        session.set_default_client_config(short)
        method, source = "", "profile and files"
        try:
            self._paths = _paths(session)
            _kept_secret(session.full_config)
            _well_formed(check_texts, source, session.full_config)
            _bounded(session.full_config, FIRST_PROCESS_S if interactive else PROCESS_S)
            if not (interactive and sys.stdin and sys.stdin.isatty()):
                _refuse_mfa(session)
            providers = create_credential_resolver(session, region_name=self._region).providers
            for provider in providers:  # all before the first: a role takes the keys of the others
                bound(provider)
            for provider in providers:
                method, source = provider.METHOD, named(provider.METHOD, session)
                if method == "container-role":
                    _well_formed(check_container, source, os.environ)
                found = provider.load()
                if found is not None:
                    read = _read(found, source, _HINTS.get(method, ""))
                    if method in _TEMPORARY and not read.frozen.token:
                        raise SourceFailed(source, "it returned credentials without a session token")
                    return read
        except SourceFailed:
            raise
        except Exception as error:  # noqa: BLE001  # any failure of a source may be temporary
            hint = _HINTS.get(method, "") if method == "env" or not is_of_settings(error) else _CORRECT
            raise SourceFailed(source, reason(error, method), hint) from None
        raise SourceFailed(chain(session), "none found")

    def files(self) -> tuple[tuple[str, int, int, int], ...]:
        """The existing files that credentials may come from, as (path, mtime in ns, size, inode)."""
        known, self._paths = [], self._paths or _paths(Session(include_builtin_handlers=False))
        for path in self._paths:
            with contextlib.suppress(OSError, ValueError):
                status = os.stat(path)  # noqa: PTH116
                known.append((path, status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(known)


def _paths(session: Session) -> tuple[str, ...]:
    """Paths of all credential and configuration files. Raises ConfigParseError."""
    paths = [session.get_config_variable("credentials_file"), session.get_config_variable("config_file")]
    paths += [os.environ.get(name) for name in _FILE_VARIABLES]
    with contextlib.suppress(ConfigParseError):
        paths += [each.get("web_identity_token_file") for each in session.full_config.get("profiles", {}).values()]
    texts = (path for path in paths if path and isinstance(path, str))
    return tuple(dict.fromkeys(map(os.path.expanduser, texts)))  # as botocore does


async def in_thread(function: Callable[..., T], /, *arguments: object) -> T:
    """Run `function(*arguments)` in a daemon thread: it may hang, and the exit of the process must not wait for it.

    Raises SourceFailed if too many of these threads hang already: each holds memory.
    """
    if sum(thread.name == _THREAD for thread in threading.enumerate()) >= _MOST_THREADS:
        raise SourceFailed("the sources", f"{_MOST_THREADS} earlier searches still hang")
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
        except BaseException as error:  # noqa: BLE001  # delivered to the caller
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(deliver, result, problem)

    threading.Thread(target=run, name=_THREAD, daemon=True).start()
    return await answer


def _well_formed(check: Callable[[Mapping[str, Any]], None], source: str, settings: Mapping[str, Any]) -> None:
    try:
        check(settings)
    except ValueError as wrong:
        raise SourceFailed(source, line(str(wrong)), _CORRECT) from None


def _kept_secret(config: dict[str, Any]) -> None:
    """Register the secrets that are given to sources, so that they are hidden from logs too."""
    keep(*(os.environ.get(name) for name in _SECRET_VARIABLES))
    for profile in config.get("profiles", {}).values():
        keep(*(text for name, text in profile.items() if name in _SECRET_SETTINGS and isinstance(text, str)))


def _bounded(config: dict[str, Any], patience_s: float) -> None:
    """Run every credential_process of the configuration through the wrapper that limits its time and output."""
    for profile in config.get("profiles", {}).values():
        command = profile.get("credential_process")
        if command is not None:
            bounded = [sys.executable, "-I", "-S", str(_PROGRAM), command, str(patience_s)]
            profile["credential_process"] = shlex.join(bounded)


def _refuse_mfa(session: Session) -> None:
    """Raises SourceFailed where a profile needs an MFA code: botocore would read it from standard input."""
    profiles = session.full_config.get("profiles", {})
    name, seen = session.get_config_variable("profile") or "default", set[str]()
    while name in profiles and name not in seen:
        seen.add(name)
        if "role_arn" in profiles[name] and "mfa_serial" in profiles[name]:
            why = "it needs an MFA code (mfa_serial), which cannot be entered here; use another source"
            raise SourceFailed(f"role of profile {name}", why)
        name = profiles[name].get("source_profile", "")


def _read(found: Any, source: str, hint: str) -> Found:
    """Convert what a provider returned. Credentials that botocore can renew are read as they are, without a renewal."""
    expires = None
    if isinstance(found, RefreshableCredentials):
        if found._frozen_credentials is None:
            with contextlib.suppress(RuntimeError):  # "still expired", by the local clock
                found.get_frozen_credentials()
        frozen, until = found._frozen_credentials, found._expiry_time
        if frozen is None or until is None:
            raise SourceFailed(source, "it returned no credentials")
        expires = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp()
        expires = min(max(expires, 0.0), _LATEST)
    else:
        frozen = found.get_frozen_credentials()
    for value in (frozen.access_key, frozen.secret_key, *([frozen.token] if frozen.token else [])):
        if not isinstance(value, str) or not _SENDABLE.fullmatch(value):
            raise SourceFailed(source, "it returned a key or token with invalid characters")
        if len(value) > _LONGEST:
            raise SourceFailed(source, f"it returned a key or token of {len(value):,} characters")
    account = frozen.account_id
    if account is not None and not (isinstance(account, str) and _ACCOUNT.fullmatch(account)):
        frozen = frozen._replace(account_id=None)
    return Found(frozen, source, expires, hint)
