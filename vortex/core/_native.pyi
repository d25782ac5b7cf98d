"""The steps in C. What they do is in `vortex.core.native.contract`, but for `claim` and `refill` (`KeyTable`)."""

import numpy as np
from numpy.typing import NDArray

from vortex.core.native.contract import Buffer, EventColumns, Numbers, Paths

def paths(
    nodes: list[list[tuple[bytes, int, int]]],
    fields: list[list[int]],
    hash_missing: bool,
    formats: bool = False,
    max_bytes: int = ...,
    /,
) -> Paths: ...
def numbers(seed: int, /) -> Numbers: ...
def events(
    paths: Paths,
    names: Numbers,
    text: Buffer,
    bounds: Buffer,
    aggregate: Buffer,
    period_ms: int,
    seed: int,
    most: int,
    /,
) -> EventColumns: ...
def group(numbers: Numbers, name: Buffer, period: Buffer, /) -> tuple[bytes, list[tuple[int, int]]]: ...
def records(body: Buffer, /) -> tuple[bytes, bytes, bytes, bytes, bytes] | None: ...
def cbor_records(body: Buffer, /) -> tuple[bytes, bytes, bytes, bytes, bytes] | None: ...
def rising(lines: Buffer, width: int, /) -> bool: ...
def aggregate(data: Buffer, begin: int, end: int, most: int, /) -> list[bytes] | None: ...
def lines(texts: list[bytes], page: Buffer, start: Buffer, size: Buffer, chosen: Buffer, /) -> bytes: ...
def claim(keys: Buffer, old: Buffer, young: Buffer, new: Buffer, /) -> int:
    """Enter the keys that neither table has into `young`; `new` gets a byte for each. How many were entered.

    A table has sixteen bytes a slot, zeros where it is free. Raises ValueError for a full one.
    """

def refill(source: Buffer, target: Buffer, /) -> int:
    """Enter the keys of one table into another, empty one; how many. Raises ValueError for one that is too small."""

def find(high: Buffer, low: Buffer, probe_high: Buffer, probe_low: Buffer, places: NDArray[np.int64], /) -> None: ...
def order(high: Buffer, low: Buffer, places: NDArray[np.int64], /) -> None: ...
def maybe(begins: Buffer, prints: Buffer, probes: Buffer, places: NDArray[np.int64], /) -> None: ...
