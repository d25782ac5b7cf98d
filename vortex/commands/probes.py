"""The steps of `vortex check` on a store: they try every property that Vortex relies on, and delete what they wrote."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vortex.config.loading import ConfigError
from vortex.core.layout import STATE
from vortex.core.wording import counted
from vortex.ports import Denied, NotFound, ObjectStore, PortError, Unavailable

STEP_S = 30.0
"""How long a step may take: what is well takes a fraction of a second."""
_WRITERS = 16
_TRIES = 3
_LARGE = 2**20 + 1
"""Bytes; from a mebibyte on, clients ask first whether a body is wanted (`Expect: 100-continue`)."""
_APART = "two writers could overwrite each other; Vortex cannot use this store"
_LOST = "Vortex could not tell what exists from what does not; it cannot use this store"
_TEXT = b"0123456789"
_UNREACHED = ("connection", "timeout")
"""Causes of an error that a wrong address may have."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the answer."""

    what: str
    ok: bool
    detail: str


class CheckFailed(Exception):
    """The service answered, but not as it must; the message says what follows."""


async def tried(
    what: str, call: Callable[[], Awaitable[str]], *, means: str = "", allow: str = "", endpoint: str = ""
) -> Line:
    """The line of one step: what went well, or what went wrong, and what follows from that.

    `means` is said where the service answered otherwise than it must, `allow` (a permission) where it denied access,
    `endpoint` (the setting that names its address, if that is set) where there was no connection.
    """
    try:
        async with asyncio.timeout(STEP_S):
            return Line(what, True, await call())
    except CheckFailed as problem:
        reason, follows = str(problem), means
    except Denied as problem:
        reason, follows = str(problem), ""
        if allow and "NoSuchBucket" not in reason:
            follows = f"allow {allow}"
    except PortError as problem:
        reason, follows = str(problem), ""
        if endpoint and isinstance(problem, Unavailable) and problem.cause in _UNREACHED:
            follows = f"check {endpoint}, and that it can be reached from here"
    except TimeoutError:
        reason = f"no answer within {STEP_S:.0f} s"
        follows = f"check that {endpoint or 'the endpoint'} is reachable from here (proxy, firewall, VPC endpoint)"
    except ConfigError:
        raise
    except Exception as problem:  # noqa: BLE001 - whatever a server answers becomes a line
        reason, follows = f"unexpected answer: {type(problem).__name__}: {problem}", means
    return Line(what, False, f"{reason}; {follows}" if follows else reason)


