"""What `vortex check` asks of a store: each thing that Vortex relies on, tried, one line each; nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vortex.config.loading import ConfigError
from vortex.core.layout import STATE
from vortex.ports import Denied, NotFound, ObjectStore, PortError, Unavailable

STEP_S = 30.0
"""How long a step may take: what is well takes a fraction of a second."""
_WRITERS = 16
_TRIES = 3
_LARGE = 2**20 + 1
"""Bytes; from a mebibyte on, clients ask first whether a body is wanted (`Expect: 100-continue`)."""
_APART = "nothing could keep two writers apart: Vortex cannot run on it"
_LOST = "what is there could not be told from what is not: Vortex cannot run on it"
_TEXT = b"0123456789"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the answer."""

    what: str
    ok: bool
    detail: str


class CheckFailed(Exception):
    """The service answered, but not as it must; the message says what follows."""


async def tried(what: str, call: Callable[[], Awaitable[str]], *, means: str = "", allow: str = "") -> Line:
    """The line of one step: what went well, or what went wrong, and what follows from that.

    `means` is said where the service answered otherwise than it must, `allow` (a permission) where it denied access.
    """
    try:
        async with asyncio.timeout(STEP_S):
            return Line(what, True, await call())
    except CheckFailed as problem:
        reason, follows = str(problem), means
    except Denied as problem:
        reason, follows = str(problem), ""
        if allow and "NoSuchBucket" not in reason:
            follows = f"needed is {allow}"
    except PortError as problem:
        reason, follows = str(problem), ""
    except TimeoutError:
        reason = f"no answer within {STEP_S:.0f} s"
        follows = "is the endpoint reachable from here (proxy, firewall, VPC endpoint)?"
    except ConfigError:
        raise
    except Exception as problem:  # noqa: BLE001 - whatever a server answers becomes a line
        reason, follows = f"an answer that makes no sense: {type(problem).__name__}: {problem}", means
    return Line(what, False, f"{reason}; {follows}" if follows else reason)


