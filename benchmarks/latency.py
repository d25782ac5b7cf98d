"""From the put of an event to its object: percentiles for some settings, and what their requests cost.

The real loops of one worker run in virtual time over a stream and a store in memory. Every call takes 20 ms and an
exponential part of 30 ms on average, as between AWS's services in one region; CPU takes no time. An event is visible
once its object is in the store. Requests are counted as S3 charges for them, at list prices of us-east-1.

Busy: 100 events a second. Quiet: one event in two seconds, so that most shards are idle. Both have 16 shards and 200
partitions, and producers send an event up to 0.3 s after its own time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import numpy as np

from benchmarks.growth.ground import CountingStore
from benchmarks.growth.price import GET, MONTH_S, PUT
from simulation import vtime
from simulation.memstream import MemoryStream
from vortex.config.settings import Settings
from vortex.core.log.segment import decompress_object
from vortex.health import Health
from vortex.retry import Retry
from vortex.runtime.app import App
from vortex.runtime.assembly import assemble, loaded_state
from vortex.runtime.environment import Environment, publish_rules
from vortex.runtime.trust import TrustedClock, TrustedStream

SHARDS = 16
CUSTOMERS, TYPES = 40, 5
TRAFFIC = {"busy": 100.0, "quiet": 0.5}
"""Events a second."""
CASES: dict[str, tuple[dict[str, dict[str, str]], int]] = {
    "default": ({}, 1800),
    'publish.period = "1m", hours.allowed_lateness = "15s"': (
        {"publish": {"period": "1m"}, "hours": {"allowed_lateness": "15s"}},
        900,
    ),
    'publish.preset = "fast"': ({"publish": {"preset": "fast"}}, 300),
}
"""Settings by name, and for how many seconds events are put."""
_FIRST_S, _MORE_S = 0.02, 0.03
_SETTLES_S = 60
_PERCENTILES = (50, 90, 99, 100)


@dataclass
class Measured:
    """Seconds of each event, and dollars a month by kind of request."""

    seconds: list[float] = field(default_factory=list)
    dollars: dict[str, float] = field(default_factory=dict)

    def percentile(self, share: float) -> float:
        """Of the seconds."""
        return float(np.percentile(self.seconds, share))


class _Store(CountingStore):
    """Notes when the lines of each object come to be there; a call takes a random time."""

    def __init__(self, clock: vtime.VirtualClock, rng: Random) -> None:
        super().__init__(clock)
        self._rng, self._time = rng, clock
        self.visible: dict[str, float] = {}

    async def _count(self, operation: str, key: str) -> None:
        self.call_s = _call(self._rng)
        await super()._count(operation, key)

    def put_now(self, key: str, body: bytes) -> bool:
        created = super().put_now(key, body)
        if created and not key.startswith("_"):
            for line in decompress_object(body, key).splitlines():
                self.visible[json.loads(line)["id"]] = self._time.monotonic()
        return created


def _call(rng: Random) -> float:
    return _FIRST_S + rng.expovariate(1 / _MORE_S)


def measured(sections: Mapping[str, Mapping[str, str]], rate: float, seconds: int) -> Measured:
    """What one worker with these settings needs for `rate` events a second."""
    return vtime.run(_measured(sections, rate, seconds))


async def _measured(sections: Mapping[str, Mapping[str, str]], rate: float, seconds: int) -> Measured:
    clock, rng = vtime.VirtualClock(), Random(1)
    store = _Store(clock, rng)

    async def before(operation: str, shard: str) -> None:
        await asyncio.sleep(_call(rng))

    stream = MemoryStream(clock, shards=SHARDS, random=Random(2), before=before)
    app = await _app(Settings.model_validate(_required(stream) | dict(sections)), clock, store, stream)
    running = asyncio.ensure_future(app.run())
    sent, found = dict[str, float](), Measured()
    try:
        await _traffic(stream, clock, rate, _SETTLES_S, {}, rng)  # until plans follow each other
        store.requests.clear()
        await _traffic(stream, clock, rate, seconds, sent, rng)
        requests = dict(store.requests)
        while sent.keys() - store.visible.keys():
            await _traffic(stream, clock, rate, 10, {}, rng)  # shards without records would wait longer
    finally:
        app.stop()
        await running
    found.seconds = [store.visible[name] - at for name, at in sent.items()]
    for what, number in requests.items():
        price = GET if what.startswith("get ") else 0.0 if what.startswith("delete ") else PUT
        kind = "LIST" if what.startswith("list ") else f"{what.partition(' ')[0].upper()} {what.partition(' ')[2]}s"
        found.dollars[kind] = found.dollars.get(kind, 0.0) + number * price * MONTH_S / seconds
    return found


def _required(stream: MemoryStream) -> dict[str, dict[str, Any]]:
    return {
        "source": {"stream": stream.name},
        "event": {"customer": "c", "type": "t", "id": "id", "time": "at"},
        "store": {"url": "file:///nowhere"},
    }


async def _app(settings: Settings, clock: vtime.VirtualClock, store: _Store, stream: MemoryStream) -> App:
    health, meter, tokens = Health(clock.now_ms), vtime.NullMeter(), count()
    trusted = TrustedClock(clock, health, meter)
    env = Environment(
        settings=settings,
        rules=publish_rules(settings),
        stream=TrustedStream(stream, trusted),
        store=store,
        clock=clock,
        trusted=trusted,
        meter=meter,
        health=health,
        retry=Retry(clock, meter, health, Random(3)),
        offload=vtime.in_place,
        owner="worker",
        token=lambda: f"token-{next(tokens)}",
        seed=4,
    )
    return App(assemble(env, *await loaded_state(env)))


async def _traffic(
    stream: MemoryStream, clock: vtime.VirtualClock, rate: float, seconds: int, sent: dict[str, float], rng: Random
) -> None:
    """Put `rate` events a second for so long, at random moments."""
    end = clock.monotonic() + seconds
    while True:
        await clock.sleep(rng.expovariate(rate))
        if clock.monotonic() >= end:
            return
        name = f"{clock.monotonic():.6f}-{rng.random()}"
        at = clock.now_ms() - rng.randrange(300)
        event = {"c": f"c{rng.randrange(CUSTOMERS)}", "t": f"t{rng.randrange(TYPES)}", "id": name, "at": at}
        stream.put(name, json.dumps(event).encode())
        sent[name] = clock.monotonic()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", action="store_true", help="also what each kind of request costs")
    arguments = parser.parse_args()
    print(f"| settings | traffic | {' | '.join(f'p{p}' for p in _PERCENTILES)} | requests a month |")
    print(f"|{'---|' * (len(_PERCENTILES) + 3)}")
    for name, (sections, seconds) in CASES.items():
        for traffic, rate in TRAFFIC.items():
            found = measured(sections, rate, seconds)
            times = " | ".join(f"{found.percentile(share):.1f} s" for share in _PERCENTILES)
            print(f"| `{name}` | {traffic} | {times} | ${sum(found.dollars.values()):,.0f} |", flush=True)
            if arguments.requests:
                print("  " + ", ".join(f"{kind} ${dollars:,.2f}" for kind, dollars in sorted(found.dollars.items())))


if __name__ == "__main__":
    main()
