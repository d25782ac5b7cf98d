"""Texts in pieces: the same bytes as at once, and never a whole text in memory."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable, Iterable, Iterator

import lz4.frame
import numpy as np
import pytest

from vortex.core.log.lines import LineTable, PageLines
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Folder, compress, empty_footer, folder_hash, lz4_frame
from vortex.core.log.streaming import STEP, decompressed, gzip_member, kept_lines, lz4_member, same_text
from vortex.core.log.trailer import CorruptSegment
from vortex.core.model import Position, Start
from vortex.core.publish.members import ObjectSpec, Piece
from vortex.publish.object_writer import _bodies, _same_lines

LINE = b'{"customer":"a","type":"b","id":"%08d"}\n'


def lines(count: int) -> list[bytes]:
    return [LINE % number for number in range(count)]


def cut(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


@pytest.mark.parametrize("size", [0, 1, STEP - 1, STEP, STEP + 1, 3 * STEP + 17])
@pytest.mark.parametrize("piece", [700_000, 2 * STEP])
@pytest.mark.parametrize(("pack", "unpack"), [(gzip_member, gzip.decompress), (lz4_member, lz4.frame.decompress)])
def test_a_member_made_of_pieces_has_their_text(
    size: int, piece: int, pack: Callable[[Iterable[bytes]], bytes], unpack: Callable[[bytes], bytes]
) -> None:
    text = (LINE % 7 * (size // len(LINE) + 1))[:size]
    packed = pack(cut(text, piece))
    assert (unpack(packed) if packed else b"") == text
    assert b"".join(decompressed(packed, "x")) == text
    assert max(map(len, decompressed(packed, "x")), default=0) <= STEP
    if size <= STEP and size:
        assert packed == (compress if pack is gzip_member else lz4_frame)(text)


def test_decompressed_joins_gzip_members_and_refuses_broken_ones() -> None:
    one, two = compress(b"one\n"), compress(b"two\n" * 3_000_000)
    assert b"".join(decompressed(one + two + one, "x")) == b"one\n" + b"two\n" * 3_000_000 + b"one\n"
    for broken in (one[:-1], one + two[:-9], two + b"junk", b"junk", lz4_frame(b"x" * 99)[:-5]):
        with pytest.raises(CorruptSegment, match="the name"):
            list(decompressed(broken, "the name"))


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


@pytest.mark.parametrize("as_lz4", [False, True])
def test_sealing_and_publishing_a_large_member_take_a_small_part_of_its_size(as_lz4: bool) -> None:
    """In both forms of a blob, also where a line is left out, and where the object exists already."""
    count, line = 60_000, b'{"x":"%s"}\n' % (b"x" * 490)
    text = line * count
    size = np.full(count, len(line) - 1, dtype=np.int32)
    start = np.arange(count, dtype=np.int64) * len(line)
    table = LineTable([PageLines(text, start, size, np.zeros(count, dtype=np.int32))])
    at, folder = Position(Start.TRIM_HORIZON), Folder("f", folder_hash("f"))
    footer = empty_footer("s", owner="me", created=0, position=at, watermark=0, closed_before=1)
    sealed = seal(footer, [Cell(folder, 0)], table, as_lz4=as_lz4)
    assert _held(lambda: seal(footer, [Cell(folder, 0)], table, as_lz4=as_lz4)) < len(text) / 2
    ((_, _, offset, length, rows, raw, digest),) = sealed.footer.member_rows.tolist()
    piece = Piece("s", 0, offset, length, digest, rows, raw, 0, raw, np.array([3]))
    data = {("s", 0, 0): memoryview(sealed.body)[:length]}
    made: list[tuple[bytes, int]] = []
    spec = ObjectSpec("key", folder, 0, (piece,) * 3)
    assert _held(lambda: made.extend(_bodies([spec], data, 1))) < len(text) / 2
    ((body, size_of),) = made
    assert gzip.decompress(body) == line * (3 * (count - 1))
    assert size_of == 3 * (count - 1) * len(line)
    other = compress(gzip.decompress(body))
    assert _held(lambda: _same_lines(body, other, "key")) < len(text) / 2
