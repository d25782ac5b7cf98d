"""Records that no producer should send: each must become a rejection, and cost a bounded amount."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import md5
from random import Random
from typing import NamedTuple

from tests.harness import Site, client

MARK = "not-for-logs"
"""Part of the payloads: it must not be in any log."""
_MIB = 2**20
_RECORD = 1_000_000
"""Bytes: a little less than a record of Kinesis may have by default."""


def _gz(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _aggregate(parts: Iterable[bytes]) -> bytes:
    """A KPL aggregate: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md."""
    rows = (b"\x08\x00\x1a" + _varint(len(part)) + part for part in parts)
    body = b"\x0a\x01a" + b"".join(b"\x1a" + _varint(len(row)) + row for row in rows)
    return b"\xf3\x89\x9a\xc2" + body + md5(body, usedforsecurity=False).digest()


def _line(size: int) -> bytes:
    """One event of that size without the required fields."""
    return b'{"id":"x","p":"' + b"x" * size + b'"}'


BOMBS: dict[str, Callable[[], bytes]] = {
    "64 MiB of {} lines in gzip": lambda: _gz(b"{}\n" * (64 * _MIB // 3 - 1)),
    "32 Mi numbers in gzip": lambda: _gz(b"[" + b"1," * (32 * _MIB - 2) + b"1]"),
    "256 MiB of zeros in gzip": lambda: _gz(bytes(_MIB)) * 256,
    "a line of 64 MiB in gzip": lambda: _gz(_line(64 * _MIB - 100)),
    "gzip in gzip": lambda: _gz(_gz(b"{}\n" * (32 * _MIB // 3))),
    "zlib": lambda: zlib.compress(b"{}\n" * (16 * _MIB // 3), 9),
    "numbers": lambda: b"[" + b"1," * (_RECORD // 2 - 2) + b"1]",
    "{} lines": lambda: b"{}\n" * (_RECORD // 3),
    "a long line": lambda: _line(_RECORD - 100),
    "control characters": lambda: bytes(range(1, 10)) * (_RECORD // 9),
    "NUL": lambda: bytes(_RECORD),
    "150,000 empty sub-records": lambda: _aggregate([b""] * 150_000),
    "sub-records of {} lines in gzip": lambda: _aggregate([_gz(b"{}\n" * (16 * _MIB // 3))] * 10),
    "an aggregate with a wrong sum": lambda: _aggregate([b"{}"] * 1000)[:-1] + b"x",
    "brackets": lambda: b"[" * (_RECORD // 2),
    "objects in objects": lambda: b'{"a":' * (_RECORD // 5),
    "an object of many keys": lambda: b"{" + b",".join(b'"k%d":1' % n for n in range(80_000)) + b"}",
    "10,000 events without a customer": lambda: b"\n".join(b'{"id":"x%d","type":"t"}' % n for n in range(10_000)),
    "a name without end": lambda: b'{"id":"x","type":"t","customer":"%b' % (b"n" * (_RECORD - 100)),
    "junk": lambda: Random("junk").randbytes(50_000),
    "text": lambda: f"{MARK} is what this payload says".encode() * 1000,
    "UTF-16": lambda: f'{{"id":"{MARK}"}}'.encode("utf-16"),
    "gzip that breaks off": lambda: _gz(b'{"id":"x"}\n' * 10_000)[:-20],
    "gzip with a wrong sum": lambda: _gz(b'{"id":"x"}\n' * 10_000)[:-8] + b"12345678",
    "snappy that is none": lambda: b"\xff\x06\x00\x00sNaPpY" + Random("snappy").randbytes(500),
    "LZ4 that is none": lambda: b"\x04\x22\x4d\x18" + Random("lz4").randbytes(500),
    "zstd that is none": lambda: b"\x28\xb5\x2f\xfd" + Random("zstd").randbytes(500),
}


class Put(NamedTuple):
    """A bomb, the shard that it went to, and when (epoch)."""

    name: str
    shard: str
    at: float


@dataclass
class Bomber(threading.Thread):
    """Puts one bomb after the other, in a random order each round, until it is stopped."""

    site: Site
    rng: Random
    pause_s: float
    put: dict[str, Put] = field(default_factory=dict)
    """By the record's sequence number."""

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.failure: BaseException | None = None

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """The thread's work."""
        kinesis = client("kinesis", self.site.kinesis)
        names: list[str] = []
        try:
            while not self.ended.wait(self.pause_s):
                if not names:
                    names = list(BOMBS)
                    self.rng.shuffle(names)
                name = names.pop()
                key = f"bomb-{self.rng.getrandbits(40)}"
                answer = kinesis.put_record(StreamName=self.site.stream, PartitionKey=key, Data=made(name))
                self.put[answer["SequenceNumber"]] = Put(name, answer["ShardId"], time.time())
        except BaseException as problem:  # noqa: BLE001 - `finish` raises it: the error of a thread is lost otherwise
            self.failure = problem

    def finish(self) -> dict[str, Put]:
        """Stop; the bombs that were put."""
        self.ended.set()
        if self.ident is not None:
            self.join()
        if self.failure is not None:
            raise self.failure
        return self.put


_made: dict[str, bytes] = {}


def made(name: str) -> bytes:
    """That bomb, made once."""
    if name not in _made:
        _made[name] = BOMBS[name]()
    return _made[name]
