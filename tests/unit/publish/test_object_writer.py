"""The content of an object: the lines of its pieces, whether their blobs are shared or not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation import vtime
from tests.loops import World
from tests.published_store import published
from vortex.core.compression import Compression, zstd
from vortex.core.log.lines import LineTable
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.sealing import ALONE_BYTES, seal
from vortex.core.log.segment import Cell, Folder, Sealed, compression_of, empty_footer, folder_hash
from vortex.core.log.streaming import members_in
from vortex.core.log.trailer import CorruptSegment
from vortex.core.model import Position, Start
from vortex.core.publish.members import objects
from vortex.core.publish.plan import SMALL_MEMBER, LogView, Plan, PlanShard
from vortex.publish import object_writer as module
from vortex.publish.object_writer import _bodies, _same_lines
from vortex.verify.store import verify_store

GZIP = Compression.GZIP
Expected = dict[tuple[str, int], list[bytes]]
_PERIODS = (0, 300_000, 600_000)


def segment(n: int, lines: Expected, large: Compression | None = GZIP) -> Sealed:
    """Segment `n` of shard "s", with large members in this compression; None is LZ4."""
    at = Position(Start.TRIM_HORIZON)
    footer = empty_footer("s", n, owner="me", created=0, position=at, watermark=0, closed_before=10**6)
    cells = [Cell(Folder(path, folder_hash(path)), period) for path, period in lines]
    return seal(footer, cells, LineTable.of(lines.values()), large=large)


def some_lines(rng: Random) -> Expected:
    """Members of a few bytes, and some large enough to have their own blob."""
    sizes = (1, 20, 900, ALONE_BYTES)
    return {
        (f"folder{folder}", period): [rng.randbytes(3).hex().encode() * (rng.choice(sizes) // 6) for _ in range(3)]
        for folder in range(12)
        for period in _PERIODS
        if rng.random() < 0.7
    }


def laid_out(sealed: list[Sealed]) -> tuple[Plan, dict[str, LogView], dict[tuple[str, int, int], memoryview]]:
    """A plan of all segments, the planner's view of the logs, and the blobs as read from the store."""
    headers = [SegmentHeader("s", n, one.digest, one.footer) for n, one in enumerate(sealed)]
    data = {
        ("s", n, offset): memoryview(one.body)[offset : offset + length]
        for n, one in enumerate(sealed)
        for _, _, offset, length, *_ in one.footer.member_rows.tolist()
    }
    plan = Plan(k=0, after=0, upto=10**6, shards={"s": PlanShard(first=0, to=len(sealed) - 1)}, target=10**9)
    return plan, {"s": LogView(headers)}, data


