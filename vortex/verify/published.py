"""The check of published objects.

An object is compared with its row in the plan's done document, and with the segments it was made of, if they still
exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, groupby

import msgspec
import xxhash

from vortex.core.compression import Compression
from vortex.core.decode.surrogates import masked
from vortex.core.invariants import Invariant
from vortex.core.log.segment import compression_of, decompress_object
from vortex.core.log.trailer import CorruptSegment
from vortex.core.publish.contents import Done, PublishedObject, bytes_of
from vortex.core.publish.members import Dropped, Members, members_of
from vortex.core.publish.pieces import ObjectSpec
from vortex.core.publish.plan import LogView, Plan
from vortex.core.publish.shares import listings
from vortex.log.store import LogStore
from vortex.ports import NotFound, Offload, Scratch
from vortex.publish.copies import Copier, Copies
from vortex.publish.object_writer import Blobs, batches
from vortex.under_way import BytesUnderWay
from vortex.verify.report import Report

_PARALLEL = 64
_UNDER_WAY = 256 * 1024 * 1024
"""Bytes of objects and of their lines that are in memory at a time."""
_COPY_BYTES = 64 * 1024 * 1024


class ObjectProof:
    """Checks the objects of one stream."""

    def __init__(self, log_store: LogStore, report: Report, offload: Offload, scratch: Scratch) -> None:
        self._log_store, self._report, self._offload, self._scratch = log_store, report, offload, scratch
        self._gate = asyncio.Semaphore(_PARALLEL)
        self._under_way = BytesUnderWay(_UNDER_WAY)

    async def check(
        self, plan: Plan, document: Done | None, views: Mapping[str, LogView] | None, dropped: Dropped | None
    ) -> list[str]:
        """Check the objects of a plan; `document` is None if it is in progress. Returns every key that it names.

        `views` are its segments, `dropped` the rows that were dropped as duplicates; None if they no longer exist.
        """
        implied: dict[str, bytes | None] | None = None
        if views is not None and (dropped is not None or document is None):
            implied = await self._implied(plan, views, dropped or {})
        if document is None:
            under_way = sorted({name.partition(_IN)[0] for name in implied or ()})
            self._report.count("objects in progress", len(under_way))
            return under_way
        if (document.k, document.after, document.upto) != (plan.k, plan.after, plan.upto):
            self._report.fault(
                Invariant.WRITTEN_ONCE, f"plan {plan.k}", "done.json names another plan or other periods"
            )
        keys = {row.key for row in document.objects}
        names = {_name(row.key, row.folder, row.bundled) for row in document.objects}
        if len(names) != len(document.objects):
            self._report.fault(Invariant.WRITTEN_ONCE, f"plan {plan.k}", "done.json names an object twice")
        if implied is not None and names != set(implied):
            unexpected = sorted(names ^ set(implied))
            self._report.fault(
                Invariant.WRITTEN_ONCE,
                unexpected[0],
                f"the objects that plan {plan.k} published differ from those it implies: {unexpected[:3]}",
            )
        digests = implied or {}

        async def one(rows: Sequence[PublishedObject]) -> None:
            async with self._gate, self._under_way.of(sum(row.bytes + row.raw for row in rows)):
                await self._check_object(rows, document, digests, plan.compression)

        await asyncio.gather(*(one(list(rows)) for _, rows in groupby(document.objects, key=lambda row: row.key)))
        return sorted(keys)

    async def _implied(self, plan: Plan, views: Mapping[str, LogView], dropped: Dropped) -> dict[str, bytes | None]:
        """The keys of the plan's objects, each with the digest of its lines in the segments; None where they were
        cleaned up since.
        """
        digests: dict[str, bytes | None] = {}
        for listing, number in listings(plan):
            members = await self._offload(members_of, listing, views, dropped, number)
            digests |= await self._implied_by(members, plan.target)
        return digests

    async def _implied_by(self, members: Members, target: int) -> dict[str, bytes | None]:
        digests: dict[str, bytes | None] = {}
        copier, at = Copier(self._log_store, self._offload, self._scratch, _COPY_BYTES), 0
        while at < len(members):
            async with copier.next_pass(members, at) as (copies, end):
                for first, last in members.chunks(at, end):
                    for batch in batches(members.objects(target, first, last)):
                        digests |= await self._digests(batch, copies)
            at = end
        return digests

    async def _digests(self, specs: Sequence[ObjectSpec], copies: Copies) -> dict[str, bytes | None]:
        try:
            blobs, digests = Blobs(await copies.blobs(specs)), dict[str, bytes | None]()
        except NotFound:  # a segment is missing; other objects may be complete
            if len(specs) == 1:
                return {_spec_name(specs[0]): None}
            return {key: digest for spec in specs for key, digest in (await self._digests([spec], copies)).items()}
        for spec in specs:
            try:
                digest = xxhash.xxh3_128()
                for text in chain.from_iterable(map(blobs.lines, spec.pieces)):
                    digest.update(text)
                digests[_spec_name(spec)] = digest.digest()
            except CorruptSegment as problem:  # it was intact when its log was read
                digests[_spec_name(spec)] = None
                self._report.fault(Invariant.WHOLE_LOGS, spec.key, str(problem))
        return digests

    async def _check_object(
        self,
        rows: Sequence[PublishedObject],
        document: Done,
        digests: Mapping[str, bytes | None],
        compression: Compression,
    ) -> None:
        """Check an object, or the members of a bundle: there must be nothing else in it.

        `digests` are those of the lines in the segments, by name.
        """
        key = rows[0].key
        self._report.count("objects")
        try:
            body = await self._log_store.store.get(key)
        except NotFound:
            self._report.fault(Invariant.WRITTEN_ONCE, key, "is missing, though it was published")
            return
        begins = [0, *accumulate(row.bytes for row in rows)]
        if rows[0].bundled and [*(row.at for row in rows), len(body)] != begins:
            self._report.fault(Invariant.WRITTEN_ONCE, key, "has bytes that are of no partition, or of two")
        for row in rows:
            digest = digests.get(_name(row.key, row.folder, row.bundled))
            self._check(row, bytes_of(row, body), document, digest, compression)

    def _check(
        self, row: PublishedObject, body: bytes, document: Done, lines_digest: bytes | None, compression: Compression
    ) -> None:
        """Check one partition's lines. `lines_digest` is that of its lines in the segments, if they still exist."""
        fault = self._report.fault
        try:
            text = decompress_object(body, row.key)
        except CorruptSegment as problem:
            fault(Invariant.WRITTEN_ONCE, row.key, f"is not a complete {compression} file: {problem}")
            return
        if (len(body), xxhash.xxh3_128_hexdigest(body)) != (row.bytes, row.digest):
            fault(Invariant.WRITTEN_ONCE, row.key, "its bytes changed after it was published")
        if compression_of(body) is not compression:
            fault(Invariant.WRITTEN_ONCE, row.key, f"is not a {compression} file")
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


_IN = "\n"
"""Between the key of a bundle and a folder: it is in no key."""


def _name(key: str, folder: str, bundled: bool) -> str:
    """What is in an object, or in a member of a bundle."""
    return f"{key}{_IN}{folder}" if bundled else key


def _spec_name(spec: ObjectSpec) -> str:
    return _name(spec.key, spec.folder.path, spec.bundled)


def _is_object(line: bytes) -> bool:
    try:
        return line[:1] in b"{ \t" and msgspec.json.decode(line, type=dict[str, msgspec.Raw]) is not None
    except (msgspec.MsgspecError, RecursionError):
        whole = masked(line)  # events may have lone surrogates
        return whole is not line and _is_object(whole)
