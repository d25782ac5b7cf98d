"""The segment format: what is sealed is read back, and corruption is detected."""

from __future__ import annotations

import gzip
import struct
from collections import Counter
from contextlib import suppress
from random import Random

import lz4.frame
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.core.log.lines import LineTable, PageLines
from vortex.core.log.sealing import ALONE_BYTES, SHARED_BYTES, seal
from vortex.core.log.segment import (
    OLDEST,
    VERSION,
    Cell,
    Counts,
    Folder,
    Footer,
    Sealed,
    check_blob,
    check_ids,
    compress,
    decompress,
    empty_footer,
    folder_hash,
    lz4_frame,
    member_offsets,
    parse_footer,
)
from vortex.core.log.trailer import CorruptSegment, OtherVersion
from vortex.core.model import Position, ShardInfo, Start


def footer(**changes: object) -> Footer:
    """An empty footer, except for `changes`."""
    values: dict[str, object] = {
        "start": Position(Start.TRIM_HORIZON),
        "periods": {0: Counts(filtered=2)},
        "arrived": (4, 5),
        "children": (ShardInfo("c", ("s",), 0, 2**128 - 1),),
    }
    at = Position(Start.AFTER_SEQUENCE_NUMBER, "17")
    empty = empty_footer("s", 3, "ab", owner="me", created=6, position=at, watermark=5, closed_before=4)
    return msgspec.structs.replace(empty, **{**values, **changes})


def sealed(lines: dict[tuple[str, int], list[bytes]], ids: bytes = b"") -> Sealed:
    """A segment of these lines by folder and period."""
    return seal(footer(), [cell(*each) for each in lines], LineTable.of(lines.values()), ids)


def cell(path: str, period: int) -> Cell:
    """A folder and a period."""
    return Cell(Folder(path, folder_hash(path)), period)


LINES = st.dictionaries(
    st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.integers(-(2**40), 2**40)),
    st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b), min_size=1, max_size=5),
    max_size=8,
)


@given(LINES)
def test_parse_footer_returns_every_member_and_id_and_field_that_was_sealed(
    lines: dict[tuple[str, int], list[bytes]],
) -> None:
    ids = sum(map(len, lines.values()))
    made = sealed(lines, b"i" * 16 * ids)
    back, digest = parse_footer(made.body, len(made.body), "x.seg")
    assert digest == made.digest
    assert back == made.footer
    offset, length = back.ids_range
    assert check_ids(back, made.body[offset : offset + length], "x") == b"i" * 16 * ids
    found = {}
    begins, wholes = member_offsets(back.member_rows)
    for row, begin, whole in zip(back.member_rows, begins.tolist(), wholes.tolist(), strict=True):
        folder, period, at, size, rows, raw, blob_digest = row.tolist()
        blob = check_blob(made.body[at : at + size], blob_digest, "x")
        text = decompress(blob, "x")
        assert text == (gzip if raw == whole else lz4.frame).decompress(blob)
        assert len(text) == whole
        text = text[begin : begin + raw]
        assert len(text) == raw
        assert text.count(b"\n") == rows
        found[back.folders[folder].path, period] = text.split(b"\n")[:-1]
    assert found == lines


@settings(max_examples=300)
@given(st.data())
def test_a_segment_is_refused_when_any_byte_is_changed(data: st.DataObject) -> None:
    """By the digest of the footer, a member or the ids, when that part is read."""
    made = sealed({("a", 0): [b"one", b"two"], ("b", 5): [b"three"]}, b"k" * 32)
    body = bytearray(made.body)
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises((CorruptSegment, OtherVersion)):
        back, _ = parse_footer(bytes(body), len(body), "x.seg")
        for row in back.member_rows:
            check_blob(bytes(body[row["offset"] : row["offset"] + row["length"]]), row["digest"].tobytes(), "x")
        offset, length = back.ids_range
        check_ids(back, bytes(body[offset : offset + length]), "x")


@given(st.data())
def test_parse_footer_refuses_a_truncated_segment(data: st.DataObject) -> None:
    """Cut at either end."""
    made = sealed({("a", 0): [b"one"]}, b"k" * 16)
    begin = data.draw(st.integers(0, len(made.body)))
    end = data.draw(st.integers(0, len(made.body)).filter(lambda e: (begin, e) != (0, len(made.body))))
    part = made.body[begin:end]
    with pytest.raises((CorruptSegment, OtherVersion)):
        parse_footer(part, len(part), "x.seg")


def test_parse_footer_reports_a_newer_version_as_another_version() -> None:
    """A worker then gives the shard up, and does not report it as corrupt."""
    made = sealed({})
    at = len(made.body) - 12  # after the digest and the length; before the magic
    newer = made.body[:at] + struct.pack("<I", VERSION + 1) + made.body[at + 4 :]
    with pytest.raises(OtherVersion, match=f"version {VERSION + 1}"):
        parse_footer(newer, len(newer), "x.seg")


