"""One suite for every object store: memory, local disk, S3 (moto). Loops and commands rely on each of these tests."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulation.memstore import MemoryStore
from tests.harness import client
from vortex.adapters.clock import SystemClock
from vortex.adapters.disk.store import LocalDirStore
from vortex.adapters.s3.store import open_s3_store
from vortex.commands.probes import StoreProbe
from vortex.ports import NotFound, ObjectStore


@pytest.fixture(params=["memory", "disk", "s3", "s3 without prefix"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    """A fresh store of each kind."""
    if request.param == "memory":
        yield MemoryStore(SystemClock())
    elif request.param == "disk":
        yield LocalDirStore(tmp_path / "store")
    else:
        url = request.getfixturevalue("moto_url")
        bucket = f"b-{uuid.uuid4().hex[:12]}"
        client("s3", url).create_bucket(Bucket=bucket)
        prefix = "/some/prefix" if request.param == "s3" else ""
        async with open_s3_store(f"s3://{bucket}{prefix}", region="us-east-1", endpoint_url=url) as opened:
            yield opened


async def keys(store: ObjectStore, prefix: str, start_after: str = "") -> list[str]:
    """The keys of a listing."""
    return [info.key async for info in store.list(prefix, start_after)]


async def test_store_passes_every_check_and_nothing_is_left(store: ObjectStore) -> None:
    found = [line async for line in StoreProbe(store).lines()]
    assert [line for line in found if not line.ok] == []
    assert await keys(store, "") == []


async def test_get_returns_the_object_and_its_ranges_and_its_tail(store: ObjectStore) -> None:
    """Ranges beyond the end are cut."""
    assert await store.put_if_absent("a/b.seg", b"0123456789")
    assert await store.get("a/b.seg") == b"0123456789"
    assert await store.get_range("a/b.seg", 2, 3) == b"234"
    assert await store.get_range("a/b.seg", 8, 30) == b"89"
    assert await store.get_tail("a/b.seg", 4) == (b"6789", 10)
    assert await store.get_tail("a/b.seg", 400) == (b"0123456789", 10)


async def test_an_empty_object_exists(store: ObjectStore) -> None:
    assert await store.put_if_absent("empty", b"")
    assert not await store.put_if_absent("empty", b"x")
    assert await store.get("empty") == b""
    assert await store.get_tail("empty", 10) == (b"", 0)


async def test_put_if_absent_changes_nothing_when_the_key_exists(store: ObjectStore) -> None:
    """Also with the same content."""
    assert await store.put_if_absent("k", b"first")
    assert not await store.put_if_absent("k", b"second, and longer")
    assert not await store.put_if_absent("k", b"first")
    assert await store.get("k") == b"first"


async def test_one_of_several_racing_puts_wins(store: ObjectStore) -> None:
    """Its content is stored."""
    bodies = [f"body {n}".encode() * 1000 for n in range(20)]
    won = await asyncio.gather(*(store.put_if_absent("raced", body) for body in bodies))
    assert won.count(True) == 1
    assert await store.get("raced") == bodies[won.index(True)]


async def test_reads_raise_not_found_when_the_key_is_missing(store: ObjectStore) -> None:
    """A folder is not an object."""
    await store.put_if_absent("folder/object", b"x")
    for key in ("missing", "folder", "folder/missing"):
        with pytest.raises(NotFound, match=key):
            await store.get(key)
        with pytest.raises(NotFound, match=key):
            await store.get_range(key, 0, 1)
        with pytest.raises(NotFound, match=key):
            await store.get_tail(key, 1)


async def test_list_returns_keys_in_byte_order(store: ObjectStore) -> None:
    """Over whole keys, also where a folder's name continues (`a`, `a-b`, `a.b`, `a/b`, `a=b`)."""
    made = ["a/b", "a-b/c", "a.b", "a=1/x", "a/b-c", "a/b/c", "aa", "b", "a%2F/x", "A/x", "a/%C3%A9", "a/é注/𠮷"]
    made.remove("a/b")
    for key in made:
        await store.put_if_absent(key, key.encode())
    assert await keys(store, "") == sorted(made)
    assert await keys(store, "a") == sorted(key for key in made if key.startswith("a"))
    assert await keys(store, "a/") == ["a/%C3%A9", "a/b-c", "a/b/c", "a/é注/𠮷"]
    assert await keys(store, "a/b") == ["a/b-c", "a/b/c"]
    assert await keys(store, "nothing") == []
    for start in ["", "a", "a/", "a/b", "a/b-c", "a/b/", "a/b/c", "a0", "zz"]:
        assert await keys(store, "", start) == sorted(key for key in made if key > start), start
        assert await keys(store, "a/", start) == sorted(k for k in made if k > start and k.startswith("a/")), start
    infos = [info async for info in store.list("a.b")]
    assert [info.size for info in infos] == [3]
    assert abs(infos[0].modified_ms - SystemClock().now_ms()) < 3_600_000


async def test_list_returns_every_page_of_a_long_listing(store: ObjectStore) -> None:
    made = [f"log/{n:012d}.seg" for n in range(1100)]
    await asyncio.gather(*(store.put_if_absent(key, b"") for key in made))
    assert await keys(store, "log/") == made
    assert await keys(store, "log/", made[1000]) == made[1001:]


async def test_list_folders_returns_each_next_path_segment_once(store: ObjectStore) -> None:
    """Objects are not folders."""
    for key in ["s@1/a/x", "s@1/b", "s@2/c/d", "t", "s@2/c/e"]:
        await store.put_if_absent(key, b"")
    assert [name async for name in store.list_folders("")] == ["s@1", "s@2"]
    assert [name async for name in store.list_folders("s@1/")] == ["a"]
    assert [name async for name in store.list_folders("none/")] == []


async def test_delete_is_idempotent_and_frees_the_key(store: ObjectStore) -> None:
    await store.put_if_absent("a/1", b"x")
    await store.put_if_absent("a/2", b"y")
    await store.delete(["a/1", "a/missing"])
    await store.delete(["a/1"])
    await store.delete([])
    assert await keys(store, "") == ["a/2"]
    assert await store.put_if_absent("a/1", b"z")


async def test_url_is_that_of_the_root_without_a_trailing_slash(store: ObjectStore) -> None:
    """Manifests contain it."""
    assert not store.url.endswith("/")
    assert "://" in store.url
