"""The objects and closed hours of a plan, as functions of the logs."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from vortex.core.log.lines import LineTable
from vortex.core.log.rules import SegmentHeader, StreamState
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Counts, Folder, empty_footer, folder_hash, member_offsets
from vortex.core.model import HOUR_MS, Position, Start
from vortex.core.publish.contents import Done, Outcome, PublishedObject, closed_hours, done, hour_documents
from vortex.core.publish.members import objects
from vortex.core.publish.plan import LogView, Plan, PlanShard, Rules, propose
from vortex.core.publish.ranges import range_done

PERIOD = 300_000


def log(shard: str, segments: int, rng: Random) -> LogView:
    """A log whose segments hold random members, each within its bounds."""
    headers: list[SegmentHeader] = []
    bound = 0
    for n in range(segments):
        cells, lines = [], []
        for path in sorted({f"folder{rng.randrange(30)}" for _ in range(rng.randrange(12))}):
            folder = Folder(path, folder_hash(path))
            cells.append(Cell(folder, bound + PERIOD * rng.randrange(3)))
            lines.append([b"x" * rng.randrange(1, 50)])
        bound += PERIOD * rng.randrange(2)
        prev, at = headers[-1].digest if headers else "", Position(Start.TRIM_HORIZON)
        footer = empty_footer(shard, n, prev, owner="me", created=0, position=at, watermark=bound, closed_before=bound)
        footer.periods = {cell.period: Counts() for cell in cells}
        sealed = seal(footer, cells, LineTable.of(lines))
        headers.append(SegmentHeader(shard, n, sealed.digest, sealed.footer))
    return LogView(headers)


@given(st.integers(0, 2**32), st.sampled_from([1, 40, 10_000]))
def test_plans_publish_every_member_once_for_any_number_of_shares(seed: int, target: int) -> None:
    """Shares of the hash space divide the work, and do not change the outcome."""
    rng = Random(seed)
    views = {name: log(name, rng.randint(1, 8), rng) for name in ("a", "b")}
    plan = Plan(k=-1, after=0, upto=0, shards={name: PlanShard() for name in views}, target=target)
    published: list[tuple[str, int, int, int, int]] = []
    while (following := propose(plan, views, Rules(target), limit=200)) is not None:
        plan = following
        whole = objects(plan, views, {})
        cut = msgspec.structs.replace(plan, ranges=8)
        parts = [spec for share in range(8) for spec in objects(cut, views, {}, share)]
        assert sorted(parts, key=lambda spec: spec.key) == sorted(whole, key=lambda spec: spec.key)
        for spec in whole:
            assert plan.after <= spec.period < plan.upto
            published += [(piece.shard, piece.n, piece.offset, piece.begin, piece.raw) for piece in spec.pieces]
    members = [
        (head.shard, head.n, offset, begin, raw)
        for view in views.values()
        for head in view.headers
        if head.footer
        for (_, period, offset, _, _, raw, _), begin in zip(
            head.footer.member_rows.tolist(), member_offsets(head.footer.member_rows)[0].tolist(), strict=True
        )
        if period < plan.upto
    ]
    assert sorted(published) == sorted(members)
    bounds = [view.headers[-1].footer.closed_before for view in views.values() if view.headers[-1].footer]
    assert plan.upto == min(bounds)


def test_closed_hours_before_the_first_start_are_only_those_with_events() -> None:
    """From the hour of the first start on, every hour closes."""
    first = 500_000 * HOUR_MS
    old = 10 * HOUR_MS
    assert closed_hours(0, first, first, [old, old + PERIOD]) == [old]
    assert closed_hours(first, first + 3 * HOUR_MS, first, []) == [first + n * HOUR_MS for n in range(3)]
    assert closed_hours(first + PERIOD, first + 2 * PERIOD, first, [first + PERIOD]) == []
    assert closed_hours(first + PERIOD, first + HOUR_MS, first, []) == [first]


def row(folder: str, key: str, at: int | None = None, **fields: Any) -> PublishedObject:
    """A row of done.json, with 10 bytes and 2 rows."""
    known = {"customer": folder, "event_type": "t", "period": 0, "rejected": False, "digest": ""}
    more = {} if at is None else {"at": at}
    return PublishedObject(folder=folder, key=key, rows=2, bytes=10, raw=50, **{**known, **more, **fields})


def documents(*rows: PublishedObject) -> tuple[Done, dict[str, Any], dict[str, Any]]:
    """The done document of a plan of the hour 0, the manifests of its partitions, and the hour's."""
    plan = Plan(k=0, after=0, upto=HOUR_MS, shards={}, target=1)
    document = done(plan, rows, {0: Outcome(accepted=2 * len(rows), published=2 * len(rows))})
    state = StreamState(stream="s", arn="", created=0, roots=(), closed_before=0, first_hour=0, seed=0)
    partitions, (_, body) = hour_documents(state, 0, [document], "s3://b/p")
    return document, {key: json.loads(one) for key, one in partitions}, json.loads(body)


