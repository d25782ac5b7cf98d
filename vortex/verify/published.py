"""The report of a verification, and the check of published objects.

An object is compared with its row in the plan's done document, and with the segments it was made of, if they still
exist.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import msgspec
import xxhash

from vortex.core.invariants import Invariant
from vortex.core.log.segment import gunzip
from vortex.core.log.trailer import CorruptSegment
from vortex.core.publish.contents import Done, PublishedObject
from vortex.core.publish.members import Dropped, ObjectSpec, objects
from vortex.core.publish.plan import LogView, Plan
from vortex.log.store import LogStore
from vortex.ports import NotFound
from vortex.publish.copies import blobs_of
from vortex.publish.object_writer import Blobs, batches

_PARALLEL = 16


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken promise: which invariant, where, and what is wrong."""

    invariant: Invariant
    key: str
    what: str


@dataclass(slots=True)
class Report:
    """The faults found, and how much was checked."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)

    def fault(self, invariant: Invariant, key: str, what: str) -> None:
        """Add a fault."""
        self.faults.append(Fault(invariant, key, what))

    def count(self, what: str, number: int = 1) -> None:
        """Count what was checked."""
        self.checked[what] = self.checked.get(what, 0) + number


class ObjectProof:
    """Checks the objects of one stream; `views` are its logs, as far as they still exist."""

    def __init__(self, log_store: LogStore, views: Mapping[str, LogView], report: Report) -> None:
        self._log_store, self._views, self._report = log_store, views, report

    async def check(self, plans: Sequence[Plan], dones: Sequence[Done], dropped: Mapping[int, Dropped]) -> set[str]:
        """Check the objects of all plans; all plans but perhaps the last are done. Returns every key they name.

        `dropped`: by plan the rows that were dropped as duplicates, where known.
        """
        named: set[str] = set()
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(row: PublishedObject, document: Done, lines_digest: bytes | None) -> None:
            async with gate:
                await self._check(row, document, lines_digest)

        for plan in plans:
            finished = plan.k < len(dones)
            specs = self._specs(plan, dropped.get(plan.k, None if finished else {}))
            if not finished:
                named |= set(specs or ())
                self._report.count("objects in progress", len(specs or ()))
                continue
            document = dones[plan.k]
            if (document.k, document.after, document.upto) != (plan.k, plan.after, plan.upto):
                self._report.fault(
                    Invariant.WRITTEN_ONCE, f"plan {plan.k}", "done.json names another plan or other periods"
                )
            keys = {row.key for row in document.objects}
            for key in sorted(keys & named):
                self._report.fault(Invariant.WRITTEN_ONCE, key, "is published by two plans")
            named |= keys
            if specs is not None and keys != set(specs):
                unexpected = sorted(keys ^ set(specs))
                self._report.fault(
                    Invariant.WRITTEN_ONCE,
                    unexpected[0],
                    f"the objects that plan {plan.k} published differ from those it implies: {unexpected[:3]}",
                )
            digests = await self._from_segments(list((specs or {}).values()))
            await asyncio.gather(*(one(row, document, digests.get(row.key)) for row in document.objects))
        return named

    def _specs(self, plan: Plan, dropped: Dropped | None) -> dict[str, ObjectSpec] | None:
        """The plan's objects by key; None unless all its segments and decisions still exist."""
        if dropped is None:
            return None
        for shard, entry in plan.shards.items():
            if len(self._views.get(shard, LogView()).between(entry.first, entry.to)) != entry.to - entry.first + 1:
                return None
        return {spec.key: spec for spec in objects(plan, self._views, dropped)}

    async def _check(self, row: PublishedObject, document: Done, lines_digest: bytes | None) -> None:
        """Check one object. `lines_digest` is the digest of its lines in the segments, if they still exist."""
        fault = self._report.fault
        self._report.count("objects")
        try:
            body = await self._log_store.store.get(row.key)
            text = gunzip(body, row.key)
        except NotFound:
            fault(Invariant.WRITTEN_ONCE, row.key, "is missing, though it was published")
            return
        except CorruptSegment as problem:
            fault(Invariant.WRITTEN_ONCE, row.key, f"is not a complete gzip file: {problem}")
            return
        if (len(body), xxhash.xxh3_128_hexdigest(body)) != (row.bytes, row.digest):
            fault(Invariant.WRITTEN_ONCE, row.key, "its bytes changed after it was published")
        if not document.after <= row.period < document.upto:
            fault(Invariant.WRITTEN_ONCE, row.key, f"its period does not belong to plan {document.k}")
        lines = text.split(b"\n")
        if lines.pop() or len(lines) != row.rows or len(text) != row.raw:
            fault(Invariant.WRITTEN_ONCE, row.key, f"holds {len(lines)} lines; {row.rows} were published")
        kind = "records beside rejections" if row.beside else "rejections" if row.rejected else "rows"
        self._report.count(kind, len(lines))
        for line in lines:
            if not _is_object(line):
                fault(Invariant.WRITTEN_ONCE, row.key, "has a line that is not a JSON object")
                break
        if lines_digest not in (xxhash.xxh3_128_digest(text), None):
            fault(Invariant.WRITTEN_ONCE, row.key, "its lines differ from those in its segments")

    async def _from_segments(self, specs: Sequence[ObjectSpec]) -> dict[str, bytes]:
        """By key, the digest of the object's lines in its segments; without objects whose segments were cleaned up."""
        digests: dict[str, bytes] = {}
        for batch in batches(specs):
            try:
                digests |= await self._digests(batch)
            except NotFound:  # one object's segment is missing; the others may be complete
                for spec in batch:
                    with contextlib.suppress(NotFound):
                        digests |= await self._digests([spec])
        return digests

    async def _digests(self, specs: Sequence[ObjectSpec]) -> dict[str, bytes]:
        blobs, digests = Blobs(await blobs_of(self._log_store, specs)), {}
        for spec in specs:
            try:
                digest = xxhash.xxh3_128()
                for text in chain.from_iterable(map(blobs.lines, spec.pieces)):
                    digest.update(text)
                digests[spec.key] = digest.digest()
            except CorruptSegment as problem:  # it was intact when its log was read
                self._report.fault(Invariant.WHOLE_LOGS, spec.key, str(problem))
        return digests


def _is_object(line: bytes) -> bool:
    try:
        return line[:1] in b"{ \t" and msgspec.json.decode(line, type=dict[str, msgspec.Raw]) is not None
    except (msgspec.MsgspecError, RecursionError):
        return False
