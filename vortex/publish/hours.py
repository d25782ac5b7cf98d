"""Closes hours: writes the manifests of the partitions, then the hour's own, from the done documents of plans."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from vortex.core.layout import hour_of, moment
from vortex.core.log.rules import BrokenLog, StreamState
from vortex.core.publish.contents import Done, PublishedObject, closed_hours, hour_documents
from vortex.core.publish.plan import Plan
from vortex.core.wording import counted
from vortex.log.store import LogStore
from vortex.ports import Offload
from vortex.publish.object_writer import PARALLEL_PUTS, ForeignObject

log = logging.getLogger(__name__)


class Hours:
    """The hours of one stream."""

    def __init__(self, log_store: LogStore, state: StreamState, offload: Offload) -> None:
        self._log_store, self._state, self._offload = log_store, state, offload
        self._recent: list[Done] = []
        """Done documents of the hour that is still open, oldest first."""

    async def close(self, plan: Plan, document: Done) -> int | None:
        """Write the manifests of the hours that the plan closes. Returns the last of these hours, or None.

        Raises ForeignObject.
        """
        closed = None
        dones = [*await self._dones_since(hour_of(plan.after), plan), document]
        held = {one.period for d in dones for one in d.objects} | {p for d in dones for p in d.periods}
        for hour in closed_hours(plan.after, plan.upto, self._state.first_hour, held):
            partitions, manifest = await self._offload(
                hour_documents, self._state, hour, dones, self._log_store.store.url
            )
            await self._put_all(partitions)
            await self._put_document(*manifest)
            closed = hour
            _tell(hour, [o for d in dones for o in d.objects if hour_of(o.period) == hour])
        self._recent = [d for d in dones if d.upto > hour_of(plan.upto)]
        return closed

    async def _dones_since(self, hour: int, plan: Plan) -> list[Done]:
        """The done documents of the plans before `plan` that published any part of `hour`, oldest first."""
        if plan.after <= hour:
            return []
        found = [d for d in self._recent if d.k < plan.k and d.upto > hour]
        if found and found[-1].k != plan.k - 1:
            found = []  # another process has published since
        k = (found[0].k if found else plan.k) - 1
        while k >= 0 and (not found or found[0].after > hour):
            earlier = await self._log_store.done(k)
            if earlier is None:
                raise BrokenLog(f"plan {k} is not done, but a later plan {plan.k} exists")
            if earlier.upto <= hour:
                break
            found.insert(0, earlier)
            k -= 1
        return found

    async def _put_all(self, documents: Iterator[tuple[str, bytes]]) -> None:
        """Put the documents, several at a time. No more than these are in memory. Raises ForeignObject."""

        async def some() -> None:
            for key, body in documents:
                await self._put_document(key, body)

        putting = [asyncio.ensure_future(some()) for _ in range(PARALLEL_PUTS)]
        try:
            await asyncio.gather(*putting)
        finally:
            for task in putting:
                task.cancel()
            await asyncio.gather(*putting, return_exceptions=True)

    async def _put_document(self, key: str, body: bytes) -> None:
        log_store = self._log_store
        created = await log_store.retry(
            f"publish {key}", lambda: log_store.store.put_if_absent(key, body, "application/json")
        )
        if not created and await log_store.retry(f"compare {key}", lambda: log_store.store.get(key)) != body:
            raise ForeignObject(f"{key}: exists with different content. Nothing was overwritten; publishing stopped")


def _tell(hour: int, objects: list[PublishedObject]) -> None:
    rows = sum(one.rows for one in objects if not one.rejected)
    rejected = sum(one.rows for one in objects if one.rejected and not one.beside)
    folders = len({one.folder for one in objects if not one.rejected})
    where = counted(folders, "partition")
    log.info("closed hour %sZ: %s in %s, %d rejected", f"{moment(hour):%FT%H}", counted(rows, "row"), where, rejected)