def test_a_partition_in_a_bundle_has_its_files_in_the_hours_manifest_and_no_manifest_of_its_own() -> None:
    """Also where other lines of it are in an object: a COPY of that alone would silently leave out lines."""
    document, manifests, hour = documents(
        row("a", "_bundles/0000", 10, period=0),
        row("b", "_bundles/0000", 0, period=0),
        row("a", "a/0005", period=PERIOD),
        row("c", "c/0000"),
    )
    assert [(one.key, one.at, one.folder) for one in document.objects[:2]] == [
        ("_bundles/0000", 0, "b"),
        ("_bundles/0000", 10, "a"),
    ]
    assert (document.version, document.totals["objects"], document.totals["rows"]) == (3, 3, 8)
    assert list(manifests) == ["_manifests/c/manifest.json"]
    assert (hour["version"], hour["totals"]["objects"], hour["totals"]["bytes"]) == (3, 3, 40)
    sums = {"rows": 4, "bytes": 20, "raw_bytes": 100}
    assert hour["partitions"] == [
        {
            "customer": "a",
            "event_type": "t",
            "folder": "a",
            "objects": 2,
            **sums,
            "files": [
                {"key": "_bundles/0000", "offset": 10, "bytes": 10, "rows": 2},
                {"key": "a/0005", "offset": 0, "bytes": 10, "rows": 2},
            ],
        },
        {
            "customer": "b",
            "event_type": "t",
            "folder": "b",
            "objects": 1,
            **{name: number // 2 for name, number in sums.items()},
            "files": [{"key": "_bundles/0000", "offset": 0, "bytes": 10, "rows": 2}],
        },
        {
            "customer": "c",
            "event_type": "t",
            "folder": "c",
            "manifest": "_manifests/c/manifest.json",
            "objects": 1,
            **{name: number // 2 for name, number in sums.items()},
        },
    ]


def test_documents_without_bundles_have_the_version_and_fields_of_before() -> None:
    """So older programs and loaders read them."""
    document, manifests, hour = documents(row("a", "a/0000"), row("b", "b/0000"))
    body = msgspec.json.decode(msgspec.json.encode(document))
    assert (body["version"], hour["version"], len(manifests)) == (2, 1, 2)
    assert all("at" not in one for one in body["objects"])
    assert all("files" not in one for one in hour["partitions"])
    part = range_done(0, 0, document.objects)
    assert part.version == 1
    assert range_done(0, 0, [row("a", "_bundles/0000", 0)]).version == 2
    views = {"s": log("s", 4, Random(1))}
    last = Plan(k=-1, after=0, upto=0, shards={"s": PlanShard()}, target=1)
    plain, bundling = (propose(last, views, Rules(1, bundle=size)) for size in (0, 10))
    assert plain is not None and bundling is not None
    assert (plain.version, bundling.version) == (3, 6)
    assert b"bundle" not in msgspec.json.encode(plain)
    bundling.bundle, bundling.version = msgspec.UNSET, 3
    assert msgspec.json.encode(bundling) == msgspec.json.encode(plain)