@dataclass(slots=True)
class StoreProbe:
    """Tries one store, below a folder of its own."""

    store: ObjectStore
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
                yield Line("store", False, "the rest was not tried: nothing could be written")
            yield await self._tried("store delete", self._delete, f"see {self.folder}", "s3:DeleteObject")
            self._made.clear()
        finally:
            if self._made:  # interrupted
                await tried("", self._delete)

    async def _tried(self, what: str, call: Callable[[], Awaitable[str]], means: str, allow: str) -> Line:
        on_disk = self.store.url.startswith("file:")  # a disk knows no such permissions
        return await tried(what, call, means=means, allow="" if on_disk else allow)

    def _steps(self) -> list[tuple[str, Callable[[], Awaitable[str]], str, str]]:
        """What, how, what a wrong answer means, and the permission that is needed."""
        get, listing = "s3:GetObject", "s3:ListBucket on the prefix"
        return [
            ("store put-if-absent", self._put_again, _APART, get),
            ("store race", self._race, _APART, get),
            ("store get", self._get, _LOST, get),
            ("store range", self._range, "segments are read by ranges: Vortex cannot run on it", get),
            ("store tail", self._tail, "the newest segments are read by their tails: Vortex cannot run on it", get),
            ("store large body", self._large, "segments and objects are larger than that", get),
            ("store list", self._list, "logs are found by listings: Vortex cannot run on it", listing),
            ("store names", self._names, "two customers would share a file: use another store", ""),
        ]

    def _key(self, name: str) -> str:
        key = f"{self.folder}/{name}"
        self._made.add(key)
        return key

    async def _create(self, name: str, body: bytes = _TEXT) -> bool:
        return await self.store.put_if_absent(self._key(name), body)

    async def _put(self) -> str:
        if not await self._create("a"):
            raise CheckFailed("a new key is said to exist")
        return f"a key was created below {self.store.url}/{self.folder}"

    async def _missing(self) -> str:
        for what, call in (("get", self.store.get), ("ranged get", lambda key: self.store.get_tail(key, 10))):
            try:
                await call(f"{self.folder}/none")
            except NotFound:
                continue
            raise CheckFailed(f"a {what} of a key that does not exist was answered")
        return "is told as missing"

    async def _put_again(self) -> str:
        if not await self._create("b") or await self._create("b", b"second"):
            raise CheckFailed("the store does not honour put-if-absent (If-None-Match: *): it took a second put")
        if await self.store.get(self._key("b")) != _TEXT:
            raise CheckFailed("the store does not honour put-if-absent (If-None-Match: *): a refused put took effect")
        return "a second put is refused, and changes nothing"

    async def _race(self) -> str:
        bodies = [b"%d" % number * 1000 for number in range(_WRITERS)]
        outcomes = await asyncio.gather(*(self._insist("race", body) for body in bodies))
        won = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome]
        found = await self.store.get(self._key("race"))
        if len(won) > 1 or found not in (won or bodies):
            raise CheckFailed(f"of {_WRITERS} writers at once {len(won)} were told that they created the same key")
        return f"of {_WRITERS} writers at once one creates the key"

    async def _insist(self, name: str, body: bytes) -> bool:
        """A put whose outcome is unknown is tried again, as the service does."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(Unavailable):
                return await self._create(name, body)
        return await self._create(name, body)

    async def _get(self) -> str:
        if await self.store.get(self._key("a")) != _TEXT:
            raise CheckFailed("other bytes came back than were put")
        return "what was put is read back"

    async def _range(self) -> str:
        if (found := await self.store.get_range(self._key("a"), 3, 4)) != _TEXT[3:7]:
            raise CheckFailed(f"four bytes were asked for, {len(found)} came, or others")
        if await self.store.get_range(self._key("a"), 8, 100) != _TEXT[8:]:
            raise CheckFailed("a range beyond the end does not give what there is")
        return "a range is read, also one beyond the end"

    async def _tail(self) -> str:
        for length in (4, 10, 1000):
            found = await self.store.get_tail(self._key("a"), length)
            if found != (_TEXT[-length:], len(_TEXT)):
                longer = " longer than the object" if length > len(_TEXT) else ""
                raise CheckFailed(f"the last {length} bytes are wrong, or the size beside them: a suffix range{longer}")
        return "the last bytes are read, also more than there are"

    async def _large(self) -> str:
        body = secrets.token_bytes(_LARGE)
        if not await self._create("large", body) or await self.store.get(self._key("large")) != body:
            raise CheckFailed("a body of more than 1 MiB came back as another")
        return "a body of more than 1 MiB is put and read back"

    async def _list(self) -> str:
        names = ["l/10", "l/9", "l/a-b", "l/a/c"]
        for name in names:
            await self._create(name)
        keys = [self._key(name) for name in names]
        if [info.key async for info in self.store.list(f"{self.folder}/l/")] != keys:
            raise CheckFailed("keys are not listed at once, all, and in the order of their bytes")
        if [info.key async for info in self.store.list(f"{self.folder}/l/", keys[1])] != keys[2:]:
            raise CheckFailed("a listing does not begin after the key that is named (start-after)")
        if [name async for name in self.store.list_folders(f"{self.folder}/l/")] != ["a"]:
            raise CheckFailed("folders are not listed (delimiter)")
        return "keys are listed at once, in order"

    async def _names(self) -> str:
        for name in ("n/x", "n/X", "n/x.", "n/c=%C3%A9%2F/d=1"):
            if not await self._create(name):
                raise CheckFailed(f"{name}: names that differ by a capital or a dot at the end are one")
        return "names that differ by a capital, a dot or an escape are several"

    async def _delete(self) -> str:
        keys = sorted(self._made)
        await self.store.delete(keys)
        try:
            left = [info.key async for info in self.store.list(f"{self.folder}/")]
        except Denied:
            return "done"  # the line about listings says it
        if left:
            raise CheckFailed(f"{len(left)} keys are still there")
        return "all of it is gone again"


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
