"""Seeded clickstream traffic in Segment's shape: skewed customers, duplicates, late, early and broken events."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

CUSTOMERS = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne/retail", "tyrell é")
TYPES = ("Product Viewed", "Product Added", "Order Completed", "Signed Up")
_SPREAD_S = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Put:
    """A Kinesis record to be: its partition key, its bytes, and how many events (or broken ones) it holds."""

    key: str
    data: bytes
    events: int


def traffic(count: int, seed: int, now: datetime, spread_s: float = _SPREAD_S) -> Iterator[Put]:
    """Records holding `count` events in all, the same for the same arguments. Most are at most `spread_s` old."""
    rng = Random(seed)
    made, number = 0, 0
    recent: list[tuple[str, bytes]] = []
    while made < count:
        chance = rng.random()
        if chance < 0.01:
            put = Put(f"broken-{made}", _broken(rng), 1)
        elif chance < 0.08 and recent:
            key, data = rng.choice(recent[-2000:])
            put = Put(key, data, 1)
        elif chance < 0.10:
            size = min(rng.randint(2, 5), count - made)
            lines = [_event(rng, number + n, now, spread_s, f"b-{seed}-{number + n}") for n in range(size)]
            number += size
            data = b"\n".join(lines)
            put = Put(f"batch-{number}", gzip.compress(data) if chance < 0.09 else data, size)
        else:
            number += 1
            key, data = f"m-{seed}-{number}", _event(rng, number, now, spread_s, f"m-{seed}-{number}")
            recent.append((key, data))
            put = Put(key, data, 1)
        made += put.events
        yield put


def _event(rng: Random, number: int, now: datetime, spread_s: float, key: str) -> bytes:
    customer = CUSTOMERS[min(int(rng.expovariate(0.7)), len(CUSTOMERS) - 1)]
    kind = rng.choice(("track", "track", "track", "page", "identify"))
    at = now - timedelta(seconds=rng.random() * spread_s)
    oddity = rng.random()
    if oddity < 0.005:
        at = now - timedelta(days=2)  # late: its hour is long closed
    elif oddity < 0.01:
        at = now + timedelta(days=1)  # early: a clock that is wrong
    event = {
        "messageId": key,
        "type": kind,
        "userId": f"u-{rng.randrange(5000)}",
        "timestamp": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "context": {
            "app": {"namespace": customer},
            "ip": f"203.0.113.{rng.randrange(256)}",
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "page": {"path": f"/p/{rng.randrange(400)}", "referrer": "https://example.org/", "title": "Shop"},
        },
        "properties": {"price": rng.randrange(100, 9999) / 100, "currency": "EUR", "sku": f"{rng.getrandbits(40):x}"},
    }
    if kind == "track":
        event["event"] = rng.choice(TYPES)
    return json.dumps(event, ensure_ascii=False).encode()


def _broken(rng: Random) -> bytes:
    return rng.choice((b'{"messageId": "cut', b"not json", b'{"messageId":"x","type":"page"}', b"\xff\xfe\x00"))
