"""Compressed records: every supported format, its members, padding and limits; unsupported formats are named."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import sys
import time
import zlib
from collections.abc import Callable
from random import Random

import cramjam
import lz4.frame
import pytest

from tests.kpl import sealed
from vortex.core.decode import codecs
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.fields import Fields
from vortex.core.decode.reasons import Reason, Refused
from vortex.core.decode.steps import at_once
from vortex.core.model import Record

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROOM = 1 << 20
TEXT = (b'{"c":"a","t":"b","id":"%d"}\n' * 500)[:-1]
SKIPPABLE = struct.pack("<II", 0x184D2A53, 5) + b"hello"
CODECS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zlib": zlib.compress,
    "zstd": zstd.compress,
    "lz4": lz4.frame.compress,
    "snappy": lambda data: bytes(cramjam.snappy.compress(data)),
}
every = pytest.mark.parametrize("compressed", CODECS.values(), ids=CODECS)


def decompress(data: bytes, room: int) -> bytes | None:
    """All of it, without a pause."""
    return at_once(codecs.decompress(data, room))


def rejection_of(data: bytes) -> tuple[Reason, str]:
    """The reason and detail of the record's only rejection."""
    out = Decoder(Fields(("c",), ("t",), ("id",), ("at",))).page([Record("1", 1.0, data)])
    assert not out.lines and [each.data for each in out.rejected] == [data]
    return out.rejected[0].reason, out.rejected[0].detail


def test_decompress_returns_none_when_data_are_not_compressed() -> None:
    for data in (b"", b"{", b"{}", b"[]", b"x", b"hello", b"\x1f", b"8 is no zlib"):
        assert decompress(data, ROOM) is None


@every
def test_decompress_joins_members_and_skips_padding(compressed: Callable[[bytes], bytes]) -> None:
    for padding in (b"", b"\n", b"\0" * 600, b" \r\n\t\0"):
        assert decompress(compressed(TEXT) + padding, ROOM) == TEXT
        several = compressed(TEXT) + padding + compressed(b"") + compressed(TEXT) + padding
        assert decompress(several, ROOM) == TEXT + TEXT


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "independent"])
@pytest.mark.parametrize("block_size", [4, 5, 6, 7], ids=["64 KiB", "256 KiB", "1 MiB", "4 MiB"])
def test_decompress_reads_an_lz4_frame_whose_blocks_expand_far(block_size: int, linked: bool) -> None:
    """The output of a step is full in the middle of the input that the decompressor has."""
    text = b"{}\n" * 1_500_000
    frame = lz4.frame.compress(text, block_size=block_size, block_linked=linked)
    assert at_once(codecs.decompress(frame, len(text))) == text.rstrip()
    with pytest.raises(Refused, match="truncated"):
        at_once(codecs.decompress(frame[:-1], len(text)))


@pytest.mark.parametrize("compressed", [CODECS["zstd"], CODECS["lz4"]], ids=["zstd", "lz4"])
def test_decompress_skips_skippable_frames(compressed: Callable[[bytes], bytes]) -> None:
    assert decompress(SKIPPABLE + compressed(TEXT) + SKIPPABLE + compressed(TEXT) + SKIPPABLE, ROOM) == TEXT + TEXT
    with pytest.raises(Refused) as refused:
        decompress(compressed(TEXT) + SKIPPABLE[:-1], ROOM)
    assert refused.value.reason is Reason.BAD_COMPRESSION


def test_decompress_skips_skippable_snappy_chunks() -> None:
    snappy = CODECS["snappy"](TEXT)
    assert decompress(snappy[:10] + b"\xfe\3\0\0abc" + snappy[10:] + b"\x80\1\0\0x", ROOM) == TEXT


PADDINGS = [b"\0" * zeros + white for zeros in range(1, 5) for white in (b"", b"\n", b"\r\n", b"\n" * 4, b"\n\0\0")]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    "following",
    [b"", b"\0\n" * 40_000, *(compress(TEXT) for compress in CODECS.values()), zlib.compress(TEXT, 0), SKIPPABLE],
    ids=["nothing", "padding", *CODECS, "stored", "skippable"],
)
def test_decompress_skips_zeros_after_snappy_which_look_like_a_chunk(padding: bytes, following: bytes) -> None:
    """A chunk begins with a zero, too: that of compressed data, with its length."""
    after = b"" if not following.strip(b"\0\n") or following is SKIPPABLE else TEXT
    assert decompress(CODECS["snappy"](TEXT) + padding + following, ROOM) == TEXT + after
    with pytest.raises(Refused) as refused:
        decompress(CODECS["snappy"](TEXT) + padding + b"more", ROOM)
    assert refused.value.reason is Reason.BAD_COMPRESSION


