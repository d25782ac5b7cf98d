"""Limits on the cost of one record: beyond them the whole record is one rejection, and its neighbours are
unaffected.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from random import Random

import pytest

from simulation import vtime
from simulation.logchecks import Segment, parsed
from tests.kpl import aggregate
from tests.loops import World
from tests.native import without_native
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.fields import Fields
from vortex.core.decode.limits import Limits
from vortex.core.decode.reasons import Reason
from vortex.core.ingest.policy import Policy
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.layout import Layout
from vortex.core.model import Page, Position, Record, ShardInfo, Start
from vortex.core.periods import Rules
from vortex.verify.store import verify_store

NOW = 1_700_000_000_000
SMALL = Limits(record=10_000, page=5_000, events=20, rejections=3_000)
GOOD = b'{"c":"a","t":"b","id":"%d"}'


def ingest(limits: Limits = SMALL) -> ShardIngest:
    """A shard that has not been read."""
    policy = Policy(
        Decoder(Fields(("c",), ("t",), ("id",), ("at",))),
        Layout("c={customer}/t={event_type}/d={date}/h={hour}", "_rejected/d={date}/h={hour}"),
        Rules(300_000, 60_000),
        3_600_000,
        seed=7,
        limits=limits,
    )
    start = Position(Start.TRIM_HORIZON)
    return ShardIngest(ShardInfo("s"), policy, n=-1, position=start, watermark=0, closed_before=0)


def page(datas: list[bytes]) -> Page:
    """A page of these records."""
    return Page([Record(str(1 + number), NOW / 1000, data) for number, data in enumerate(datas)], "i", 0, NOW)


def segment_of(datas: list[bytes], limits: Limits = SMALL) -> Segment:
    """The segment made of these records."""
    shard = ingest(limits)
    shard.take(page(datas))
    return parsed("x", shard.cut("me", 0).seal("").body)


def rejections(segment: Segment) -> list[dict[str, object]]:
    """The lines of a segment's rejections."""
    return [
        json.loads(line)
        for (folder, _), lines in segment.lines.items()
        if folder.startswith("_rejected/") and not folder.endswith("/records")
        for line in lines
    ]


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def incompressible(size: int) -> bytes:
    """An event that decompresses to about its own size."""
    return GOOD[:-1] % 50 + b',"x":"' + base64.b64encode(bytes(n * n * 7 % 251 for n in range(size * 3 // 4))) + b'"}'


BEYOND = {
    "decompresses too far": (gzipped(GOOD % 1 + b" " * 20_000), Reason.TOO_LARGE),
    "aggregates what decompresses too far": (
        aggregate([gzipped(GOOD % n + b" " * 6_000) for n in range(2)]),
        Reason.TOO_LARGE,
    ),
    "lines": (b"\n".join(GOOD % n for n in range(21)), Reason.TOO_MANY_EVENTS),
    "packed lines": (gzipped(b"\n".join(GOOD % n for n in range(21))), Reason.TOO_MANY_EVENTS),
    "objects one after another": (b"".join(GOOD % n for n in range(21)), Reason.TOO_MANY_EVENTS),
    "an array": (b"[" + b",".join([GOOD % n for n in range(21)]) + b"]", Reason.TOO_MANY_EVENTS),
    "an array of numbers": (b"[" + b"1," * 200 + b"1]", Reason.TOO_MANY_EVENTS),
    "an aggregate": (aggregate([GOOD % n for n in range(21)]), Reason.TOO_MANY_SUB_RECORDS),
    "an aggregate of lines": (
        aggregate([GOOD % n + b"\n" + GOOD % (99 - n) for n in range(11)]),
        Reason.TOO_MANY_EVENTS,
    ),
    "an aggregate of nothing": (aggregate([b""] * 21), Reason.TOO_MANY_SUB_RECORDS),
    "rejections": (b"\n".join([GOOD % 1, *[b'{"a":"' + b"\\\\" * 100 + b'"}'] * 18]), Reason.REJECTIONS_TOO_LARGE),
    "control characters": (gzipped(b"\x01" * 900), Reason.NOT_JSON),
}  # fmt: skip


@pytest.mark.parametrize("name", BEYOND)
@pytest.mark.parametrize("native", [True, False])
def test_a_record_beyond_a_limit_becomes_one_rejection_with_its_bytes(name: str, native: bool) -> None:
    """None of its events is accepted; the records around it are."""
    data, reason = BEYOND[name]
    around = [GOOD % 100, data, GOOD % 101]
    if native:
        segment = segment_of(around)
    else:
        with without_native():
            segment = segment_of(around)
    (line,) = rejections(segment)
    assert (line["reason"], line["sequence"], line["sub"]) == (reason, "2", 0)
    assert line.get("whole", True) is True
    kept = line["data"].encode() if "data" in line else base64.b64decode(line["data_base64"])  # type: ignore
    assert kept == data
    counts = segment.footer.counts
    assert (counts.records, counts.events, counts.accepted, counts.rejected) == (3, 3, 2, 1)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("size", [170, 1_000])
def test_a_large_record_keeps_its_events_when_the_lines_of_its_rejections_are_within_the_limit(
    size: int, native: bool
) -> None:
    """4,000 lines of 430 bytes are, those of 1,260 bytes are not, whatever an upper bound of them is."""
    broken = (GOOD[:-1] % 0 + b"," + b"x" * size + b"}\n") * 4_000
    whole = gzipped(broken + b"\n".join(GOOD % n for n in range(3_000)))
    if native:
        segment = segment_of([whole], Limits())
    else:
        with without_native():
            segment = segment_of([whole], Limits())
    lines = rejections(segment)
    total = sum(len(json.dumps(line)) for line in lines)
    if size == 170:
        assert total < 4_000_000 and {line["reason"] for line in lines} == {Reason.NOT_JSON}
        assert (len(lines), segment.footer.counts.accepted) == (4_000, 3_000)
    else:
        assert [line["reason"] for line in lines] == [Reason.REJECTIONS_TOO_LARGE]
        assert segment.footer.counts.accepted == 0


@pytest.mark.parametrize("packed", [bytes, gzipped])
def test_a_large_record_keeps_its_events_when_other_lines_are_binary(packed: Callable[[bytes], bytes]) -> None:
    """Binary data take a third more in a rejection, as Base64, not six times their size."""
    rng = Random(1)
    binary = [b"\xff" + rng.randbytes(30_000).translate(None, b'\r\n"\\{}[]') for _ in range(100)]
    whole = packed(b"\n".join(part for n, line in enumerate(binary) for part in (line, GOOD % n)))
    segment = segment_of([whole], Limits())
    assert [line["reason"] for line in rejections(segment)] == [Reason.NOT_UTF8] * 100
    assert segment.footer.counts.accepted == 100


def test_a_record_of_exactly_the_event_limit_is_accepted() -> None:
    for data in (
        b"\n".join(GOOD % n for n in range(20)),
        gzipped(b"\n".join(GOOD % n for n in range(20))),
        b"[" + b",".join([GOOD % n for n in range(20)]) + b"]",
        aggregate([GOOD % n for n in range(20)]),
    ):
        assert segment_of([data]).footer.counts.accepted == 20


def test_a_record_is_rejected_when_the_decompression_budget_of_its_page_is_used_up() -> None:
    """A record that decompresses to about its own size does not depend on its neighbours."""
    limits = Limits(record=100_000, page=80_000, events=20)
    far = [gzipped(GOOD % n + b" " * 90_000) for n in range(3)]
    near = gzipped(incompressible(20_000))
    segment = segment_of([*far, near, GOOD % 5], limits)
    assert [line["reason"] for line in rejections(segment)] == ["page_too_large"] * 2
    assert segment.footer.counts.accepted == 3


def test_a_rejection_stores_its_data_in_a_separate_object_when_the_line_is_too_long() -> None:
    """That object has a folder of its own and counts as no event; the rejection line names the folder."""
    data = b'{"c":' + bytes(range(128, 256)) * 30_000
    segment = segment_of([data, GOOD % 1], Limits())
    (line,) = rejections(segment)
    assert len(json.dumps(line)) < 500
    ((folder, _),) = [place for place in segment.lines if place[0] == line["data_beside"]]
    (beside,) = (json.loads(text) for text in segment.lines[folder, segment.footer.closed_before])
    assert base64.b64decode(beside["data_base64"]) == data
    assert (beside["shard"], beside["sequence"], beside["sub"]) == (line["shard"], line["sequence"], line["sub"])
    assert folder.startswith("_rejected/") and folder.endswith("/records")
    counts = segment.footer.counts
    assert (counts.events, counts.accepted, counts.rejected) == (2, 1, 1)


@pytest.mark.parametrize("native", [True, False])
def test_slices_end_at_record_boundaries_and_give_the_same_segment_as_the_whole_page(native: bool) -> None:
    """At each `whole` step the sums hold, and the position is that of the last record read."""
    datas = [
        *(GOOD % n for n in range(3_000)),
        gzipped(b"\n".join(GOOD[:-1] % n + b',"x":"' + b"y" * 900 + b'"}' for n in range(4_000))),
        *(b"{broken %d" % n if n % 3 else gzipped(GOOD % n) for n in range(3_000)),
        b"{}" * 5_000,
    ]

    def run() -> tuple[str, list[int]]:
        shard, ends = ingest(Limits()), []
        for step in shard.slices(page(datas)):
            if step is not None:
                pending = shard.pending
                assert pending.events == pending.accepted + pending.filtered + pending.rejected
                assert sum(step.reasons.values()) == step.counts.rejected
                if step.whole:
                    assert int(shard.position.value) == pending.records
                    ends.append(pending.records)
        return shard.cut("me", 0).seal("").digest, ends

    at_once = ingest(Limits())
    at_once.take(page(datas))
    wanted = at_once.cut("me", 0).seal("").digest
    if native:
        digest, ends = run()
    else:
        with without_native():
            digest, ends = run()
    assert digest == wanted
    assert ends[-1] == len(datas) and ends == sorted(set(ends)) and len(ends) > 3


def test_separate_rejection_data_is_published_once_and_verified() -> None:
    """Manifests list its folder separately, verify counts it as rejection data, and crashes change nothing."""
    data = b'{"c":' + bytes(range(128, 256)) * 30_000

    async def scenario() -> None:
        world = World(shards=1)
        world.put("one")
        world.stream.put("large", data)
        for _ in range(3):
            worker = await world.begin()
            await world.clock.sleep(31)
            await worker.kill()
        worker = await world.begin()
        await world.clock.sleep(2 * 3600)
        await worker.kill()
        report = await verify_store(world.store)
        assert report.faults == []
        assert (report.checked["rejections"], report.checked["records beside rejections"]) == (1, 1)
        keys = [key for key in world.store.objects if "/records/" in key and not key.startswith("_")]
        assert keys == []
        (key,) = [key for key in world.store.objects if key.startswith("_rejected/") and "/records/" in key]
        (line,) = gzip.decompress(world.store.objects[key]).splitlines()
        assert base64.b64decode(json.loads(line)["data_base64"]) == data
        manifests = [json.loads(body) for key, body in world.store.objects.items() if key.startswith("_hours/")]
        (manifest,) = [one for one in manifests if "beside" in one]
        assert [row["folder"] for row in manifest["beside"]] == [key.rpartition("/")[0]]
        assert [row["folder"] for row in manifest["rejected"]] == [key.partition("/records/")[0]]
        assert manifest["counts"]["rejected"] == 1

    vtime.run(scenario())


def test_a_broken_record_uses_the_decompression_budget_of_its_page() -> None:
    broken = gzipped(GOOD % 1 + b" " * 9_000)[:-1]
    found = rejections(segment_of([broken, gzipped(GOOD % 2 + b" " * 20_000 + b"x" * 8_000)]))
    assert [line["reason"] for line in found] == [Reason.BAD_COMPRESSION, Reason.TOO_LARGE]
    share = [gzipped(GOOD % n + b" " * 9_000)[:-1] for n in range(3)]
    (line,) = rejections(segment_of([aggregate(share)], Limits(record=20_000)))
    assert line["reason"] == Reason.TOO_LARGE


def test_a_record_is_rejected_when_its_user_records_have_too_many_members_in_total() -> None:
    empty = gzipped(b"")
    found = rejections(segment_of([aggregate([empty * 20_000, GOOD % 1, empty * 20_000, gzipped(GOOD % 2)])], Limits()))
    assert [line["reason"] for line in found] == [Reason.EMPTY, Reason.TOO_MANY_MEMBERS]
    many = [gzipped(GOOD % n) for n in range(40_000)]
    assert not rejections(segment_of([aggregate(many)], Limits()))
