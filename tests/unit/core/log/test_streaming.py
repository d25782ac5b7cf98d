"""Texts in pieces: the same bytes as at once, and never a whole text in memory."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable, Iterator

import lz4.frame
import numpy as np
import pytest

from vortex.core.compression import Compression, zstd
from vortex.core.log.lines import LineTable, PageLines
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Folder, compress, decompress_object, empty_footer, folder_hash, lz4_frame
from vortex.core.log.streaming import STEP, decompressed, kept_lines, lz4_member, member, members_in, same_text
from vortex.core.log.trailer import CorruptSegment
from vortex.core.model import Position, Start
from vortex.core.publish.pieces import ObjectSpec, Piece
from vortex.publish.object_writer import _bodies, _same_lines

LINE = b'{"customer":"a","type":"b","id":"%08d"}\n'
KINDS = [None, *Compression]
"""Of blobs; None is LZ4."""
UNPACK: dict[Compression | None, Callable[[bytes], bytes]] = {
    None: lz4.frame.decompress,
    Compression.GZIP: gzip.decompress,
    Compression.ZSTD: zstd.decompress,
}


def lines(count: int) -> list[bytes]:
    return [LINE % number for number in range(count)]


def cut(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


@pytest.mark.parametrize("size", [0, 1, STEP - 1, STEP, STEP + 1, 3 * STEP + 17])
@pytest.mark.parametrize("piece", [700_000, 2 * STEP])
@pytest.mark.parametrize("compression", KINDS)
def test_a_member_made_of_pieces_has_their_text(size: int, piece: int, compression: Compression | None) -> None:
    text = (LINE % 7 * (size // len(LINE) + 1))[:size]
    packed = member(cut(text, piece), compression) if compression else lz4_member(cut(text, piece))
    assert (UNPACK[compression](packed) if packed else b"") == text
    assert b"".join(decompressed(packed, "x")) == text
    assert max(map(len, decompressed(packed, "x")), default=0) <= STEP
    if size <= STEP and size:
        assert packed == (compress(text, compression) if compression else lz4_frame(text))


@pytest.mark.parametrize("compression", Compression)
def test_decompressed_joins_members_and_refuses_broken_ones(compression: Compression) -> None:
    """So does `decompress_object`. A changed byte is found by the checksum."""
    one, two = compress(b"one\n", compression), compress(b"two\n" * 3_000_000, compression)
    text = b"one\n" + b"two\n" * 3_000_000 + b"one\n"
    assert b"".join(decompressed(one + two + one, "x")) == decompress_object(one + two + one, "x") == text
    changed = one[:-1] + bytes([one[-1] ^ 1])
    for broken in (one[:-1], one + two[:-9], two + b"junk", b"junk", changed, lz4_frame(b"x" * 99)[:-5]):
        with pytest.raises(CorruptSegment, match="the name"):
            list(decompressed(broken, "the name"))
    for broken in (one[:-1], one + two[:-9], two + b"junk", changed):
        with pytest.raises(CorruptSegment, match="the name"):
            decompress_object(broken, "the name")


@pytest.mark.parametrize("size", [1, 7, 39, 40, 41, 1000, 10**6])
def test_kept_lines_leaves_out_lines_by_number_however_the_text_is_cut(size: int) -> None:
    every, out = lines(50), [0, 1, 7, 30, 49]
    expected = b"".join(line for number, line in enumerate(every) if number not in out)
    assert b"".join(kept_lines(cut(b"".join(every), size), np.array(out), "x")) == expected
    with pytest.raises(CorruptSegment, match="has 50 lines, but line 50 is to be left out"):
        list(kept_lines(cut(b"".join(every), size), np.array([3, 50]), "x"))


def test_same_text_compares_texts_however_they_are_cut() -> None:
    text = b"".join(lines(1000))
    for size in (1, 999, 10**6):
        assert same_text(cut(text, 1234), cut(text, size))
        assert not same_text(cut(text, 1234), cut(text + b"x", size))
        assert not same_text(cut(text + b"x", size), cut(text, 1234))
        assert not same_text(cut(text, 1234), cut(b"x" + text[1:], size))
    assert same_text([], [b""])


def _held(work: Callable[[], object]) -> int:
    """The most bytes that the work takes at a time."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("large", KINDS)
def test_sealing_and_publishing_a_large_member_take_a_small_part_of_its_size(large: Compression | None) -> None:
    """In all forms of a blob, also where a line is left out, and where the object exists already."""
    count, line = 60_000, b'{"x":"%s"}\n' % (b"x" * 490)
    text = line * count
    size = np.full(count, len(line) - 1, dtype=np.int32)
    start = np.arange(count, dtype=np.int64) * len(line)
    table = LineTable([PageLines(text, start, size, np.zeros(count, dtype=np.int32))])
    at, folder = Position(Start.TRIM_HORIZON), Folder("f", folder_hash("f"))
    footer = empty_footer("s", owner="me", created=0, position=at, watermark=0, closed_before=1)
    sealed = seal(footer, [Cell(folder, 0)], table, large=large)
    assert _held(lambda: seal(footer, [Cell(folder, 0)], table, large=large)) < len(text) / 2
    ((_, _, offset, length, rows, raw, digest),) = sealed.footer.member_rows.tolist()
    piece = Piece("s", 0, offset, length, digest, rows, raw, 0, raw, np.array([3]))
    data = {("s", 0, 0): memoryview(sealed.body)[:length]}
    made: list[tuple[bytes, int]] = []
    spec = ObjectSpec("key", folder, 0, (piece,) * 3)
    assert _held(lambda: made.extend(_bodies([spec], data, 1, large or Compression.GZIP))) < len(text) / 2
    ((body, size_of),) = made
    assert decompress_object(body, "x") == line * (3 * (count - 1))
    assert size_of == 3 * (count - 1) * len(line)
    other = compress(decompress_object(body, "x"))
    assert _held(lambda: _same_lines(body, [other], "key")) < len(text) / 2


@pytest.mark.parametrize("compression", Compression)
def test_members_in_cuts_an_object_into_its_members(compression: Compression) -> None:
    """Of any size, each a whole file by itself."""
    texts = [b"a\n", b"", b"b" * 100_000 + b"\n", *(b"%d\n" % n for n in range(3000)), bytes(3 * STEP)]
    bodies = [compress(text, compression) for text in texts]
    assert members_in(b"".join(bodies), "x") == bodies
    assert members_in(bodies[0], "x") == bodies[:1]
    for broken in (b"".join(bodies)[:-1], b"".join(bodies[:3]) + b"\x00\x01"):
        with pytest.raises(CorruptSegment, match=r"^x: "):
            members_in(broken, "x")
