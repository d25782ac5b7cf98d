"""Curves of closing an hour: its manifests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from unittest.mock import patch

import vortex.core.publish.contents
from benchmarks.growth.ground import T0, CountingStore, Traffic, fill
from benchmarks.growth.publishing import Sizes, publisher
from simulation import vtime
from vortex.core.fleet.balance import Roster
from vortex.core.model import HOUR_MS
from vortex.core.publish.contents import PublishedObject


@dataclass(frozen=True, slots=True)
class Closed:
    """Virtual seconds to publish and close an hour, its PUTs, and the bytes of the partitions' manifests that were in
    memory at a time.
    """

    virtual_s: float
    manifests: int
    objects: int
    held: int


def closed(partitions: int, size: int | None = None, **sizes: int) -> Closed:
    """What it takes to publish and close an hour with so many partitions, each with one object, or a part of a bundle.

    `size`: bytes of lines in all, by default 60 for each partition.
    """
    known = {"batch": 1 << 25, "index_bytes": 1 << 30}
    return vtime.run(_closed(partitions, size or 60 * partitions, Sizes(**known | sizes)))


async def _closed(partitions: int, size: int, sizes: Sizes) -> Closed:
    clock = vtime.VirtualClock(T0 + 2 * HOUR_MS)
    store = _Putting(clock)
    state = fill(store, 1, Traffic(commits=1, partitions=partitions, size=size), end=T0 + HOUR_MS)
    one = publisher(store, state, sizes, "me", Roster(("me",)))
    made = vortex.core.publish.contents._manifest

    def watched(objects: Iterable[PublishedObject], url: str) -> bytes:
        body = made(objects, url)
        store.held += len(body)
        store.most = max(store.most, store.held)
        return body

    begun = asyncio.get_running_loop().time()
    with patch.object(vortex.core.publish.contents, "_manifest", watched):
        while await one.step():
            pass
    return Closed(
        asyncio.get_running_loop().time() - begun,
        store.requests["put manifest"],
        store.requests["put object"],
        store.most,
    )


class _Putting(CountingStore):
    """Knows the bytes of manifests that were made and not put yet."""

    held = most = 0

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        try:
            return await super().put_if_absent(key, body, content_type)
        finally:
            if key.startswith("_manifests/"):
                self.held -= len(body)
