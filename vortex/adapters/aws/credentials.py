"""The AWS credentials of a process: one set for all clients, renewed in the background before it expires.

aiobotocore's own credentials renew themselves inside the call that needs them. An error of the source then ends the
call, ten minutes before expiry at the latest; every call repeats a failed renewal; and a source, once found, is never
searched for again. Here one renewal at a time runs in the background while all calls continue, and each renewal
searches the whole chain of sources. Without valid credentials, calls raise `Unavailable` with the cause `credentials`,
until a source works again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from botocore.credentials import ReadOnlyCredentials

from vortex.adapters.aws.credential_sources import Found, SourceFailed, in_thread
from vortex.adapters.aws.service_time import ServiceClock
from vortex.adapters.secrecy import keep
from vortex.ports import Offload, Unavailable

log = logging.getLogger(__name__)

_EARLY_S = 900.0
"""Credentials are renewed this long before they expire, as by other SDKs, or after half of their life."""
_LOOK_S = 5.0
"""Seconds between two checks of the files, and the longest delay for decisions by the wall clock."""
_FIRST_S, _LONGEST_S, _UNHURRIED_S = 0.5, 10.0, 60.0
"""Pauses after a failed renewal, in seconds: without valid credentials from the first value up to the second, with
valid ones up to the third. Renewals because of refusals, where the source repeats the refused credentials, also pause
up to the third."""
_WAIT_S, _SHORTLY_S = 20.0, 5.0
"""Seconds that a call waits for the first credentials, and for new ones; the call's own time-out may be shorter."""
_GIVEN_UP_S = 300.0
"""After this time a search is abandoned and started again in another thread: it may hang on an unrelated disk."""
_UNDER_WAY_S = 5.0
"""For this long after a renewal, replies may belong to calls that were signed with the old credentials."""
_SAY_AGAIN_S, _SAY_OTHER_S = 300.0, 60.0
_NOTHING_SAID: tuple[bool | None, str, float] = (None, "", 0.0)
_DO = "set them there, or give the process a role; a worker that runs needs no restart"