def test_members_are_ordered_by_period_and_folder_hash() -> None:
    """So a period, and within it a range of hashes, is one range of bytes."""
    made = sealed({(f"folder{n}", p): [b"x"] for n in range(20) for p in (5, 1)})
    rows = made.footer.member_rows
    order = [
        (p, made.footer.folders[f].hash) for f, p in zip(rows["folder"].tolist(), rows["period"].tolist(), strict=True)
    ]
    assert order == sorted(order)
    assert rows["offset"].tolist() == sorted(rows["offset"].tolist())


def test_small_members_share_a_blob_and_large_members_have_their_own() -> None:
    """A blob has one period. It ends when it is full, or when a large member follows."""
    small, large = [b"s" * 999] * 10, [b"l" * 999] * (ALONE_BYTES // 1000 + 1)
    made = sealed({(f"folder{n}", p): list(small) for n in range(20) for p in (5, 1)} | {("large", 5): large})
    rows = made.footer.member_rows
    begins, wholes = member_offsets(rows)
    for period in (1, 5):
        blobs = {
            at: wholes[rows["offset"] == at][0].item() for at in set(rows["offset"][rows["period"] == period].tolist())
        }
        sizes = Counter(blobs.values())
        assert sum(blobs.values()) == 20 * 10_000 + (period == 5) * 1000 * len(large)
        assert max(sizes) <= SHARED_BYTES + 10_000
        assert sizes[70_000] >= 1, "seven members of ten thousand bytes fill a blob"
    alone = rows["raw"] >= ALONE_BYTES
    assert alone.sum() == 1
    assert (begins[alone] == 0).all()
    assert (wholes[alone] == rows["raw"][alone]).all()


def test_a_member_alone_in_its_blob_is_gzip() -> None:
    """An object can take its bytes over unchanged, even with empty members in the same blob."""
    made = sealed({("a", 0): [b"one"], ("b", 0): []})
    back, _ = parse_footer(made.body, len(made.body), "x.seg")
    assert gzip.decompress(made.body[: back.data_bytes]) == b"one\n"


@given(st.integers(0, 2**32))
def test_decompress_raises_corrupt_segment_when_a_blob_is_truncated_or_damaged(seed: int) -> None:
    """For gzip and LZ4. The digest, not this check, catches every flipped bit."""
    rng = Random(seed)
    text = b"".join(b"%d\n" % rng.randrange(1000) for _ in range(500))
    for blob in (compress(text), lz4_frame(text)):
        with pytest.raises(CorruptSegment, match="x"):
            decompress(blob[: rng.randrange(1, len(blob))], "x")
        broken = bytearray(blob)
        broken[rng.randrange(len(blob))] ^= 1 << rng.randrange(8)
        with suppress(CorruptSegment):
            decompress(bytes(broken), "x")


def test_parse_footer_names_the_remedy_when_a_segment_is_of_an_older_version() -> None:
    """Its ids are in another order, and it does not say when its rows arrived."""
    old = footer()
    old.version = OLDEST - 1
    made = seal(old, [cell("a", 0)], LineTable.of([[b"line"]]))
    with pytest.raises(OtherVersion, match=r"version 5; this program reads 6.*Drain.*a new prefix"):
        parse_footer(made.body, len(made.body), "x.seg")


def test_ids_are_in_the_order_of_the_lines_of_their_members() -> None:
    """Whatever the order of acceptance. Rejections have no ids."""
    cells = [cell(path, period) for path, period in (("b", 5), ("a", 5), ("a", 1))]
    rejected = Cell(Folder("_rejected", folder_hash("_rejected"), rejected=True), 1)
    groups = [2, 0, 1, 0, 2, 1, 0]
    pages = [PageLines.of([b"%d" % number], group) for number, group in enumerate(groups)]
    lines = LineTable([*pages, PageLines.of([b"no event"], 3)])
    ids = b"".join(b"%16d" % number for number in range(len(groups)))
    made = seal(footer(), [*cells, rejected], lines, ids)
    back = made.footer
    offset, length = back.ids_range
    numbers = [int(made.body[at : at + 16]) for at in range(offset, offset + length, 16)]
    begins, _ = member_offsets(back.member_rows)
    rows = zip(
        back.member_rows.tolist(), begins.tolist(), back.first_rows.tolist(), back.rejections.tolist(), strict=True
    )
    for (_, _, at, size, count, raw, _), begin, first, rejection in rows:
        text = decompress(made.body[at : at + size], "x")[begin : begin + raw]
        if not rejection:
            assert [int(line) for line in text.split()] == numbers[first : first + count]
    assert sorted(numbers) == list(range(len(groups)))
    assert back.rejections.sum() == 1
