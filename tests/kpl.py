"""KPL aggregates for tests, whole and with fields that no library writes."""

from __future__ import annotations

from hashlib import md5

from vortex.core.decode.kpl import MAGIC

EXTRAS = [b"\x20\x05", b"\x2a\x03abc", b"\x31" + b"\1" * 8, b"\x3d" + b"\2" * 4, b"\x98\x06\x01"]
"""Fields that no version of the format has: a varint, bytes, a fixed64, a fixed32, and a two-byte tag."""


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def sub_record(data: bytes, index: int = 0, explicit: int | None = None, extra: bytes = b"") -> bytes:
    hashed = b"" if explicit is None else field(2, explicit)
    return field(3, field(1, index) + hashed + field(3, data) + extra)


def sealed(body: bytes) -> bytes:
    return MAGIC + body + md5(body).digest()


def aggregate(payloads: list[bytes], keys: tuple[bytes, ...] = (b"key",)) -> bytes:
    return sealed(b"".join(field(1, key) for key in keys) + b"".join(sub_record(data) for data in payloads))
