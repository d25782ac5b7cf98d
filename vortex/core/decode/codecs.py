"""Compressed records: recognised by their first bytes, decompressed within limits.

Supported are gzip (RFC 1952), zlib (RFC 1950), Zstandard (RFC 8878), LZ4 frames and framed Snappy. A record may have
several members, skippable frames among them, and zeros or white space as padding after each: tools that append, and
fixed-size blocks, produce these. Other formats that are recognised are named in the rejection.
"""

from __future__ import annotations

import re
import sys
from codecs import utf_8_decode
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import cramjam
import lz4.frame
from isal import igzip_lib

from vortex.core.compression import zstd
from vortex.core.decode.limits import MEMBERS
from vortex.core.decode.reasons import Reason, Refused
from vortex.core.decode.steps import Steps

_WINDOW_LOG = 26
"""A Zstandard frame may use a window of up to 64 MiB, the default limit of a record's decompressed size."""
_WINDOW = zstd.DecompressionParameter.window_log_max
_WHITE = b" \t\r\n"
_PADDING = re.compile(rb"[\0 \t\r\n]*+")
_TO_ZERO = re.compile(rb"[^\0]*+\0?")
_EXTRA, _NAME, _COMMENT, _CHECKSUM = 4, 8, 16, 2
"""Flags of the optional fields of a gzip header, in their order."""
_FIRST, _STEP = 1024, 1 << 20
"""Bytes per call to a decompressor, at first and at most: it copies the input after its member. Also its maximum
output per call."""
_SNAPPY_BYTES = 1 << 16
"""Maximum decompressed bytes of a chunk of Snappy."""
_CHUNKS = 10
"""Chunks of Snappy that count as one member."""
_STEP_MEMBERS, _STEP_CHUNKS = 200, 10_000
"""Members and chunks per step: creating the decompressor of a Zstandard member takes a tenth of a millisecond."""
_BROKEN: tuple[type[Exception], ...] = (
    igzip_lib.IsalError,  # type: ignore[assignment]  # its stub says an instance
    zstd.ZstdError,
    cramjam.DecompressionError,
    RuntimeError,  # of lz4
    EOFError,
)
_SNAPPY = b"\xff\x06\x00\x00sNaPpY"
_UNREAD = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x02\x21\x4c\x18": "LZ4 legacy frames",
    b"\x82SNAPPY\0": "Snappy blocks of snappy-java",
    b"\x89LZO": "lzop",
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\xf3\x89\x9a\xc2": "a KPL aggregate with a wrong MD5 or broken protobuf, or inside another format",
    b"Obj\x01": "an Avro file",
    b"\xc3\x01": "an Avro object with the fingerprint of its schema",
    b"\x03\0": "a message of the Glue schema registry",
    b"\x03\x05": "a message of the Glue schema registry",
    b"PAR1": "Parquet",
    b"ORC": "ORC",
    b"ARROW1": "Arrow",
    b"\xe0\x01\0\xea": "Ion",
    b":)\n": "Smile",
    b"\xd9\xd9\xf7": "CBOR",
    b"eyJ": "JSON in Base64",
    b"H4sI": "gzip in Base64",
    b"\x1f\x8b": "gzip inside compressed data",
    b"\x28\xb5\x2f\xfd": "Zstandard inside compressed data",
    b"\x04\x22\x4d\x18": "LZ4 inside compressed data",
    _SNAPPY: "Snappy inside compressed data",
}
_WIDE = {
    name: re.compile(mark + rb"|(?:%b){2}" % character.replace(b"x", rb"[\t\n\r -~]"))
    for name, mark, character in (
        ("UTF-32-BE", rb"\0\0\xfe\xff", rb"\0\0\0x"),
        ("UTF-32-LE", rb"\xff\xfe\0\0", rb"x\0\0\0"),
        ("UTF-16-BE", rb"\xfe\xff", rb"\0x"),
        ("UTF-16-LE", rb"\xff\xfe", rb"x\0"),
    )
}
"""What each encoding begins with: its byte order mark, or two ASCII characters, as JSON does (RFC 4627, section 3)."""


class Output(BytesIO):
    """The decompressed output so far, kept also after an error. `members` is the number of members still allowed."""

    def __init__(self, members: int = MEMBERS) -> None:
        super().__init__()
        self.members = members

    def member(self, number: int = 1) -> None:
        """Count more members. Raises Refused."""
        self.members -= number
        if self.members < 0:
            raise Refused(Reason.TOO_MANY_MEMBERS, f"has more than {MEMBERS} compressed members")

    def text(self) -> bytes:
        """All output; without white space at its end if it looks like JSON, else that may be data. Cut off here, this
        takes no second copy.
        """
        end = self.tell()
        with self.getbuffer() as view:
            while end:
                begin = max(0, end - _STEP)
                if rest := len(bytes(view[begin:end]).rstrip(_WHITE)):
                    end = begin + rest
                    break
                end = begin
            if end and not (view[0] in b"{[" and view[end - 1] in b"}]"):
                end = len(view)
        self.truncate(end)
        return self.getvalue()