@dataclass(slots=True)
class StoreProbe:
    """Tries one store, below a folder of its own."""

    store: ObjectStore
    endpoint: str = ""
    """As in `tried`."""
    folder: str = field(default_factory=lambda: f"{STATE}/_check/{secrets.token_hex(8)}")
    _made: set[str] = field(default_factory=set)

    async def lines(self) -> AsyncIterator[Line]:
        """Every step in turn; what was put is deleted by the last one, whatever the others found."""
        try:
            put = await self._tried("store put", self._put, "", "s3:PutObject")
            yield put
            yield await self._tried("store missing key", self._missing, _LOST, "s3:ListBucket on the prefix")
            for what, call, means, allow in self._steps() if put.ok else ():
                yield await self._tried(what, call, means, allow)
            if not put.ok:
                yield Line("store", False, "the other checks were skipped, as nothing could be written")
            yield await self._tried("store delete", self._delete, f"see {self.folder}", "s3:DeleteObject")
            self._made.clear()
        finally:
            if self._made:  # interrupted
                await tried("", self._delete)

    async def _tried(self, what: str, call: Callable[[], Awaitable[str]], means: str, allow: str) -> Line:
        on_disk = self.store.url.startswith("file:")  # a disk knows no such permissions
        return await tried(what, call, means=means, allow="" if on_disk else allow, endpoint=self.endpoint)

    def _steps(self) -> list[tuple[str, Callable[[], Awaitable[str]], str, str]]:
        """What, how, what a wrong answer means, and the permission that is needed."""
        get, listing = "s3:GetObject", "s3:ListBucket on the prefix"
        return [
            ("store put-if-absent", self._put_again, _APART, get),
            ("store race", self._race, _APART, get),
            ("store get", self._get, _LOST, get),
            ("store range", self._range, "Vortex reads segments by ranges; it cannot use this store", get),
            ("store tail", self._tail, "Vortex reads segments by suffix ranges; it cannot use this store", get),
            (
                "store large body",
                self._large,
                "segments and objects are larger than that; Vortex cannot use this store",
                get,
            ),
            ("store list", self._list, "Vortex finds segments by listing keys; it cannot use this store", listing),
            ("store names", self._names, "two customers could share a file; use another store", ""),
        ]

    def _key(self, name: str) -> str:
        key = f"{self.folder}/{name}"
        self._made.add(key)
        return key

    async def _create(self, name: str, body: bytes = _TEXT) -> bool:
        return await self.store.put_if_absent(self._key(name), body)

    async def _put(self) -> str:
        if not await self._create("a"):
            raise CheckFailed("the store says that a new key already exists")
        return f"created a key below {self.store.url}/{self.folder}"

    async def _missing(self) -> str:
        for what, call in (("get", self.store.get), ("ranged get", lambda key: self.store.get_tail(key, 10))):
            try:
                await call(f"{self.folder}/none")
            except NotFound:
                continue
            raise CheckFailed(f"a {what} of a missing key did not fail")
        return "reported as missing"

    async def _put_again(self) -> str:
        if not await self._create("b") or await self._create("b", b"second"):
            raise CheckFailed("the store does not honour put-if-absent (If-None-Match: *): it accepted a second put")
        if await self.store.get(self._key("b")) != _TEXT:
            raise CheckFailed(
                "the store does not honour put-if-absent (If-None-Match: *): a refused put changed the object"
            )
        return "a second put is refused and changes nothing"

    async def _race(self) -> str:
        bodies = [b"%d" % number * 1000 for number in range(_WRITERS)]
        outcomes = await asyncio.gather(*(self._insist("race", body) for body in bodies))
        won = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome]
        found = await self.store.get(self._key("race"))
        if len(won) == 1 and found != won[0]:
            raise CheckFailed(f"of {_WRITERS} concurrent writers, one created the key, and another one changed it")
        if len(won) > 1 or found not in bodies:
            raise CheckFailed(f"of {_WRITERS} concurrent writers, {len(won)} got the reply that they created the key")
        return f"of {_WRITERS} concurrent writers, one creates the key"

    async def _insist(self, name: str, body: bytes) -> bool:
        """A put whose outcome is unknown is tried again, as the service does."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(Unavailable):
                return await self._create(name, body)
        return await self._create(name, body)

    async def _get(self) -> str:
        if await self.store.get(self._key("a")) != _TEXT:
            raise CheckFailed("read back other bytes than were written")
        return "reads back what was written"

    async def _range(self) -> str:
        if (found := await self.store.get_range(self._key("a"), 3, 4)) != _TEXT[3:7]:
            raise CheckFailed(f"asked for four bytes; got {len(found)}, or other ones")
        if await self.store.get_range(self._key("a"), 8, 100) != _TEXT[8:]:
            raise CheckFailed("a range that ends beyond the object does not return the rest of it")
        return "reads ranges, also beyond the end"

    async def _tail(self) -> str:
        for length in (4, 10, 1000):
            found = await self.store.get_tail(self._key("a"), length)
            if found != (_TEXT[-length:], len(_TEXT)):
                longer = " (longer than the object)" if length > len(_TEXT) else ""
                raise CheckFailed(f"a suffix range of {length} bytes{longer} returned other bytes or another size")
        return "reads suffix ranges, also longer than the object"

    async def _large(self) -> str:
        body = secrets.token_bytes(_LARGE)
        if not await self._create("large", body) or await self.store.get(self._key("large")) != body:
            raise CheckFailed("a body above 1 MiB came back changed")
        return "reads back a body above 1 MiB"

    async def _list(self) -> str:
        names = ["l/10", "l/9", "l/a-b", "l/a/c", "l/é注/c"]
        for name in names:
            await self._create(name)
        keys = [self._key(name) for name in names]
        if [info.key async for info in self.store.list(f"{self.folder}/l/")] != keys:
            raise CheckFailed("a listing does not show all keys at once, as they were written, in byte order")
        if [info.key async for info in self.store.list(f"{self.folder}/l/", keys[1])] != keys[2:]:
            raise CheckFailed("a listing does not start after the given key (start-after)")
        if [name async for name in self.store.list_folders(f"{self.folder}/l/")] != ["a", "é注"]:
            raise CheckFailed("a listing does not show folders (delimiter)")
        return "lists keys at once, in order"

    async def _names(self) -> str:
        for name in ("n/x", "n/X", "n/x.", "n/c=%C3%A9%2F/d=1"):
            if not await self._create(name):
                raise CheckFailed(f"{name}: names that differ only in case or in a trailing dot are the same key")
        return "names that differ in case, in a trailing dot or in an escape are different keys"

    async def _delete(self) -> str:
        keys = sorted(self._made)
        await self.store.delete(keys)
        try:
            left = [info.key async for info in self.store.list(f"{self.folder}/")]
        except Denied:
            return "done"  # the line about listings says it
        if left:
            raise CheckFailed(f"did not delete {counted(len(left), 'key')}")
        return "deleted all test keys"


@contextlib.contextmanager
def leaving_no_folders(root: Path, below: str) -> Iterator[None]:
    """Empty folders on disk that have come into being meanwhile, at `root/below` or above or below it, go again."""
    folder = root / below
    fresh = []
    with contextlib.suppress(OSError):  # who may not look makes none either
        fresh = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        inner = sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else []
        for path in (*inner, *fresh):
            with contextlib.suppress(OSError):
                path.rmdir()