@given(st.integers(0, 2**32), st.sampled_from([0, 500, SMALL_MEMBER]), st.sampled_from([1, 4]))
def test_objects_hold_the_lines_of_their_pieces_in_order(seed: int, small: int, shares: int) -> None:
    """For blobs that are shared or not, dropped rows, and any share of the folders."""
    rng = Random(seed)
    lines = [some_lines(rng) for _ in range(3)]
    kinds = (GZIP, None, Compression.ZSTD)
    sealed = [segment(n, some, kinds[n]) for n, some in enumerate(lines)]
    plan, views, data = laid_out(sealed)
    dropped = {
        ("s", n): np.array(sorted(rng.sample(range(rows), rng.choice((1, rows // 2, rows)))))
        for n, one in enumerate(sealed)
        if (rows := int(one.footer.member_rows["rows"].sum())) and rng.random() < 0.7
    }
    found: Expected = {}
    for share in range(shares):
        specs = objects(msgspec.structs.replace(plan, ranges=shares), views, dropped, share)
        for spec, (body, raw) in zip(specs, _bodies(specs, data, small, GZIP), strict=True):
            text = gzip.decompress(body)
            assert (len(text), text.count(b"\n")) == (raw, spec.rows)
            found[spec.folder.path, spec.period] = text.split(b"\n")[:-1]
    expected: Expected = {}
    for n, some in enumerate(lines):
        footer, out = sealed[n].footer, set(dropped.get(("s", n), np.empty(0)).tolist())
        for (folder, period, *_), first in zip(footer.member_rows.tolist(), footer.first_rows.tolist(), strict=True):
            place = (footer.folders[folder].path, period)
            kept = [line for row, line in enumerate(some[place], first) if row not in out]
            if kept:
                expected.setdefault(place, []).extend(kept)
    assert found == expected


def test_a_shared_blob_is_decompressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many objects use it: they come in the order of the blobs."""
    lines: Expected = {(f"folder{n}", period): [b"x" * 99] * 50 for n in range(200) for period in _PERIODS}
    plan, views, data = laid_out([segment(n, lines) for n in range(2)])
    decompressed: list[bytes] = []

    def decompress(blob: bytes, name: str) -> bytes:
        decompressed.append(blob)
        return really(blob, name)

    really = module.__dict__["decompress"]
    monkeypatch.setattr(module, "decompress", decompress)
    specs = objects(plan, views, {})
    assert len(_bodies(specs, data, SMALL_MEMBER, GZIP)) == 600
    assert len(decompressed) == len(data) < 600 / 5


def test_a_member_alone_in_its_blob_becomes_an_object_without_recompression() -> None:
    """A large one, or a small one alone in its period."""
    lines: Expected = {("large", 0): [b"l" * ALONE_BYTES], ("small", 300_000): [b"s"]}
    sealed = segment(0, lines)
    plan, views, data = laid_out([sealed])
    made = _bodies(objects(plan, views, {}), data, SMALL_MEMBER, GZIP)
    assert [body for body, _ in made] == list(map(bytes, data.values()))


@pytest.mark.parametrize("wanted", Compression)
def test_an_object_has_the_plans_compression_whatever_that_of_its_segments(wanted: Compression) -> None:
    """Only the large member that has it already is copied."""
    lines: Expected = {("large", 0): [b"l" * ALONE_BYTES]}
    plan, views, data = laid_out([segment(n, lines, large) for n, large in enumerate((None, *Compression))])
    ((body, raw),) = _bodies(objects(plan, views, {}), data, SMALL_MEMBER, wanted)
    decompress = gzip.decompress if wanted is GZIP else zstd.decompress
    assert decompress(body) == 3 * (b"l" * ALONE_BYTES + b"\n")
    assert raw == 3 * (ALONE_BYTES + 1)
    copied = [bytes(blob) for blob in data.values() if compression_of(blob) is wanted]
    assert len(copied) == 1 and copied[0] in body


def test_a_damaged_blob_raises_corrupt_segment_and_gives_no_object() -> None:
    plan, views, data = laid_out([segment(0, {("a", 0): [b"one"], ("b", 0): [b"two"]})])
    (place,) = data
    broken = bytearray(data[place])
    broken[-1] ^= 1
    with pytest.raises(CorruptSegment, match="s segment 0 at 0"):
        _bodies(objects(plan, views, {}), {place: memoryview(broken)}, SMALL_MEMBER, GZIP)


def _rewritten(body: bytes, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The members of a bundle in another compression."""
    return b"".join(gzip.compress(text, 1, mtime=7) for text in change([*map(gzip.decompress, members_in(body, "x"))]))


def _largest(world: World, ending: str = ".json.gz") -> str:
    """The key of the largest object."""
    keys = [key for key in world.store.objects if key.endswith(ending)]
    return max(keys, key=lambda key: len(world.store.objects[key]))


@pytest.mark.parametrize("bundle", [0, 1 << 20])
def test_an_object_that_exists_in_other_bytes_is_described_as_it_is(bundle: int) -> None:
    """Another release of a compressor may have made them: the lines are the same, but not where members begin."""
    before = vtime.run(published(bundle=bundle))
    key = _largest(before)
    body = _rewritten(before.store.objects[key], lambda texts: texts)
    assert body != before.store.objects[key]
    world = vtime.run(published(bundle=bundle, there={key: body}))
    assert world.store.objects[key] == body
    rows = [row for row in _rows(world) if row["key"] == key]
    assert [row["rows"] for row in rows] == [row["rows"] for row in _rows(before) if row["key"] == key]
    assert sum(row["bytes"] for row in rows) == len(body)
    assert not vtime.run(verify_store(world.store)).faults


@pytest.mark.parametrize(
    "change",
    [
        lambda texts: [texts[1], texts[0], *texts[2:]],
        lambda texts: texts[1:],
        lambda texts: [*texts, texts[0]],
        lambda texts: [texts[0] + texts[1], *texts[2:]],
    ],
)
def test_a_bundle_with_other_members_is_not_the_same(change: Callable[[list[bytes]], list[bytes]]) -> None:
    """The ranges of its partitions would be those of others, so publishing stops."""
    texts = [b"%d\n" % n * (n + 1) for n in range(5)]
    ours = [gzip.compress(text) for text in texts]
    other = _rewritten(b"".join(ours), lambda same: same)
    assert _same_lines(other, ours, "key") == members_in(other, "key") != ours
    assert _same_lines(_rewritten(b"".join(ours), change), ours, "key") is None


def _rows(world: World) -> list[dict[str, Any]]:
    """All rows of done documents."""
    names = sorted(key for key in world.store.objects if key.endswith("/done.json"))
    return [row for name in names for row in json.loads(world.store.objects[name])["objects"]]
