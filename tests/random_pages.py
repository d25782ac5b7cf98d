"""Random pages, replies and aggregates, legal and broken, and what differs when they are read in C and in Python."""

from __future__ import annotations

import base64
import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import cramjam
import lz4.frame
import msgspec

from tests import kpl
from tests.native import without_native
from tests.random_cbor import differing_cbor
from tests.random_rows import differing_look_up
from vortex.adapters.kinesis.get_records import Reply, decode_reply
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.events import EventReader
from vortex.core.decode.fields import Fields
from vortex.core.decode.kpl import deaggregate
from vortex.core.decode.records import Records
from vortex.core.model import Record

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PERIOD = 300_000
decode_plainly = msgspec.json.Decoder(Reply).decode
"""Replies by msgspec alone."""
FIELDS = [
    Fields(("context.app.namespace",), ("event", "type"), ("messageId",), ("timestamp", "receivedAt")),
    Fields(("org.login", "repo.name"), ("type",), ("id",), ("created_at",), "reject"),
    Fields(("c",), ("t", "c"), ("id", "context.id"), ("at",)),
    Fields(("c",), ("t",), ("id",), ("at", "time"), max_bytes=300, lone_surrogates="reject"),
    Fields(
        ("c",), ("t",), ("id",), ("x.at", "at"), time_format=("%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%dT%H-%M-%SZ", "%Y%m%d")
    ),
    Fields(("a.b.c.d", "a.b"), ("t",), ("id",), ("at",)),  # one path continues another: only Python reads these
    Fields(("c", "at"), ("t",), ("id", "at"), ("at", "time")),  # the time is also another field
]
NAMES = ["context", "app", "namespace", "event", "type", "messageId", "timestamp", "receivedAt", "org", "login", "repo",
         "name", "id", "created_at", "c", "t", "at", "a", "b", "d", "other", "x" * 40, "\\u0069d",
         "custom\\u0065r", "\\u0063", "t\\u0079pe", "é", ""]  # fmt: skip
TIMES = ["2018-12-18T07:05:09.123Z", "2018-12-18T07:05:09Z", "2018-12-18T07:05:09.123456Z", "2024-02-29T23:59:59.999Z",
         "2023-02-29T00:00:00.000Z", "2018-12-18T24:05:09.123Z", "2018-13-18T07:05:09.123Z", "0001-01-01T00:00:00.000Z",
         "9999-12-31T23:59:59.999Z", "0000-01-01T00:00:00.000Z", "2018-12-18T07:05:99.123Z", "2018-12-18T07:05:xx.123Z",
         "2018-12-18T07:05:09.12éZ", "2018-12-18T07:05:09+02:00", "2018-12-18 07:05:09", "2018-12-18t07:05:09z",
         "2018-12-18T24:00:00Z", "2018-12-18T24:00:00.000Z", "2018-12-18T24:00:30.000Z", "2016-12-31T23:59:60Z",
         "2016-12-31T23:59:60.999+00:00", "2018-12-18T07:05:09,5Z", "2018-12-18T07:05:09.+01:00",
         "2018-12-18T07:05:09.123456789-00:00", "2018-12-18T07:05:09+0530", "2018-12-18T07:05:09-01",
         "2018-12-18T07:05:09+24:00", "2018-12-18T07:05:09+01:60", "2018-12-18T07:05:09 UTC", "2018-12-18T07:05:09+1",
         "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59.9-05:00", "2018-12-18T07:05", "2018-12-18",
         "0999-12-18T07:05:09Z", "20181218T070509Z",
         "2018-W51-2T07:05:09Z", "2018-352", "2018-12-18T07:05:09\\u002b01:00", "2018-12-18T07:05:0\\u0039Z",
         "18/Dec/2018:07:05:09 +0100", "Tue Dec 18 07:05:09 +0000 2018", "2018-12-18T07-05-09Z",
         "1545116709", "154511670", "15451167", "1545116709.5", "1.545116709e9", "-1545116709.5", "+1545116709",
         "1545116709123", "99999999999", "100000000000", "99999999999999", "100000000000000", "000000000", "-154511670",
         "1545116709123456789", "0000000001545116709", "00000000001545116709", "15451167091234567890123",
         "yesterday"]  # fmt: skip
