"""Receipts of replayed rejections: put if absent before a rejection is sent, so that nothing is put back twice.

    replays/<shard>/<sequence number>-<sub>/1.json            the first attempt has begun
    replays/<shard>/<sequence number>-<sub>/1-sent.json       Kinesis has it
    replays/<shard>/<sequence number>-<sub>/1-refused.json    Kinesis certainly does not have it; attempt 2 may follow

An attempt without an outcome is one of unknown outcome: its process ended, or no reply came. Receipts are kept forever.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import count

import msgspec

from vortex.lookup.rejections import Rejection
from vortex.ports import NotFound, ObjectStore
from vortex.retry import Retry

FOLDER = "replays"
IN_PROGRESS_MS = 3_600_000
"""An attempt that began less than this ago may still be in progress."""


class Standing(Enum):
    """Whether a rejection may be sent."""

    MINE = "may be sent"
    SENT = "was sent before"
    UNKNOWN = "unknown outcome"


class _Begun(msgspec.Struct):
    run: str
    by: str
    at: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer for one rejection; `attempt` is the number of the attempt."""

    standing: Standing
    attempt: int = 1


class Receipts:
    """The receipts of one stream; `root` is its folder. `run` must be new for every process."""

    def __init__(self, store: ObjectStore, root: str, retry: Retry, *, run: str, by: str) -> None:
        self._store, self._root, self._retry, self._run, self._by = store, root, retry.of("store"), run, by

    async def claim(self, one: Rejection, now_ms: int, *, resend_unknown: bool = False) -> Claim:
        """Begin an attempt, durably, if none was sent and none has an unknown outcome. Raises PortError.

        With `resend_unknown` attempts of unknown outcome are repeated once they are an hour old.
        """
        body = msgspec.json.encode(_Begun(self._run, self._by, now_ms))
        for attempt in count(1):
            key = self._key(one, f"{attempt}")
            if await self._put(key, body):
                return Claim(Standing.MINE, attempt)
            begun = msgspec.json.decode(await self._get(key), type=_Begun)
            if await self._exists(self._key(one, f"{attempt}-sent")):
                return Claim(Standing.SENT, attempt)
            if await self._exists(self._key(one, f"{attempt}-refused")):
                continue
            if begun.run == self._run:  # our own put, whose reply was lost
                return Claim(Standing.MINE, attempt)
            if not resend_unknown or now_ms - begun.at < IN_PROGRESS_MS:
                return Claim(Standing.UNKNOWN, attempt)
        raise AssertionError("unreachable")

    async def look(self, one: Rejection) -> Standing:
        """What a claim would find, without beginning an attempt."""
        for attempt in count(1):
            if not await self._exists(self._key(one, f"{attempt}")):
                return Standing.MINE
            if await self._exists(self._key(one, f"{attempt}-sent")):
                return Standing.SENT
            if not await self._exists(self._key(one, f"{attempt}-refused")):
                return Standing.UNKNOWN
        raise AssertionError("unreachable")

    async def sent(self, one: Rejection, claim: Claim, sequence: str) -> None:
        """Record that Kinesis has it, under this sequence number."""
        await self._put(self._key(one, f"{claim.attempt}-sent"), msgspec.json.encode({"sequence": sequence}))

    async def refused(self, one: Rejection, claim: Claim, why: str) -> None:
        """Record that Kinesis does not have it."""
        await self._put(self._key(one, f"{claim.attempt}-refused"), msgspec.json.encode({"why": why}))

    def _key(self, one: Rejection, name: str) -> str:
        return f"{self._root}/{FOLDER}/{one.shard}/{one.sequence}-{one.sub}/{name}.json"

    async def _put(self, key: str, body: bytes) -> bool:
        return await self._retry(f"put {key}", lambda: self._store.put_if_absent(key, body, "application/json"))

    async def _get(self, key: str) -> bytes:
        return await self._retry(f"get {key}", lambda: self._store.get(key))

    async def _exists(self, key: str) -> bool:
        async def look() -> bool:
            try:
                await self._store.get_tail(key, 1)
            except NotFound:
                return False
            return True

        return await self._retry(f"look for {key}", look)
