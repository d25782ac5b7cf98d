"""Which event is asked for: by customer and id, or by its own bytes."""

from __future__ import annotations

from dataclasses import dataclass

from vortex.core.decode.events import EventReader, event_key
from vortex.core.decode.records import Records
from vortex.core.ingest.policy import Policy
from vortex.core.model import Record
from vortex.core.native.contract import NO_PERIOD


@dataclass(frozen=True, slots=True)
class Wanted:
    """An event to look for. `key` is that of deduplication. `period` is that of its own time, if the event was given
    and its time is readable; `line` are its bytes. `would_be` says why the current settings reject it, then it has no
    key.
    """

    customer: str
    id: str
    key: bytes = b""
    line: bytes = b""
    period: int | None = None
    would_be: str = ""


def reader_of(policy: Policy, seed: int) -> EventReader:
    """A reader that gives events the keys of the stream."""
    return EventReader(policy.decoder, policy.rules.period_ms, seed, policy.limits)


def by_id(customer: str, id_: str, seed: int) -> Wanted:
    """An event by customer and id."""
    return Wanted(customer, id_, event_key(customer, id_, seed))


def by_line(line: bytes, policy: Policy, reader: EventReader) -> list[Wanted]:
    """The events in some bytes, decoded as a record is: usually one."""
    events = reader.page(Records.of([Record("0", 0.0, line)]))
    found = []
    keys = events.keys.tobytes()
    for at, (start, size, name, period) in enumerate(
        zip(*(column.tolist() for column in (events.start, events.size, events.name, events.period)), strict=True)
    ):
        text = events.text[start : start + size]
        id_ = policy.decoder.page([Record("0", 0.0, text)]).ids[0]
        own = None if period == NO_PERIOD else period
        found.append(Wanted(events.names[name][0], id_ or "", keys[16 * at : 16 * at + 16], text, own))
    for one in events.rejected:
        found.append(Wanted("", "", b"", one.data, would_be=f"{one.reason}: {one.detail}"))
    return found
