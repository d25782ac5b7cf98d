"""Curves of `verify`: a stream whose plans are a year's, or a part of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec
import xxhash

from benchmarks.growth.ground import PERIOD_MS, ROOT, T0, CountingStore, put, segment, shards, state_of
from simulation import vtime
from vortex.core.layout import hour_of, object_key
from vortex.core.log.rules import StreamState
from vortex.core.log.segment import compress
from vortex.core.model import HOUR_MS
from vortex.core.publish.contents import Done, Outcome, PublishedObject, done, hour_documents
from vortex.core.publish.plan import Plan, PlanShard
from vortex.verify.report import Report
from vortex.verify.store import Span, verify_store

_BODY = compress(b"{}\n")


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification took: CPU seconds, virtual seconds, GETs, and the documents of plans it held at a time."""

    cpu_s: float
    virtual_s: float
    gets: int
    report: Report


def verified(plans: int, objects: int = 32, span: Span = (None, None)) -> Verified:
    """Verify a stream with so many plans of so many objects, whose segments are cleaned up."""
    return vtime.run(_verified(plans, objects, span))


async def _verified(plans: int, objects: int, span: Span) -> Verified:
    clock = vtime.VirtualClock(T0 + plans * PERIOD_MS)
    store = CountingStore(clock)
    _publish(store, plans, objects)
    begun, cpu = clock.monotonic(), time.process_time()
    report = await verify_store(store, span=span)
    assert report.faults == [], report.faults[:3]
    return Verified(time.process_time() - cpu, clock.monotonic() - begun, store.gets(), report)


def _publish(store: CountingStore, plans: int, objects: int) -> None:
    (root,) = shards(1)
    state = state_of([root])
    store.put_now(f"{ROOT}/stream.json", msgspec.json.encode(state))
    digest = put(store, segment(root.id, plans, "x", T0 + plans * PERIOD_MS, {}))
    hour: list[Done] = []
    for k in range(plans):
        at = T0 + k * PERIOD_MS
        entry = PlanShard(first=k, to=k + 1, digest=digest, next=k + 1)
        plan = Plan(k=k, after=at, upto=at + PERIOD_MS, shards={root.id: entry}, target=1)
        its = [_object(number, at) for number in range(objects)]
        for one in its:
            store.put_now(one.key, _BODY)
        counts = Outcome(events=objects, accepted=objects, published=objects)
        document = done(plan, its, {at: counts})
        store.put_now(f"{ROOT}/plans/{k:010d}/plan.json", msgspec.json.encode(plan))
        store.put_now(f"{ROOT}/plans/{k:010d}/done.json", msgspec.json.encode(document))
        hour.append(document)
        if plan.upto % HOUR_MS == 0:
            _close(store, state, hour)
            hour.clear()
    store.requests.clear()


def _object(number: int, period: int) -> PublishedObject:
    path = f"customer=c{number:05d}/event_type=t/hour={period // HOUR_MS}"
    return PublishedObject(
        key=object_key(path, period, 0),
        folder=path,
        period=period,
        customer=f"c{number}",
        event_type="t",
        rejected=False,
        rows=1,
        bytes=len(_BODY),
        raw=3,
        digest=xxhash.xxh3_128_hexdigest(_BODY),
    )


def _close(store: CountingStore, state: StreamState, dones: list[Done]) -> None:
    partitions, manifest = hour_documents(state, hour_of(dones[0].after), dones, store.url)
    for key, body in [*partitions, manifest]:
        store.put_now(key, body)