class _Codec(NamedTuple):
    """`read` takes the data, the offset of a member, the room, and the output for the member's content. It returns the
    offset after the member.
    """

    name: str
    read: Callable[[memoryview, int, int, Output], Steps[int]]


def decompress(data: bytes, room: int, out: Output | None = None) -> Steps[bytes | None]:
    """Decompress all members of the data, JSON without white space at the end; None if the data are not compressed.

    Raises Refused for broken or truncated data, and for more than `room` bytes, then without decompressing the rest.
    The output until then is in `out`.
    """
    codec = _codec(data, 0)
    if codec is None:
        return None
    whole, at, out = memoryview(data), 0, Output() if out is None else out
    while True:
        try:
            at = yield from codec.read(whole, at, room, out)
        except _BROKEN as problem:
            if not out.tell() and data[0] != 0x78 and codec.read is _zlib:
                return None  # 1 in 1,000 texts with such a first letter looks like zlib
            raise Refused(Reason.BAD_COMPRESSION, f"{codec.name}: {problem}") from None
        at = _end_of_padding(data, at)
        if at == len(data):
            return out.text()
        before, codec = codec, _codec(data, at)
        if codec is None:
            raise Refused(
                Reason.BAD_COMPRESSION, f"{before.name}: {len(data) - at} bytes after the end are not a member"
            )
        out.member()
        if out.members % _STEP_MEMBERS == 0:
            yield


def unread_format(data: bytes) -> str | None:
    """The name of a recognised format that is not supported; for data that are not JSON."""
    name = next((name for magic, name in _UNREAD.items() if data.startswith(magic)), None)
    return "zlib inside compressed data" if name is None and _begins_like_zlib(data) else name


def format_name(data: bytes) -> str:
    """The format by the first bytes: "JSON", a compression, or "other" with a name if there is one."""
    if (codec := _codec(data, 0)) is not None:
        return codec.name
    if data.lstrip(b"\xef\xbb\xbf\x1e \t\r\n")[:1] in (b"{", b"["):
        return "JSON"
    name = wide_encoding(data) or unread_format(data)
    return f"other ({name})" if name else "other"


def wide_encoding(data: bytes) -> str | None:
    """The name of the encoding if the data look like UTF-16 or UTF-32."""
    return next((name for name, begin in _WIDE.items() if begin.match(data)), None)


def _codec(data: bytes | memoryview, at: int) -> _Codec | None:
    """The codec of the member at this offset."""
    head = data[at : at + 4]
    if head[:2] == b"\x1f\x8b":
        return _GZIP
    # https://www.rfc-editor.org/rfc/rfc1950#section-2.2: deflate, its window, a checksum, no dictionary.
    if len(head) > 1 and head[0] & 0x8F == 0x08 and not head[1] & 0x20 and (head[0] << 8 | head[1]) % 31 == 0:
        return _ZLIB
    if head == b"\x28\xb5\x2f\xfd":
        return _ZSTD
    if head == b"\x04\x22\x4d\x18":
        return _LZ4
    if head[1:] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return _SKIPPABLE
    return _FRAMED if data[at : at + len(_SNAPPY)] == _SNAPPY else None


def _begins_like_zlib(data: bytes) -> bool:
    """Whether these are no text, and their beginning decompresses: two bytes of magic are too few to know it by."""
    head = data[:_FIRST]
    if _codec(head, 0) is not _ZLIB:
        return False
    try:
        utf_8_decode(head, "strict", len(head) == len(data))
    except UnicodeDecodeError:
        pass
    else:
        return False
    try:
        igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB).decompress(head, _STEP)
    except _BROKEN:
        return False
    return True


def _end_of_padding(data: bytes | memoryview, at: int, most: int = sys.maxsize) -> int:
    found = _PADDING.match(data, at, most)
    assert found  # perhaps empty
    return found.end()


def _stream(decompressor: Any, data: memoryview, at: int, room: int, out: Output, window: int = _FIRST) -> Steps[int]:
    """Read one member with a decompressor of the standard library's interface, at first `window` bytes. Raises its
    exceptions.
    """
    while not decompressor.eof:
        chunk = data[at : at + window] if decompressor.needs_input else data[:0]
        at += len(chunk)
        part = decompressor.decompress(chunk, _STEP)
        # What was left of an earlier chunk may end inside a block: then it needs the next one, and gives nothing yet.
        nothing = not chunk and not part and (at == len(data) or not decompressor.needs_input)
        if nothing and not decompressor.eof:
            raise EOFError("the compressed data is truncated")
        out.write(part)
        if out.tell() > room:
            raise _too_large(room)
        if len(part) == _STEP or window == _STEP:
            yield
        window = min(4 * window, _STEP)
    return at - len(decompressor.unused_data or b"")


