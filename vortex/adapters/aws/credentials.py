"""The AWS credentials of a process: one pair for all clients, renewed in time, with the present one until it expires.

aiobotocore's own renew themselves in whichever call needs them: what a source raises ends the call, ten minutes before
they expire at the latest; a failed renewal is tried again by every call; and what was found once is never looked for
again. Here one renewal at a time runs in the background, everybody else goes on, and each begins with the whole chain
of sources. What cannot be had is `Unavailable` with the cause `credentials`, and had as soon as a source is well.
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
"""Credentials are renewed a quarter of an hour before they expire, as by other SDKs, or after half of their life."""
_LOOK_S = 5.0
"""How often files are looked at, at most; and how late what is decided by the wall clock may be seen."""
_FIRST_S, _LONGEST_S, _UNHURRIED_S = 0.5, 10.0, 60.0
"""Pauses after a renewal that failed: with nothing valid from the first on to the second; else up to the third. And
between two renewals because of refusals, where the source goes on giving what was refused: up to the third, too."""
_WAIT_S, _SHORTLY_S = 20.0, 5.0
"""How long a call waits for the first credentials; and for others, which may be less than what it has itself."""
_GIVEN_UP_S = 300.0
"""After so long a question is given up, and asked again in another thread: a disk may hang that is not needed."""
_UNDER_WAY_S = 5.0
"""For how long after a renewal replies may come to what was signed before."""
_SAY_AGAIN_S, _SAY_OTHER_S = 300.0, 60.0
_NOTHING_SAID: tuple[bool | None, str, float] = (None, "", 0.0)
_DO = "set them there, or give the process a role; no restart is needed"


class Credentials:
    """What aiobotocore's clients take for credentials, and its sessions for the provider of them.

    `find` asks the sources (`Sources.find`), and is told whether this is the first time; `files` says what lies on the
    disk, to be compared; `offload` runs both, in a thread. `count` is told "renewed" or "failed".
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
        """Whether a service has refused the present ones since they were last asked for."""
        self._repeats = 0
        """How often in a row the source gave what had been refused."""
        self._seen_files: object = None
        self._looking: asyncio.Task[None] | None = None
        self._look_at = self._renew_at = 0.0
        """When something has to be looked at, and when to be renewed, by the monotonic clock."""
        self._asked_at = self._changed_at = float("-inf")
        """When they were asked for last, and when the pair was another one before."""
        self._failures = 0
        self._trouble: SourceFailed | None = None
        self._said = _NOTHING_SAID
        """Whether there were valid ones when a failure was said last; of what reason; and when."""

    # For aiobotocore.

    async def load_credentials(self) -> Credentials:
        """As a session's provider of credentials: nothing is asked before they are needed."""
        return self

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """To sign with. Raises Unavailable where there are none that are valid."""
        return await self._frozen(_WAIT_S)

    async def get_account_id(self) -> str | None:
        """The account they are of, where a source tells it soon: endpoints of Kinesis and DynamoDB may have it in their
        names. Clients are made with it, so it never fails: others will do.
        """
        with contextlib.suppress(Unavailable):
            await self._frozen(_SHORTLY_S)
        account: str | None = self._present.frozen.account_id if self._present is not None else None
        return account

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """Of botocore: a way to ask for `account_id` later."""
        return getattr(self, f"get_{name}", lambda: None)

    # For adapters and people.

    async def refused(self, *, sure: bool) -> bool:
        """A service has refused them: they are asked for anew. Whether there are others now, to call again with.

        `sure`: the present ones, not those before them, which a call may have been signed with that came back now.
        """
        before, now = self._present, self._clock.monotonic()
        if not sure and now - self._changed_at < _UNDER_WAY_S:
            return True
        pause = min(_UNHURRIED_S, 2.0 ** max(self._repeats, self._failures) - 1)
        if not self._refused and now - self._asked_at < pause:
            return False
        self._refused, self._look_at = True, 0.0
        with contextlib.suppress(Unavailable):
            await self._frozen(_SHORTLY_S)
            if self._refused:  # it was only the files that were being looked at
                await self._frozen(_SHORTLY_S)
        return before is not None and self._present is not None and before.frozen != self._present.frozen

    def told(self) -> str:
        """What they came from and until when they are good; or why there are none."""
        if self._present is None or self._expired(self._present):
            return (
                str(self._unavailable(self._present)) if self._trouble is not None else "no source that was asked yet"
            )
        return _told(self._present)

    # How they are kept.

    async def _frozen(self, patience_s: float) -> ReadOnlyCredentials:
        """The present ones where they are good, whatever has to be done about them meanwhile; else new ones."""
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
        """Ask for them anew where that is due, or where a file has changed."""
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
        """These are good from now on. Raises SourceFailed where they have expired already."""
        keep(found.frozen.secret_key, found.frozen.token)
        if self._expired(found):
            raise SourceFailed(found.source, f"it gave credentials that expired at {_at(found.expires or 0)}")
        before, now = self._present, self._clock.monotonic()
        if self._failures or (before is not None and before.source != found.source):
            log.info("credentials: from %s", _told(found))
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
        """The present ones go on while they are good. Said once; again after a minute where the reason is another."""
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
            log.warning("credentials: not renewed: %s; going on with those from %s", problem, _told(present))
        else:
            log.error("credentials: there are none that are valid: %s", problem)

    def _expired(self, found: Found) -> bool:
        """By a clock that no reply has confirmed yet nothing has expired: the service is to say."""
        return found.expires is not None and found.expires <= self._clock.now() and self._clock.trusted

    def _unavailable(self, present: Found | None) -> Unavailable:
        trouble, hint = self._trouble, present.hint if present is not None else ""
        why = str(trouble) if trouble is not None else "the source does not answer"
        if present is not None:
            why = f"those from {present.source} expired at {_at(present.expires or 0)}; {why}"
        if trouble is not None and trouble.hint:
            hint = trouble.hint
        return Unavailable(f"no valid AWS credentials: {why}; {hint or _DO}", "credentials")


def _told(found: Found) -> str:
    until = "which do not expire" if found.expires is None else f"good until {_at(found.expires)}"
    return f"{found.source}, {until}"


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