class Credentials:
    """The credentials of aiobotocore's clients, and the credential provider of its sessions.

    `find` searches the sources (`Sources.find`); its argument says whether this is the first search. `files` describes
    the credential files, so that changes are seen. `offload` runs both in a thread. `count` receives "renewed" or
    "failed".
    """

    method = "vortex"

    def __init__(
        self,
        clock: ServiceClock,
        find: Callable[[bool], Found],
        files: Callable[[], object],
        *,
        offload: Offload = in_thread,
        rng: Random | None = None,
    ) -> None:
        self.count: Callable[[str], None] = lambda result: None
        self._clock, self._find, self._files, self._offload = clock, find, files, offload
        self._rng = rng or Random()
        self._present: Found | None = None
        self._refused = False
        """Whether a service has refused the present credentials since the last search."""
        self._repeats = 0
        """How many times in a row the source returned the refused credentials."""
        self._seen_files: object = None
        self._looking: asyncio.Task[None] | None = None
        self._look_at = self._renew_at = 0.0
        """When to check the files, and when to renew, by the monotonic clock."""
        self._asked_at = self._changed_at = float("-inf")
        """When the last search ended, and when the credentials last changed."""
        self._failures = 0
        self._trouble: SourceFailed | None = None
        self._said = _NOTHING_SAID
        """The last failure that was logged: whether valid credentials were left, its reason, and when."""

    # Called by aiobotocore.

    async def load_credentials(self) -> Credentials:
        """The session's provider of credentials; searches nothing before credentials are needed."""
        return self

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The credentials to sign with. Raises Unavailable where there are no valid ones."""
        return await self._frozen(_WAIT_S)

    async def get_account_id(self) -> str | None:
        """The account of the credentials, if known soon: endpoints of Kinesis and DynamoDB may contain it. Never fails,
        since creating a client needs it and endpoints without the account also work.
        """
        with contextlib.suppress(Unavailable):
            await self._frozen(_SHORTLY_S)
        account: str | None = self._present.frozen.account_id if self._present is not None else None
        return account

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """Called by botocore: returns a function that reads `account_id` later."""
        return getattr(self, f"get_{name}", lambda: None)

    # Called by adapters and commands.

    async def refused(self, *, current: bool) -> bool:
        """A service has refused the credentials: search again. Returns whether to repeat the call with new ones.

        `current`: the refused call was signed with the present credentials. If false, they may be the previous ones.
        """
        before, now = self._present, self._clock.monotonic()
        if not current and now - self._changed_at < _UNDER_WAY_S:
            return True
        pause = min(_UNHURRIED_S, 2.0 ** max(self._repeats, self._failures) - 1)
        if not self._refused and now - self._asked_at < pause:
            return False
        self._refused, self._look_at = True, 0.0
        with contextlib.suppress(Unavailable):
            await self._frozen(_SHORTLY_S)
            if self._refused:  # the check under way covered only the files
                await self._frozen(_SHORTLY_S)
        return before is not None and self._present is not None and before.frozen != self._present.frozen

    def description(self) -> str:
        """The source and the expiry of the credentials, or why there are none."""
        if self._present is None or self._expired(self._present):
            return str(self._unavailable(self._present)) if self._trouble is not None else "not searched yet"
        return _described(self._present)

    # Renewal.

    async def _frozen(self, patience_s: float) -> ReadOnlyCredentials:
        """The present credentials if they are valid, without waiting for a renewal under way; else new ones."""
        present, now = self._present, self._clock.monotonic()
        if present is not None and now < self._look_at:
            return present.frozen
        bad = present is None or self._refused or self._expired(present)
        if self._looking is None:
            due = now >= self._renew_at or self._refused or (bad and not self._failures)
            self._looking = asyncio.ensure_future(self._look(due))
            self._looking.add_done_callback(self._done)
            self._look_at = 0.0 if bad else now + _LOOK_S
        if bad:
            await asyncio.wait({self._looking}, timeout=patience_s if present is None else _SHORTLY_S)
            present = self._present
        if present is None or self._expired(present):
            raise self._unavailable(present)
        return present.frozen

    def _done(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled():
            task.result()

    async def _look(self, due: bool) -> None:
        """Search for credentials if a renewal is due or a file has changed."""
        try:
            async with asyncio.timeout(_GIVEN_UP_S):
                files = await self._offload(self._files)
                changed, self._seen_files = files != self._seen_files, files
                if not due and not changed:
                    return
                due = True
                self._accept(await self._offload(self._find, self._present is None))
        except TimeoutError:
            self._failed(SourceFailed("the sources", f"none has answered within {_GIVEN_UP_S:g} s"))
        except SourceFailed as problem:
            self._failed(problem)
        finally:
            if due:
                self._refused, self._asked_at = False, self._clock.monotonic()

    def _accept(self, found: Found) -> None:
        """Use these credentials from now on. Raises SourceFailed where they have already expired."""
        keep(found.frozen.secret_key, found.frozen.token)
        if self._expired(found):
            raise SourceFailed(found.source, f"it returned credentials that expired at {_at(found.expires or 0)}")
        before, now = self._present, self._clock.monotonic()
        if self._failures or (before is not None and before.source != found.source):
            log.info("credentials: from %s", _described(found))
        if before is not None and before.frozen != found.frozen:
            self._changed_at, self._repeats = now, 0
        elif self._refused:
            self._repeats += 1
        self._present, self._trouble, self._failures, self._said = found, None, 0, _NOTHING_SAID
        left = float("inf") if found.expires is None else found.expires - self._clock.now()
        self._renew_at = now + max(left / 2, left - _EARLY_S, 1.0)
        self._look_at = min(now + _LOOK_S, self._renew_at)
        self.count("renewed")

    def _failed(self, problem: SourceFailed) -> None:
        """Keep the present credentials while they are valid. Logs once; a different reason again after a minute."""
        self.count("failed")
        now, present = self._clock.monotonic(), self._present
        self._failures += 1
        self._trouble = problem
        valid = present is not None and not self._expired(present)
        left = float("inf") if present is None or present.expires is None else present.expires - self._clock.now()
        if valid:
            pause = self._rng.uniform(0.5, 1.0) * min(_UNHURRIED_S, max(2.0, left / 10))
        else:
            pause = self._rng.uniform(_FIRST_S, min(_LONGEST_S, _FIRST_S * 2.0 ** min(self._failures, 6)))
        self._renew_at = now + pause
        self._look_at = now + min(pause, left, _LOOK_S)
        said, reason, said_at = self._said
        if said == valid and now - said_at < (_SAY_AGAIN_S if reason == str(problem) else _SAY_OTHER_S):
            return
        self._said = (valid, str(problem), now)
        if present is not None and valid:
            log.warning("credentials: not renewed: %s; still using those from %s", problem, _described(present))
        else:
            log.error("credentials: no valid credentials: %s", problem)

    def _expired(self, found: Found) -> bool:
        """Whether they have expired. Never true before a reply has confirmed the clock: then the service decides."""
        return found.expires is not None and found.expires <= self._clock.now() and self._clock.trusted

    def _unavailable(self, present: Found | None) -> Unavailable:
        trouble, hint = self._trouble, present.hint if present is not None else ""
        why = str(trouble) if trouble is not None else "the source does not answer"
        if present is not None:
            why = f"credentials from {present.source} expired at {_at(present.expires or 0)}; {why}"
        if trouble is not None and trouble.hint:
            hint = trouble.hint
        return Unavailable(f"no valid AWS credentials: {why}; {hint or _DO}", "credentials")


def _described(found: Found) -> str:
    until = "without expiry" if found.expires is None else f"valid until {_at(found.expires)}"
    return f"{found.source}, {until}"


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