def test_decompress_reads_snappy_chunks_which_look_like_padding() -> None:
    """Their length is of white space and zeros; with some, what comes next looks like a member of zlib."""
    likely = [b"%d" % number * size for size in (11, 39, 232, 24_500, 27_332) for number in range(10, 100)]
    likely += [b"%04d" % number * 10 for number in range(10_000)]
    zlib_too = 0
    for text in likely:
        whole = CODECS["snappy"](text)
        if whole[10] == 0 and not whole[11:14].strip(b"\0 \t\r\n"):
            zlib_too += codecs.format_name(whole[14:]) == "zlib"
            assert decompress(whole + whole[10:] + b"\0" + whole, ROOM) == text * 3
    assert zlib_too


@pytest.mark.parametrize("window", range(9, 16))
def test_decompress_reads_zlib_of_every_window_size(window: int) -> None:
    compressor = zlib.compressobj(6, zlib.DEFLATED, window)
    assert decompress(compressor.compress(TEXT) + compressor.flush(), ROOM) == TEXT


@pytest.mark.parametrize("size", [10, 500, 1_003, 1_004, 1_010, 1_012, 3_000, 70_000, 2_000_000])
@pytest.mark.parametrize("flags", range(0, 32, 2))
def test_decompress_reads_a_gzip_header_with_optional_fields_however_long(flags: int, size: int) -> None:
    """Of 1,025 bytes and more, such headers used to come to the decompressor in two calls."""
    head = b"\x1f\x8b\x08" + bytes([flags]) + b"\0\0\0\0\0\xff"
    if flags & 4:
        head += struct.pack("<H", min(size, 65_535)) + b"\0" * min(size, 65_535)
    head += b"n" * size + b"\0" if flags & 8 else b""
    head += b"c" * size + b"\0" if flags & 16 else b""
    head += struct.pack("<H", zlib.crc32(head) & 0xFFFF) if flags & 2 else b""
    whole = head + gzip.compress(TEXT, mtime=0)[10:]
    assert gzip.decompress(whole) == TEXT
    assert decompress(whole, ROOM) == TEXT
    assert decompress(whole + b"\0\n" + whole, ROOM) == TEXT + TEXT
    for cut in (4, 11, len(head) - 1, len(head), len(whole) - 1):
        with pytest.raises(Refused) as refused:
            decompress(whole[:cut], ROOM)
        assert refused.value.reason is Reason.BAD_COMPRESSION


@every
def test_decompress_leaves_out_white_space_at_the_end(compressed: Callable[[bytes], bytes]) -> None:
    """However much."""
    assert decompress(compressed(TEXT + b" \r\n\t" * 700_000), 4_000_000) == TEXT
    assert decompress(compressed(b"\n" * 3_000_000), 4_000_000) == b""


@every
@pytest.mark.parametrize("data", [b"\n\x05hello\x10\r", b"\0{\0}\0\n", b"\n{x}\n"])
def test_a_rejection_has_all_bytes_of_compressed_data_when_they_are_not_json(
    data: bytes, compressed: Callable[[bytes], bytes]
) -> None:
    """White space at the end is data in binary formats."""
    out = Decoder(Fields(("c",), ("t",), ("id",), ("at",))).page([Record("1", 1.0, compressed(data))])
    assert [each.data for each in out.rejected] == [data]


@every
def test_decompress_refuses_data_when_the_output_exceeds_the_limit(compressed: Callable[[bytes], bytes]) -> None:
    assert decompress(compressed(TEXT), len(TEXT)) == TEXT
    for room in (0, 1, len(TEXT) - 1):
        with pytest.raises(Refused) as refused:
            decompress(compressed(TEXT), room)
        assert refused.value.reason is Reason.TOO_LARGE
    with pytest.raises(Refused) as refused:
        decompress(compressed(b"x" * 50_000_000), 1000)
    assert refused.value.reason is Reason.TOO_LARGE


@every
def test_decompress_refuses_truncated_or_changed_data(compressed: Callable[[bytes], bytes]) -> None:
    """Cut anywhere after the magic bytes, followed by bytes that are not a member, or with any bytes changed."""
    whole = compressed(TEXT)
    for broken in (*(whole[:size] for size in range(12, len(whole))), whole + b"more", whole + b"\n{}"):
        with pytest.raises(Refused) as refused:
            decompress(broken, ROOM)
        assert refused.value.reason is Reason.BAD_COMPRESSION
    rng = Random(4)
    for _ in range(500):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            decompress(bytes(changed), ROOM)
        except Refused as problem:
            assert problem.reason in (Reason.BAD_COMPRESSION, Reason.TOO_LARGE)


@pytest.mark.parametrize("name", ["gzip", "zstd", "lz4"])
def test_decompress_refuses_too_many_members(name: str) -> None:
    """Empty members take no memory, but time."""
    with pytest.raises(Refused) as refused:
        decompress(CODECS[name](b"") * 33_000, ROOM)
    assert refused.value.reason is Reason.TOO_MANY_MEMBERS


@pytest.mark.parametrize("name", CODECS)
def test_decompress_reads_many_members_in_steps(name: str) -> None:
    """A decompressor takes up to 0.1 ms to create."""
    steps = codecs.decompress(CODECS[name](TEXT) * 2_000, 1 << 26)
    assert sum(1 for _ in steps) >= 10


