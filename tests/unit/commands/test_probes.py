"""The probes of `vortex check` on stores with one fault: which line fails, and with which message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from unicodedata import normalize

import pytest

from simulation.memstore import MemoryStore
from simulation.vtime import VirtualClock, run
from vortex.adapters.disk.store import LocalDirStore
from vortex.commands.probes import STEP_S, Line, StoreProbe, leaving_no_folders
from vortex.core.model import ObjectInfo
from vortex.ports import Denied, ObjectStore, Unavailable

STEPS = [
    "store put",
    "store missing key",
    "store put-if-absent",
    "store race",
    "store get",
    "store range",
    "store tail",
    "store large body",
    "store list",
    "store names",
    "store delete",
]


async def lines(store: ObjectStore) -> list[Line]:
    """All lines of the check of a store."""
    return [line async for line in StoreProbe(store).lines()]


def failures(found: list[Line]) -> dict[str, str]:
    """The failed lines and their messages."""
    return {line.what: line.detail for line in found if not line.ok}


class FaultyStore(MemoryStore):
    """A store with one fault."""

    def __init__(self, fault: str = "") -> None:
        super().__init__(VirtualClock())
        self.fault = fault
        self.conflicts: list[bytes] = []
        self.before = self._refuse

    async def _refuse(self, operation: str, key: str) -> None:
        await asyncio.sleep(0)
        if operation in self.fault.split(" denied")[0].split(", ") and self.fault.endswith("denied"):
            raise Denied(f"{key}: AccessDenied")
        if self.fault == f"{operation} hangs":
            await asyncio.sleep(10 * STEP_S)

    def put_now(self, key: str, body: bytes) -> bool:
        """A put."""
        if self.fault.startswith("overwrites") and key in self.objects:
            self.objects[key] = body
            return self.fault == "overwrites"
        if self.fault == "one case":
            key = key.lower()
        if self.fault == "cut" and len(body) > 2**20:
            body = body[: 2**20]
        if self.fault == "crashes":
            raise KeyError("ETag")
        return super().put_now(key, body)

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "") -> bool:
        """A put that checks before it writes, or that reports a wrong outcome."""
        if self.fault == "looks first":
            there = key in self.objects
            await asyncio.sleep(0)
            if not there and not self.put_now(key, body):
                self.objects[key] = body
            return not there
        made = await super().put_if_absent(key, body, content_type)
        if self.fault == "two winners" and key.endswith("/race") and body.startswith(b"1"):
            return True
        if self.fault == "conflicts" and key.endswith("/race") and not made and body not in self.conflicts:
            self.conflicts.append(body)
            raise Unavailable(f"{key}: ConditionalRequestConflict", "conflict")
        return made

    async def get(self, key: str) -> bytes:
        """A get, which can return an empty object for a missing key."""
        if self.fault == "finds everything" and key not in self.objects:
            return b""
        return await super().get(key)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """A range, which can return the whole object."""
        return await (self.get(key) if self.fault == "ignores ranges" else super().get_range(key, offset, length))

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """A tail, which can fail when it is longer than the object."""
        body, size = await super().get_tail(key, length)
        return (b"", 0) if self.fault == "416" and length > size else (body, size)

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """A listing, which can be late, unordered, or start at the beginning."""
        found = [info async for info in super().list(prefix, "" if self.fault == "no start-after" else start_after)]
        if self.fault == "unordered":
            found.reverse()
        if self.fault == "decomposes":  # as HFS+ does
            found = [ObjectInfo(normalize("NFD", info.key), info.size, info.modified_ms) for info in found]
        for info in found[1:] if self.fault == "lists late" else found:
            yield info

    async def delete(self, keys: Iterable[str]) -> None:
        """A deletion, which can do nothing."""
        await super().delete([] if self.fault == "keeps" else keys)


APART = "two writers could overwrite each other; Vortex cannot use this store"


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("", {}),
        ("conflicts", {}),
        ("overwrites", {"store put-if-absent": APART, "store race": f"16 got the reply {APART}"}),
        (
            "overwrites in silence",
            {"store put-if-absent": f"a refused put changed the object; {APART}", "store race": APART},
        ),
        ("looks first", {"store race": APART}),
        ("two winners", {"store race": f"got the reply that they created the key; {APART}"}),
        ("finds everything", {"store missing key": "a get of a missing key did not fail"}),
        (
            "ignores ranges",
            {"store range": "asked for four bytes; got 10, or other ones; Vortex reads segments by ranges"},
        ),
        (
            "416",
            {"store tail": "(longer than the object) returned other bytes or another size; Vortex reads"},
        ),
        ("cut", {"store large body": "a body above 1 MiB came back changed"}),
        ("unordered", {"store list": "in byte order; Vortex finds segments by listing keys"}),
        ("decomposes", {"store list": "all keys at once, as they were written"}),
        ("no start-after", {"store list": "start-after"}),
        ("lists late", {"store list": "a listing does not show all keys at once"}),
        ("one case", {"store names": "n/X: names that differ only in case"}),
        ("keeps", {"store delete": "did not delete 13 keys; see _vortex/_check/"}),
        (
            "crashes",
            {"store put": "unexpected answer: KeyError: 'ETag'", "store": "the other checks were skipped"},
        ),
    ],
)
def test_check_fails_the_line_of_the_faulty_operation_and_passes_the_others(fault: str, found: dict[str, str]) -> None:
    """The message says what the fault means."""
    store = FaultyStore(fault)
    failed = failures(run(lines(store)))
    assert set(failed) == set(found)
    for what, words in found.items():
        assert all(part in failed[what] for part in words.split(" reply ")), failed[what]
    assert fault in ("keeps", "one case") or store.objects == {}


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("put denied", {"store put": "s3:PutObject", "store": "the other checks were skipped"}),
        (
            "put, delete denied",
            {"store put": "s3:PutObject", "store": "were skipped", "store delete": "s3:DeleteObject"},
        ),
        ("delete denied", {"store delete": "s3:DeleteObject"}),
        ("list denied", {"store list": "AccessDenied; allow s3:ListBucket on the prefix"}),
        (
            "put hangs",
            {"store put": f"no answer within {STEP_S:.0f} s; check that the endpoint", "store": "were skipped"},
        ),
        ("delete hangs", {"store delete": f"no answer within {STEP_S:.0f} s"}),
    ],
)
def test_check_reports_each_denied_or_hanging_operation_on_its_own_line(fault: str, found: dict[str, str]) -> None:
    """A denied put is not hidden by a denied deletion after it."""
    failed = failures(run(lines(FaultyStore(fault))))
    assert set(failed) == set(found)
    for what, words in found.items():
        assert words in failed[what]


def test_check_names_the_list_permission_when_a_missing_key_is_denied(tmp_path: Path) -> None:
    """S3 answers so without permission to list."""
    failed = failures(run(lines(FaultyStore("get denied"))))
    assert "allow s3:ListBucket on the prefix" in failed["store missing key"]
    assert "allow s3:GetObject" in failed["store get"]


def test_check_prints_a_line_for_each_step_in_order() -> None:
    found = run(lines(FaultyStore()))
    assert [line.what for line in found] == STEPS
    assert all(line.detail and "\n" not in line.detail for line in found)


def test_check_leaves_nothing_when_it_is_cancelled() -> None:
    async def interrupted() -> FaultyStore:
        store = FaultyStore("get hangs")
        task = asyncio.ensure_future(lines(store))
        await asyncio.sleep(STEP_S / 2)
        assert store.objects
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return store

    assert run(interrupted()).objects == {}


@pytest.mark.parametrize("there", ["", "root", "root/_vortex", "root/_vortex/s@1"])
def test_check_leaves_no_file_and_no_new_folder_on_disk(tmp_path: Path, there: str) -> None:
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    root = tmp_path / "root"
    probe = StoreProbe(LocalDirStore(root))

    async def check() -> list[Line]:
        return [line async for line in probe.lines()]

    with leaving_no_folders(root, probe.folder):
        assert failures(asyncio.run(check())) == {}
    assert sorted(tmp_path.rglob("*")) == before
