"""The events and records that the benchmarks read: seeded, so that every process of one run makes the same bytes.

Events have the shape of Segment's API (https://segment.com/docs/connections/spec/common/): `track`, `page` and
`identify` calls of web and mobile libraries. They are filled into prepared templates, a few microseconds an event.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import md5
from itertools import accumulate
from random import Random
from typing import NamedTuple

PERIOD_MS = 300_000
"""All events of a stream lie in one publishing period, so that a run writes each partition once."""
_BLOCK = 1024
_RECENT = 500
_COPIED_AFTER = 8
_WORDS = (
    *("acme", "globex", "initech", "umbrella", "hooli", "vandelay", "wonka", "stark", "wayne", "tyrell"),
    *("cyberdyne", "soylent", "massive", "aperture", "weyland", "oscorp", "pied-piper", "dunder", "duff", "gringotts"),
)
_TRACKS = (
    "Product Viewed",
    "Product Added",
    "Product List Viewed",
    "Checkout Started",
    "Order Completed",
    "Signed Up",
)
_TYPE_WEIGHTS = (30, 22, 16, 12, 8, 6, 4, 2)
_CATEGORIES = ("Games", "Books", "Garden", "Kitchen", "Toys", "Shoes", "Audio", "Outdoor")
_AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_2) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/71.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:64.0) Gecko/20100101 Firefox/64.0",
)
_WEB = (
    '{{"anonymousId":"%b","context":{{"app":{{"name":"{name}","namespace":"{namespace}","version":"2.4.1"}},'
    '"ip":"%b","library":{{"name":"analytics.js","version":"3.9.0"}},"locale":"en-US","page":{{"path":"/p/%b",'
    '"referrer":"https://www.example.com/","title":"{name}","url":"https://{namespace}.example.com/p/%b"}},'
    '"screen":{{"height":1080,"width":1920}},"userAgent":"{agent}"}},{event}'
    '"messageId":"%b","originalTimestamp":"%b","{payload}":{{%b}},'
    '"receivedAt":"%b","sentAt":"%b","timestamp":"%b","type":"{kind}","userId":"user-%b"}}'
)
_MOBILE = (
    '{{"anonymousId":"%b","context":{{"app":{{"build":"1842","name":"{name}","namespace":"{namespace}",'
    '"version":"2.4.1"}},"device":{{"manufacturer":"Apple","model":"iPhone14,5",'
    '"type":"ios"}},"ip":"%b","library":{{"name":"analytics-ios","version":"4.1.6"}},"locale":"en-US",'
    '"network":{{"carrier":"T-Mobile","cellular":true,"wifi":false}},"os":{{"name":"iOS",'
    '"version":"17.4"}},"screen":{{"density":3,"height":844,"path":"/p/%b","width":390}},"timezone":"Europe/Berlin",'
    '"uri":"{namespace}://p/%b"}},{event}'
    '"messageId":"%b","originalTimestamp":"%b","{payload}":{{%b}},'
    '"receivedAt":"%b","sentAt":"%b","timestamp":"%b","type":"{kind}","userId":"user-%b"}}'
)
_SMALL = (
    '{{"messageId":"%b","type":"{kind}",{event}"context":{{"app":{{"namespace":"{namespace}"}}}},'
    '"timestamp":"%b","userId":"%b","sku":"%b"}}'
)


class Record(NamedTuple):
    """One Kinesis record: the index of its shard, its arrival in epoch milliseconds, and the events it carries."""

    shard: int
    arrival_ms: int
    data: bytes
    events: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What a stream is made of. `events` is the number that one run reads by default."""

    name: str
    title: str
    events: int = 1_000_000
    shards: int = 8
    customers: int = 40
    types: int = 8
    skew: float = 1.0
    small: bool = False
    duplicates: float = 0.0
    elsewhere: bool = False
    """Whether copies come on another shard than their events, as from producers with random partition keys."""
    packing: str = "plain"
    per_record: int = 1
    span_ms: int = PERIOD_MS
    """How long its events took to arrive."""


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("a", "1 KB, 40 customers x 8 types"),
        Workload("b", "1 KB, 2,000 partitions", customers=250, skew=0.5),
        Workload("c-ndjson", "200 B, 100 lines a record", small=True, packing="ndjson", per_record=100),
        Workload("c-kpl", "200 B, KPL aggregates of 100", small=True, packing="kpl", per_record=100),
        Workload("d", "1 KB, 20 % duplicates", duplicates=0.2),
        Workload("e", "1 KB, a backlog of an hour", events=10_000_000, shards=32, span_ms=12 * PERIOD_MS),
        Workload("two", "1 KB, one process and two", events=2_000_000, shards=32, span_ms=4 * PERIOD_MS),
        Workload("f", "200 idle shards", events=0, shards=200),
        Workload("g", "1 KB, 20 % copies on other shards", duplicates=0.2, elsewhere=True),
        Workload("empty", "an empty stream", events=0),
    )
}