def test_decompress_reads_many_snappy_chunks_in_steps() -> None:
    steps = codecs.decompress(CODECS["snappy"](TEXT) + b"\xfe\0\0\0" * 100_000, ROOM)
    assert sum(1 for _ in steps) >= 10


@every
def test_decompress_reads_a_large_member_in_steps(compressed: Callable[[bytes], bytes]) -> None:
    steps = codecs.decompress(compressed(b"x" * (16 << 20)), 1 << 26)
    assert sum(1 for _ in steps) >= 10


def test_decompress_takes_linear_time_on_many_members_with_padding() -> None:
    """Eight mebibytes after ten thousand members used to be copied ten thousand times."""
    data = (CODECS["gzip"](b"") + b" ") * 10_000 + struct.pack("<II", 0x184D2A50, 8 << 20) + bytes(8 << 20)
    began = time.process_time()
    assert decompress(data, ROOM) == b""
    assert time.process_time() - began < 2


@every
def test_decompress_reports_the_output_size_of_broken_data(compressed: Callable[[bytes], bytes]) -> None:
    text = b"x" * (8 << 20)
    whole, out = compressed(text), codecs.Output()
    with pytest.raises(Refused):
        at_once(codecs.decompress(whole + whole[:-5], 1 << 26, out))
    assert out.tell() >= len(text)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (bz2.compress(TEXT), "bzip2"),
        (lzma.compress(TEXT), "xz"),
        (b"\x02\x21\x4c\x18" + b"\0" * 9, "LZ4"),
        (b"\x82SNAPPY\0" + b"\0" * 9, "snappy-java"),
        (b"PK\x03\x04" + b"\0" * 9, "zip"),
        (b"Obj\x01" + b"\0" * 9, "Avro"),
        (b"PAR1" + b"\0" * 9, "Parquet"),
        (b"ORC" + b"\0" * 9, "ORC"),
        (b"\xf3\x89\x9a\xc2" + b"\0" * 30, "KPL"),
        (b"eyJjIjoiYSJ9", "Base64"),
        (gzip.compress(gzip.compress(TEXT, mtime=0), mtime=0), "gzip"),
    ],
)
def test_decoder_names_an_unsupported_format_in_the_rejection(data: bytes, name: str) -> None:
    text = decompress(data, ROOM)
    out = Decoder(Fields(("c",), ("t",), ("id",), ("at",))).page([Record("1", 1.0, data)])
    (found,) = out.rejected
    assert not out.lines and found.reason is Reason.UNSUPPORTED_FORMAT and name in found.detail
    assert found.data == (data if text is None else text)


@pytest.mark.parametrize("outer", CODECS)
@pytest.mark.parametrize(("inner", "named"), [("zlib", "zlib"), ("snappy", "Snappy")])
def test_decoder_names_the_inner_format_when_data_are_compressed_twice(outer: str, inner: str, named: str) -> None:
    for text in (b'{"c":"a"}', TEXT, Random(1).randbytes(100_000)):
        data = CODECS[outer](CODECS[inner](text))
        out = Decoder(Fields(("c",), ("t",), ("id",), ("at",))).page([Record("1", 1.0, data)])
        found = out.rejected[0]
        assert not out.lines and found.reason is Reason.UNSUPPORTED_FORMAT
        assert found.detail == f"looks like {named} inside compressed data"


@pytest.mark.parametrize("data", [b"x^2 + y^2 = 1", b"x\xda\x80", b"x\x01 is a control character", b"h\x81\xff\xff"])
def test_decoder_names_no_zlib_when_data_only_begin_like_it(data: bytes) -> None:
    for whole in (gzip.compress(data), gzip.compress(b'{"a":1}\n' + data)):
        out = Decoder(Fields(("c",), ("t",), ("id",), ("at",))).page([Record("1", 1.0, whole)])
        assert out.rejected[-1].data == data and out.rejected[-1].reason in (Reason.NOT_JSON, Reason.NOT_UTF8)


@pytest.mark.parametrize("text", ['{"c":"é"}', '[{"c":"a"}]\n', "\nhello\n", '{\n"a":1}', "{}"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_decoder_names_the_encoding_of_a_text_that_is_not_utf_8(encoding: str, mark: str, text: str) -> None:
    """With or without a byte order mark."""
    reason, detail = rejection_of((mark + text).encode(encoding))
    assert reason is Reason.NOT_UTF8 and detail.endswith(f"looks like {encoding.upper()}")


@pytest.mark.parametrize("data", [b"\0hello\0", b"\0\0\0\x07{}", b"{\0}", b"\x01\0\x02\0"])
def test_decoder_names_no_encoding_when_zeros_are_elsewhere(data: bytes) -> None:
    assert rejection_of(data)[0] is Reason.NOT_JSON


def test_decoder_says_that_a_kpl_aggregate_is_broken_when_its_digest_is_right() -> None:
    reason, detail = rejection_of(sealed(b"\x1a\xff"))
    assert reason is Reason.UNSUPPORTED_FORMAT and "broken protobuf" in detail