def _gzip(data: memoryview, at: int, room: int, out: Output) -> Steps[int]:
    decompressor, window = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP), _FIRST
    # The decompressor takes a header with several optional fields, or with a checksum, for broken if it comes in two.
    if (flags := int.from_bytes(data[at + 3 : at + 4])) & (_EXTRA | _NAME | _COMMENT | _CHECKSUM):
        window = max(window, _end_of_header(data, at, flags) - at)
    return _stream(decompressor, data, at, room, out, window)


def _end_of_header(data: memoryview, at: int, flags: int) -> int:
    """The end of the header of a gzip member, or beyond the data if it is cut off: RFC 1952, section 2.3."""
    end = at + 10
    if flags & _EXTRA:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for field in (_NAME, _COMMENT):
        if flags & field and (found := _TO_ZERO.match(data, end)):
            end = found.end()
    return end + 2 if flags & _CHECKSUM else end


def _zlib(data: memoryview, at: int, room: int, out: Output) -> Steps[int]:
    return _stream(igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB), data, at, room, out)


def _zstd(data: memoryview, at: int, room: int, out: Output) -> Steps[int]:
    return _stream(zstd.ZstdDecompressor(options={int(_WINDOW): _WINDOW_LOG}), data, at, room, out)


def _lz4(data: memoryview, at: int, room: int, out: Output) -> Steps[int]:
    return _stream(lz4.frame.LZ4FrameDecompressor(), data, at, room, out)


def _skippable(data: memoryview, at: int, _: int, __: Output) -> Steps[int]:
    """Skip a skippable frame of Zstandard or LZ4: RFC 8878, section 3.1.2."""
    end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    if at + 8 > len(data) or end > len(data):
        raise EOFError("a skippable frame is truncated")
    yield from ()
    return end


def _framed_snappy(data: memoryview, begin: int, room: int, out: Output) -> Steps[int]:
    """Read all chunks: https://github.com/google/snappy/blob/main/framing_format.txt. Each states its size."""
    at, size, chunks = begin, 0, 0
    while at + 4 <= len(data):
        kind, length = data[at], int.from_bytes(data[at + 1 : at + 4], "little")
        if 0x02 <= kind < 0x80 or (kind == 0x00 and _is_padding(data, at, at + 4 + length)):
            break  # padding or another member: no mandatory chunk begins like this
        body = data[at + 4 : at + 4 + length]
        if len(body) < length:
            raise EOFError("a chunk is truncated")
        if kind == 0x00:
            size += _varint(body[4:])
        elif kind == 0x01:
            size += max(length - 4, 0)
        if out.tell() + size > room:
            raise _too_large(room)
        at += 4 + length
        chunks += 1
        if size >= _STEP or chunks == _STEP_CHUNKS:
            _some_snappy(data[begin:at], size, out)
            out.member(chunks // _CHUNKS)
            begin, size, chunks = at, 0, 0
            yield
    _some_snappy(data[begin:at], size, out)
    return at


def _is_padding(data: memoryview, at: int, end: int) -> bool:
    """Whether padding begins here, rather than a chunk of Snappy that ends at `end`: both may begin with a zero.

    It is a chunk if something other than padding and a member comes in it, or if its checksum is right.
    """
    padded = _end_of_padding(data, at, end)
    if padded < min(end, len(data)) and _codec(data, padded) is None:
        return False
    try:
        size = _varint(data[at + 8 : end])
        if end > len(data) or size > _SNAPPY_BYTES:
            return True
        _some_snappy(data[at:end], size, Output())
    except _BROKEN:
        return True
    return False


def _some_snappy(chunks: memoryview, size: int, out: Output) -> None:
    out.write(cramjam.snappy.decompress(_SNAPPY + chunks, output_len=size))


def _too_large(room: int) -> Refused:
    return Refused(Reason.TOO_LARGE, f"expands to more than {room} bytes")


def _varint(data: memoryview) -> int:
    value = 0
    for place, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value
    raise EOFError("a chunk's size is cut off")


_GZIP = _Codec("gzip", _gzip)
_ZLIB = _Codec("zlib", _zlib)
_ZSTD = _Codec("Zstandard", _zstd)
_LZ4 = _Codec("LZ4", _lz4)
_FRAMED = _Codec("Snappy", _framed_snappy)
_SKIPPABLE = _Codec("a skippable frame", _skippable)