STRINGS = ["", "a", "shop", "page", "x" * 17, "y" * 100, "z" * 200, "é", "☃ snow", "\U0001f600", "a/b", "..", "%", "=",
           "\\n", "\\\\", "\\u00e9", "\\ud83d\\ude00", "\\ud800", "\\udc00x", "\\uD83D\\\\ude00", "\\\\ud800", "\\u12",
           "}{", "}\\\"{", "\\x", "tab\there", "5"]  # fmt: skip
NUMBERS = ["0", "-0", "5", "-5", "12", "007", "1.0", "1.50", "1e5", "1E+2", "1e999", "-", "1.", ".5", "+1", "NaN",
           "1545116709", "1545116709123", "1545116709.5", "99999999999",
           "100000000000", "-62135596800", "-62135596801", "99999999999999", "100000000000000",
           "123456789012345678", "1234567890123456789",
           "12345678901234567890123", "-12345678901234567890123", "1" * 400, "1" * 5000, "-1e999", "1e-999", "0.1e400",
           "1545116709123456789", "-1545116709123456", "-1545116709123456789", "18446744073709551615",
           "1e9", "1.5e9"]  # fmt: skip


def value(rng: Random, depth: int = 0) -> str:
    """JSON text, mostly valid."""
    kind = rng.random()
    if kind < 0.3 and depth < 5:
        return event(rng, depth + 1)
    if kind < 0.4 and depth < 5:
        return "[" + blank(rng).join(value(rng, depth + 1) + "," for _ in range(rng.randint(0, 3))).rstrip(",") + "]"
    if kind < 0.55:
        return rng.choice(NUMBERS)
    if kind < 0.65:
        return rng.choice(["true", "false", "null", "nul", "True"])
    return f'"{rng.choice(TIMES if kind > 0.85 else STRINGS)}"'


def blank(rng: Random) -> str:
    """White space between tokens."""
    return rng.choice(["", "", "", "", " ", "\t", "  ", "\n", "\r\n"] if rng.random() < 0.1 else [""])


def event(rng: Random, depth: int = 0) -> str:
    """An object with configured keys and others, some of them twice."""
    keys = rng.choices(NAMES, k=rng.randint(0, 12 if depth == 0 else 4))
    return "{" + ",".join(f'{blank(rng)}"{key}"{blank(rng)}:{blank(rng)}{value(rng, depth)}' for key in keys) + "}"


def accepted(rng: Random) -> str:
    """An event that some of the FIELDS accept."""
    customer, kind, key, at = rng.choice(STRINGS), rng.choice(STRINGS), rng.choice([*STRINGS, "5", "17"]), None
    at = f'"{rng.choice(TIMES)}"' if rng.random() < 0.8 else rng.choice(NUMBERS)
    quoted = f'"{key}"' if rng.random() < 0.8 else rng.choice(NUMBERS)
    more = f',"more":{value(rng)}' if rng.random() < 0.5 else ""
    return rng.choice([
        f'{{"context":{{"app":{{"namespace":"{customer}"}}}},"type":"{kind}","messageId":{quoted},"timestamp":{at}{more}}}',
        f'{{"context":{{"app":{{"namespace":"{customer}"}}}},"event":"{kind}","type":"t","receivedAt":{at}{more}}}',
        f'{{"org":{{"login":"{customer}"}},"type":"{kind}","id":{quoted},"created_at":{at}{more}}}',
        f'{{"c":"{customer}","t":"{kind}","id":{quoted},"at":{at}{more}}}',
        f'{{"c":"{customer}","t":"{kind}","id":{quoted},"time":"{rng.choice(TIMES)}","at":{at},"x":{{"at":{at}}}}}',
    ])  # fmt: skip


