from collections.abc import Sequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

Buffer: TypeAlias = bytes | bytearray | memoryview | NDArray[Any]
Plan: TypeAlias = object
Numbers: TypeAlias = object

def plan(
    nodes: list[list[tuple[bytes, int, int]]],
    fields: list[list[int]],
    hash_missing: bool,
    formats: bool = False,
    max_bytes: int = ...,
    /,
) -> Plan: ...
def numbers(seed: int, /) -> Numbers: ...
def events(
    plan: Plan, names: Numbers, text: Buffer, bounds: Buffer, aggregate: Buffer, period_ms: int, seed: int, /
) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, list[tuple[str, str]], list[int]]: ...
def group(numbers: Numbers, name: Buffer, period: Buffer, /) -> tuple[bytes, list[tuple[int, int]]]: ...
def records(body: Buffer, /) -> tuple[bytes, bytes, bytes, bytes, bytes] | None: ...
def aggregate(data: Buffer, begin: int, end: int, /) -> list[bytes] | None: ...
def lines(texts: list[bytes], page: Buffer, start: Buffer, size: Buffer, chosen: Buffer, /) -> bytes: ...
def rehash(
    high: Buffer,
    low: Buffer,
    tag: Buffer,
    live: Buffer,
    to_high: Buffer,
    to_low: Buffer,
    to_tag: Buffer,
    to_over: Buffer,
    /,
) -> int: ...
def claim(
    keys: Buffer, tables: Sequence[tuple[Buffer, ...]], live: Buffer, new: Buffer, mine: int, /
) -> list[tuple[int, int]]: ...