def events(
    seed: int,
    n: int,
    *,
    customers: int = 40,
    types: int = 8,
    skew: float = 1.0,
    small: bool = False,
    start_ms: int = 1_545_116_700_000,
    span_ms: int = PERIOD_MS,
) -> Iterator[bytes]:
    """`n` distinct events, 984 bytes on average (`small`: 200), their times spread evenly over `span_ms`.

    Customer k of `customers` gets a share of 1 / k**skew; types are skewed, too. Same arguments, same bytes.
    """
    rng = Random(seed)
    templates = _templates(customers, types, small)
    products = _products(rng)
    weights = list(
        accumulate(share / (rank + 1) ** skew for rank in range(customers) for share in _TYPE_WEIGHTS[:types])
    )
    cells = range(customers * types)
    for begin in range(0, n, _BLOCK):
        count = min(_BLOCK, n - begin)
        chosen = rng.choices(cells, cum_weights=weights, k=_BLOCK)
        noise = rng.randbytes(48 * _BLOCK)
        times = [start_ms + span_ms * number // n for number in range(begin, begin + count)]
        fill = _fill_small if small else _fill
        yield from fill(templates, chosen, noise, times, products)


def records(workload: Workload, seed: int, n: int, start_ms: int) -> Iterator[Record]:
    """The records of a stream that carries `n` events, in order of arrival; each event arrives when it happens."""
    rng = Random(seed + 1)
    copies = int(n * workload.duplicates)
    fresh = events(
        seed,
        n - copies,
        customers=workload.customers,
        types=workload.types,
        skew=workload.skew,
        small=workload.small,
        start_ms=start_ms,
    )
    spread = with_copies(fresh, workload.shards, copies, n, rng, elsewhere=workload.elsewhere)
    waiting: list[list[bytes]] = [[] for _ in range(workload.shards)]
    for number, (shard, event) in enumerate(spread):
        lines = waiting[shard]
        lines.append(event)
        if len(lines) == workload.per_record:
            yield Record(shard, start_ms + PERIOD_MS * number // n, _pack(workload.packing, lines), len(lines))
            lines.clear()
    for shard, lines in enumerate(waiting):
        if lines:
            yield Record(shard, start_ms + PERIOD_MS - 1, _pack(workload.packing, lines), len(lines))


def with_copies(
    fresh: Iterable[bytes], shards: int, copies: int, n: int, rng: Random, *, elsewhere: bool = False
) -> Iterator[tuple[int, bytes]]:
    """Events with their shard; `copies` of the `n` repeat a recent event of the same shard, as a retry would.

    `elsewhere`: of another shard.
    """
    recent: list[deque[bytes]] = [deque(maxlen=_RECENT) for _ in range(shards)]
    source = iter(fresh)
    left = copies
    for number in range(n):
        shard = number % shards
        known = recent[(shard + rng.randrange(1, shards)) % shards if elsewhere else shard]
        if left and len(known) >= _COPIED_AFTER and rng.random() * (n - number) < left:
            left -= 1
            yield shard, known[rng.randrange(len(known))]
            continue
        event = next(source, None)
        if event is None:  # chance left more copies to the end than it should have
            yield shard, known[rng.randrange(len(known))]
            continue
        if copies:
            recent[shard].append(event)
        yield shard, event


def recent_start(now_ms: int, span_ms: int = PERIOD_MS) -> int:
    """Where a span begins that ends with the last period that is over."""
    return now_ms - now_ms % PERIOD_MS - span_ms


def kpl_aggregate(lines: list[bytes]) -> bytes:
    """A record as the Kinesis Producer Library writes it: magic, protobuf, MD5.

    Format: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
    """
    parts = [_field(1, b"key")]
    parts += [_field(3, b"\x08\x00" + _field(3, line)) for line in lines]
    body = b"".join(parts)
    return b"\xf3\x89\x9a\xc2" + body + md5(body, usedforsecurity=False).digest()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What tells a process which stream it is about."""
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="a")
    parser.add_argument("--events", type=int, help="events read; default: the workload's own number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start-ms", type=int, required=True, help="epoch milliseconds of the first event")


def chosen(arguments: argparse.Namespace) -> tuple[Workload, int]:
    """The workload of parsed arguments, and its number of events."""
    workload = WORKLOADS[arguments.workload]
    return workload, workload.events if arguments.events is None else arguments.events


def _fill(
    templates: list[bytes], chosen: list[int], noise: bytes, times: list[int], products: list[tuple[bytes, bytes]]
) -> Iterator[bytes]:
    clock = _Clock()
    variants = len(_AGENTS) + 1
    text = noise.hex().encode()
    for number, ms in enumerate(times):
        at = number * 96
        raw = noise[number * 48 : number * 48 + 48]
        slug, properties = products[raw[0] % len(products)]
        happened = clock.iso(ms)
        yield templates[chosen[number] * variants + raw[1] % variants] % (
            _uuid(text, at),
            b"10.%d.%d.%d" % (raw[2] & 3, raw[3], raw[4]),
            slug,
            slug,
            _uuid(text, at + 32),
            happened,
            properties + text[at + 64 : at + 88] + b'"',
            clock.iso(ms + 120 + (raw[5] >> 1)),
            clock.iso(ms + 100),
            happened,
            text[at + 88 : at + 94],
        )


def _fill_small(
    templates: list[bytes], chosen: list[int], noise: bytes, times: list[int], products: list[tuple[bytes, bytes]]
) -> Iterator[bytes]:
    clock = _Clock()
    text = noise.hex().encode()
    for number, ms in enumerate(times):
        at = number * 96
        slug = products[noise[number * 48] % len(products)][0]
        yield templates[chosen[number]] % (_uuid(text, at), clock.iso(ms), text[at + 88 : at + 94], slug)


class _Clock:
    """ISO 8601 times with milliseconds; the seconds are remembered."""

    def __init__(self) -> None:
        self._seconds: dict[int, bytes] = {}

    def iso(self, ms: int) -> bytes:
        second, rest = divmod(ms, 1000)
        text = self._seconds.get(second)
        if text is None:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
            self._seconds[second] = text
        return b"%b.%03dZ" % (text, rest)


def _uuid(text: bytes, at: int) -> bytes:
    return b"%b-%b-4%b-a%b-%b" % (
        text[at : at + 8],
        text[at + 8 : at + 12],
        text[at + 13 : at + 16],
        text[at + 17 : at + 20],
        text[at + 20 : at + 32],
    )


@lru_cache
def _templates(customers: int, types: int, small: bool) -> list[bytes]:
    """By customer, type and (of large events) library, in this order."""
    made = []
    for number in range(customers):
        word, round_ = _WORDS[number % len(_WORDS)], number // len(_WORDS)
        namespace = f"{word}-{round_}" if round_ else word
        for kind, event in _kinds(types):
            known = {
                "name": namespace.replace("-", " ").title(),
                "namespace": namespace,
                "kind": kind,
                "event": f'"event":"{event}",' if event else "",
                "payload": "traits" if kind == "identify" else "properties",
            }
            if small:
                made.append(_SMALL.format(**known).encode())
                continue
            made += [_WEB.format(agent=agent, **known).encode() for agent in _AGENTS]
            made.append(_MOBILE.format(**known).encode())
    return made


def _kinds(types: int) -> list[tuple[str, str]]:
    """Segment's `type` and, of `track` calls, `event`: the most frequent first."""
    return [("page", ""), *(("track", event) for event in _TRACKS), ("identify", "")][:types]


def _products(rng: Random) -> list[tuple[bytes, bytes]]:
    """Slugs, and the properties that go with them (an id of 24 hex digits is to follow, with its quotes open)."""
    made = []
    for number in range(200):
        category = _CATEGORIES[number % len(_CATEGORIES)]
        slug = f"{category.lower()}-{number:03d}"
        properties = (
            f'"category":"{category}","currency":"USD",'
            f'"name":"{category} item {number:03d}","position":{number % 9},"price":{rng.randrange(199, 29_900) / 100},'
            f'"product_id":"{rng.randbytes(12).hex()}","quantity":{1 + number % 3},"sku":"{category[:1]}-{number:03d}",'
            f'"cart_id":"'
        )
        made.append((slug.encode(), properties.encode()))
    return made


def _pack(packing: str, lines: list[bytes]) -> bytes:
    if packing == "kpl":
        return kpl_aggregate(lines)
    return b"\n".join(lines)


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size, head = len(data), bytearray([number << 3 | 2])
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + data
