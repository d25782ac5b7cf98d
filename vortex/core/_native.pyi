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
    plan: Plan,
    names: Numbers,
    text: Buffer,
    bounds: Buffer,
    aggregate: Buffer,
    period_ms: int,
    seed: int,
    most: int,
    /,
) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, list[tuple[str, str]], list[int]]: ...
def group(numbers: Numbers, name: Buffer, period: Buffer, /) -> tuple[bytes, list[tuple[int, int]]]: ...
def records(body: Buffer, /) -> tuple[bytes, bytes, bytes, bytes, bytes] | None: ...
def aggregate(data: Buffer, begin: int, end: int, most: int, /) -> list[bytes] | None: ...
def lines(texts: list[bytes], page: Buffer, start: Buffer, size: Buffer, chosen: Buffer, /) -> bytes: ...
def claim(keys: Buffer, old: Buffer, young: Buffer, new: Buffer, /) -> int: ...
def refill(source: Buffer, target: Buffer, /) -> int: ...