def data(rng: Random) -> bytes:
    """The data of a record, valid or broken."""
    if rng.random() < 0.2:
        return enveloped(rng)
    several = [accepted(rng) if rng.random() < 0.85 else event(rng) for _ in range(rng.choice([1, 1, 1, 1, 2, 3]))]
    separator = rng.choice(
        ["\n", "\n", "\r\n", "\n\n", " \n ", "\r", " ", "", "", "\t", "\n\ufeff", "\x1e", ",", "\n\0"]
    )
    text = (separator.join(several) + rng.choice(["", "", "", "\n", " ", "\r", "\r\n"])).encode(
        "utf-8", "surrogatepass"
    )
    turn = rng.random()
    if turn < 0.1:  # break a byte
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice([b"", rng.randbytes(1), b"\xff", b"\xed\xa0\x80", b"\xc3"]) + text[at + 1 :]
    elif turn < 0.13:
        text = text[: rng.randrange(len(text) + 1)]
    elif turn < 0.16:
        text = gzip.compress(text)
    elif turn < 0.19:
        text = b"[" + ",".join(several).encode() + b"]"
    elif turn < 0.21:
        text = b" " + text
    return text


ENVELOPES: list[Callable[[bytes], bytes]] = [
    lambda text: gzip.compress(text, mtime=0),
    zlib.compress,
    zstd.compress,
    lz4.frame.compress,
    lambda text: bytes(cramjam.snappy.compress(text)),
    lambda text: b"\xef\xbb\xbf" + text,
    lambda text: b"\x1e" + text,
    lambda text: b"[" + text + b"]",
    lambda text: text + b"\n" + text,
    lambda text: text + text,
    lambda text: b" \n" + text,
    lambda text: text.replace(b",", b",\n"),
    lambda text: text.replace(b"\n", b","),
    lambda text: text[1:],
    lambda text: text[:-1],
    lambda text: text + b"\0",
    lambda text: text + b"\r\n",
]


def enveloped(rng: Random) -> bytes:
    """Events in one or several kinds of wrapping, some of it wrong."""
    text = b"\n".join(
        (accepted(rng) if rng.random() < 0.9 else event(rng)).encode("utf-8", "surrogatepass")
        for _ in range(rng.randint(1, 3))
    )
    for _ in range(rng.randint(1, 4)):
        text = rng.choice(ENVELOPES)(text)
    return text


def record(rng: Random) -> bytes:
    """The data of a record, or an aggregate of such, whole or broken."""
    if rng.random() < 0.9:
        return data(rng)
    body = aggregated([data(rng) if rng.random() < 0.9 else b"" for _ in range(rng.randint(0, 6))], rng)
    whole = kpl.sealed(bytes(body)) if rng.random() < 0.9 else kpl.sealed(b"nothing")[: rng.randrange(24)]
    if rng.random() < 0.1:
        at = rng.randrange(len(whole) + 1)
        whole = whole[:at] + rng.randbytes(1) + whole[at + 1 :]
    return whole


def read(datas: list[bytes], fields: Fields, period: int = PERIOD) -> tuple[list[Any], list[Any]]:
    """Everything that a page's events and rejections consist of."""
    reader = EventReader(Decoder(fields), period, seed=7)
    events = reader.page(Records.of([Record(str(number), 1.0, each) for number, each in enumerate(datas)]))
    lines = [events.text[at : at + size] for at, size in zip(events.start.tolist(), events.size.tolist(), strict=True)]
    named = [events.names[name] for name in events.name.tolist()]
    keys = [key.tobytes() for key in events.keys]
    rows = list(zip(lines, named, keys, events.period.tolist(), events.record.tolist(), strict=True))
    return rows, [(r.record, r.sub, r.reason, r.detail, r.data) for r in events.rejected]


def joined(pages: Iterable[tuple[list[Any], list[Any]]]) -> tuple[list[Any], list[Any]]:
    """The results of pages of one record each, as one page."""
    rows: list[Any] = []
    rejected: list[Any] = []
    for number, (its_rows, its_rejected) in enumerate(pages):
        rows += [(*row[:-1], number) for row in its_rows]
        rejected += [(number, *each[1:]) for each in its_rejected]
    return rows, rejected


