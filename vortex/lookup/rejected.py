"""Finds the rejections of an event: by its bytes, or by customer and id in the bytes of rejections."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import numpy as np

from vortex.core.decode.containers import parts_of
from vortex.core.decode.limits import Limits
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.segment import check_blob, decompress, member_offsets
from vortex.log.store import LogStore
from vortex.lookup.answers import FoundRejection
from vortex.lookup.identity import Wanted
from vortex.lookup.logs import Logs
from vortex.lookup.objects import ObjectCache
from vortex.lookup.progress import Progress
from vortex.lookup.rejections import Rejection, rejection_of, rejections_in


class Matcher:
    """Whether a rejection is that of an event."""

    def __init__(self, wanted: Wanted, limits: Limits) -> None:
        self._line, self._limits = wanted.line.strip(), limits
        self._texts = [_pattern(text) for text in (wanted.customer, wanted.id) if text]
        if not wanted.id:
            self._texts = []  # the customer alone names no event

    def exact(self, data: bytes) -> bool:
        """Whether these are the event's bytes."""
        return bool(self._line) and data.strip() == self._line

    def matches(self, data: bytes) -> bool:
        """Whether these are the event's bytes, or have its customer and id as values. Compressed data are unpacked."""
        return any(self.exact(one) or self._has_both(one) for one in parts_of([data], self._limits).data)

    def _has_both(self, data: bytes) -> bool:
        return bool(self._texts) and all(pattern.search(data) for pattern in self._texts)


def _pattern(text: str) -> re.Pattern[bytes]:
    """The text as a JSON string, with or without escapes, or as a number."""
    forms = {json.dumps(text).encode(), json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")}
    patterns = [re.escape(form) for form in forms]
    if re.fullmatch(r"-?\d+", text):
        patterns.append(rb"(?<![\w.\"+-])" + text.encode() + rb"(?![\w.\"])")
    return re.compile(b"|".join(patterns))


class RejectionSearch:
    """Searches the rejections of a stream."""

    def __init__(self, log_store: LogStore, limits: Limits, objects: ObjectCache) -> None:
        self._log_store, self._limits, self._objects = log_store, limits, objects

    async def waiting(self, logs: Logs, wanted: Wanted, progress: Progress) -> list[FoundRejection]:
        """The matching rejections of segments in periods that are not published."""
        heads = [
            head
            for view in logs.views.values()
            for head in view.headers
            if head.footer.counts.rejected and any(p >= logs.published_upto for p in head.footer.periods)
        ]
        matcher, found = Matcher(wanted, self._limits), list[FoundRejection]()
        for done, head in enumerate(heads, 1):
            async for one in self._in_segment(head, logs.published_upto):
                data = one.bytes
                if data is not None and matcher.matches(data):
                    found.append(_found(one, matcher.exact(data)))
            progress("segments with rejections", done, len(heads))
        return found

    async def _in_segment(self, head: SegmentHeader, since: int) -> AsyncIterator[Rejection]:
        footer = head.footer
        members = footer.member_rows
        begins, _ = member_offsets(members)
        for at in np.flatnonzero(footer.rejections & (members["period"] >= since)).tolist():
            folder, _, offset, length, _, raw, digest = members[at].tolist()
            if footer.folders[folder].beside:
                continue
            where = f"segment {head.n} of {head.shard}"
            blob = await self._log_store.range(head.shard, head.n, offset, length)
            text = decompress(check_blob(blob, digest, where), where)
            for line in text[begins[at] : begins[at] + raw].split(b"\n")[:-1]:
                yield rejection_of(line, where)

    async def published(self, keys: list[str], wanted: Wanted, progress: Progress) -> list[FoundRejection]:
        """The matching rejections of these objects."""
        matcher, found = Matcher(wanted, self._limits), list[FoundRejection]()
        for done, key in enumerate(keys, 1):
            for one in rejections_in(await self._objects.get(key), key):
                data = one.bytes
                if data is not None and matcher.matches(data):
                    found.append(_found(one, matcher.exact(data)))
            progress("objects of rejections", done, len(keys))
        return found


def _found(one: Rejection, exact: bool) -> FoundRejection:
    arrival = round(one.arrival * 1000)
    return FoundRejection(one.reason, one.detail, one.shard, one.sequence, one.sub, arrival, one.where, exact)