def differences(rng: Random) -> str:
    """Read a random page and replies, and look up keys, in C and in Python; what differs, or an empty string."""
    fields, period = rng.choice(FIELDS), rng.choice([PERIOD, 15_000])
    datas = [record(rng) for _ in range(rng.randint(0, 60))]
    found = read(datas, fields, period)
    alone = joined(read([each], fields, period) for each in datas)
    if found != alone:
        return f"the page by its records {datas}"
    with without_native():
        wanted = read(datas, fields, period)
        alone = joined(read([each], fields, period) for each in datas)
    if found != wanted:
        return f"the page {datas}"
    if found != alone:
        return f"the page by its records, without the steps in C, {datas}"
    if differing := differing_aggregate(rng) or differing_look_up(rng) or differing_cbor(rng):
        return differing
    body = reply(rng)
    bodies = [body, *(broken(rng, body) for _ in range(20))]
    return next(
        (f"the reply {one!r}" for one in bodies if decoded(decode_reply, one) != decoded(decode_plainly, one)), ""
    )


def reply(rng: Random) -> bytes:
    """A valid body of GetRecords."""
    rows = [
        {
            "SequenceNumber": str(rng.getrandbits(180)),
            "ApproximateArrivalTimestamp": rng.choice([1545116709.123, 1.5e9, 1545116709, 1.545116709123e9, 1e-3]),
            "Data": base64.b64encode(rng.randbytes(rng.choice([0, 1, 2, 3, 4, 5, 30, 1000]))).decode(),
            "PartitionKey": rng.choice(["key", "k\u00e9y", 'a"b', "\\"]),
        }
        for _ in range(rng.randint(0, 6))
    ]
    for row in rows:
        if rng.random() < 0.1:
            row["EncryptionType"] = "KMS"
    end = {"NextShardIterator": rng.choice([None, "it+er/ator=="]), "MillisBehindLatest": rng.randint(0, 10**9)}
    body = {"Records": rows, **end} if rng.random() < 0.5 else {**end, "Records": rows}
    return json.dumps(body, separators=rng.choice([(",", ":"), (", ", ": ")]), ensure_ascii=rng.random() < 0.5).encode()


def decoded(decode: Any, body: bytes) -> Any:
    try:
        got = decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "refused"
    return list(got.records), got.millis_behind_latest, got.next_shard_iterator, got.child_shards


def broken(rng: Random, body: bytes) -> bytes:
    """The body with a byte or two removed or replaced."""
    at = rng.randrange(len(body))
    new = rng.choice([b"", rng.randbytes(1), b'"', b"=", b"{", b",", b"\\", b"A"])
    return body[:at] + new + body[at + rng.choice([0, 1, 1, 4]) :]


def aggregated(datas: list[bytes], rng: Random) -> bytearray:
    """The protobuf of an aggregate of these, with some fields that the library does not write."""
    body = bytearray()
    for data in datas:
        body += kpl.field(
            rng.choice([1, 1, 2, 5] if rng.random() < 0.3 else [1, 2]), rng.randbytes(rng.choice([0, 5, 40]))
        )
        extra = rng.choice(kpl.EXTRAS) if rng.random() < 0.1 else b""
        explicit = rng.getrandbits(rng.choice([3, 40])) if rng.random() < 0.3 else None
        body += kpl.sub_record(
            data, rng.getrandbits(rng.choice([3, 8, 30] if rng.random() < 0.9 else [64])), explicit, extra
        )
    if rng.random() < 0.2:  # also where there are no records
        body += kpl.field(1, b"key")
    return body


def differing_aggregate(rng: Random) -> str:
    """A random aggregate that C and Python take apart differently, or an empty string."""
    sizes = [rng.choice([0, 1, 100, 127, 128, 200, 16383, 16384, 20_000]) for _ in range(rng.randint(0, 8))]
    body = aggregated([rng.randbytes(size) for size in sizes], rng)
    if body and rng.random() < 0.4:
        body[rng.randrange(min(len(body), 50))] = rng.randrange(256)
    if rng.random() < 0.1:
        del body[rng.randrange(len(body) + 1) :]
    whole = kpl.sealed(bytes(body))
    found = deaggregate(whole)
    with without_native():
        return "" if deaggregate(whole) == found else f"the aggregate {whole!r}"
