"""The state of one shard: routing by the rule, counts that add up, and fast paths that change nothing."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kpl import aggregate as kpl_aggregate
from tests.native import without_native
from vortex.core.decode import events
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.fields import Fields
from vortex.core.fleet.lease import WHOLE
from vortex.core.ingest.draft import Draft
from vortex.core.ingest.policy import Policy
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.layout import Layout
from vortex.core.log.lines import LineTable
from vortex.core.log.segment import decompress, member_offsets
from vortex.core.model import Page, Position, Record, ShardInfo, Start
from vortex.core.periods import Rules, floor_period

MINUTE = 60_000
NOW = 1_700_000_000_000
POLICY = Policy(
    Decoder(Fields(("c",), ("t",), ("id",), ("at",))),
    Layout("c={customer}/t={event_type}/d={date}/h={hour}", "_rejected/d={date}/h={hour}"),
    Rules(5 * MINUTE, 10 * MINUTE),
    60 * MINUTE,
    seed=7,
)


def ingest(window_ms: int = 60 * MINUTE) -> ShardIngest:
    """A shard that has not been read."""
    return ShardIngest(
        ShardInfo("s"),
        replace(POLICY, window_ms=window_ms),
        n=-1,
        position=Position(Start.TRIM_HORIZON),
        watermark=0,
        closed_before=0,
    )


def pages(seed: int, number: int, spread_ms: int) -> list[Page]:
    """Pages with arrivals that advance (and sometimes go back), event times around them, duplicates and
    broken records.
    """
    rng = Random(seed)
    made, sequence, arrival = [], 100, NOW
    for _ in range(number):
        records = []
        for _ in range(rng.randint(0, 30)):
            sequence += 1
            arrival += rng.randint(-2000, 20_000)
            event: dict[str, object] = {"c": rng.choice("ab"), "t": rng.choice("xy"), "id": rng.randint(0, 60)}
            if rng.random() < 0.9:
                event["at"] = (arrival + rng.randint(-spread_ms, spread_ms // 4)) / 1000
            data = json.dumps(event).encode() if rng.random() < 0.95 else b"{broken"
            records.append(Record(str(sequence), arrival / 1000, data))
        made.append(Page(records, "i", 0, arrival + rng.randint(-5000, 5000)))
    return made


def drafts(seed: int, spread_ms: int) -> list[Draft]:
    """The segments that several pages give, cut now and then."""
    shard = ingest()
    made = []
    for number, page in enumerate(pages(seed, 12, spread_ms)):
        shard.take(page)
        if number % 3 == 2:
            made.append(shard.cut("me", number))
    return made


@given(st.integers(0, 2**32), st.sampled_from([0, 1000, MINUTE, 20 * MINUTE, 90 * MINUTE]))
def test_segments_are_equal_byte_for_byte_in_c_and_in_python(seed: int, spread_ms: int) -> None:
    quick = [draft.seal("") for draft in drafts(seed, spread_ms)]
    with without_native():
        slow = [draft.seal("") for draft in drafts(seed, spread_ms)]
    assert [sealed.digest for sealed in quick] == [sealed.digest for sealed in slow]


@given(st.integers(0, 2**32), st.sampled_from([0, 20 * MINUTE]), st.booleans())
def test_segments_do_not_change_when_the_name_table_is_reset(seed: int, spread_ms: int, native: bool) -> None:
    """A reader with too many names numbers them again from zero, possibly within one segment."""
    wanted = [draft.seal("").digest for draft in drafts(seed, spread_ms)]
    with pytest.MonkeyPatch.context() as patch, contextlib.nullcontext() if native else without_native():
        patch.setattr(events, "_MOST_NAMES", 3)
        assert [draft.seal("").digest for draft in drafts(seed, spread_ms)] == wanted


def test_an_ordinary_page_takes_the_fast_path() -> None:
    """A mistake here would only cost time, and no other test would fail."""
    shard = ingest()
    rows = [Record("1", NOW / 1000, json.dumps({"c": "a", "t": "x", "id": 1, "at": NOW / 1000}).encode())]
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(Rules, "closed_before_each")
        assert shard.take(Page(rows, "i", 0, NOW)).accepted == 1


def routed_by_rule(page: Page, watermark: int, closed_before: int) -> tuple[list[tuple[int, int]], int]:
    """The rule, event by event: the period of each event, with -1 for late and 1 for early; and the final watermark."""
    rules, rows = POLICY.rules, []
    for record in page.records:
        arrived = min(int(record.arrival * 1000), page.server_ms)
        if arrived > watermark:  # else the bound of the log stays, even if the settings have changed since
            watermark, closed_before = arrived, max(closed_before, rules.closed_before(arrived))
        try:
            at = json.loads(record.data).get("at")
        except ValueError:
            continue
        period = floor_period(arrived if at is None else int(at * 1000), rules.period_ms)
        own = floor_period(watermark, rules.period_ms)
        shift = -1 if period < closed_before else 1 if period > own else 0
        rows.append((max(own, closed_before) if shift else period, shift))
    return rows, watermark


@given(
    st.integers(0, 2**32),
    st.sampled_from([0, 1000, MINUTE, 20 * MINUTE, 90 * MINUTE]),
    st.sampled_from([0, 5, 60, 600]),
    st.sampled_from([0, 5, 120]),
)
def test_pages_are_routed_as_the_rule_routes_single_events(
    seed: int, spread_ms: int, ahead_s: int, lateness_min: int
) -> None:
    """Over pages in which periods close, and after a log that was written with another lateness."""
    shard, routed = ingest(), []
    shard.watermark = NOW + 1000 * ahead_s
    shard.closed_before = floor_period(shard.watermark - lateness_min * MINUTE, POLICY.rules.period_ms)
    with pytest.MonkeyPatch.context() as patch:
        route = ShardIngest._routed

        def seen(self: ShardIngest, *args: Any) -> Any:
            period, shift = answer = route(self, *args)
            routed.append(list(zip(period.tolist(), shift.tolist(), strict=True)))
            return answer

        patch.setattr(ShardIngest, "_routed", seen)
        for page in pages(seed, 6, spread_ms):
            wanted, watermark = routed_by_rule(page, shard.watermark, shard.closed_before)
            routed.clear()
            shard.take(page)
            assert [row for rows in routed for row in rows] == wanted
            assert shard.watermark == watermark


def test_events_without_a_readable_time_are_routed_by_arrival_and_counted_as_untimed() -> None:
    """A time that is missing, unreadable or of a wrong type. Filtered duplicates do not count."""
    times: list[Any] = [NOW, None, "yesterday", True, "2018-02-30T00:00:00Z", str(NOW), NOW]
    rows = [{"c": "a", "t": "x", "id": str(number), "at": at} for number, at in enumerate(times)]
    rows.append(rows[2])
    for whole in (contextlib.nullcontext(), without_native()):
        with whole:
            shard = ingest()
            records = [Record(str(100 + n), NOW / 1000, json.dumps(row).encode()) for n, row in enumerate(rows)]
            step = shard.take(Page(records, "i", 0, NOW))
            footer = shard.cut("me", 0).footer
        assert (step.accepted, step.filtered, step.untimed) == (7, 1, 4)
        assert {period: counts.untimed for period, counts in footer.periods.items()} == {
            floor_period(NOW, POLICY.rules.period_ms): 4
        }


def test_events_without_an_id_are_counted_as_unidentified() -> None:
    """An id that is missing or null; in C and in Python, also in records that C leaves to Python. Not duplicates."""
    rows: list[dict[str, Any]] = [{"c": "a", "t": "x", "at": NOW, "n": number} for number in range(5)]
    rows += [{**rows[0]}, {**rows[1], "id": None}, {**rows[2], "id": "1"}, {**rows[3], "c": "\u00e9", "n": 9}]
    for whole in (contextlib.nullcontext(), without_native()):
        with whole:
            shard = ingest()
            records = [Record(str(100 + n), NOW / 1000, json.dumps(row).encode()) for n, row in enumerate(rows)]
            steps = [step for step in shard.slices(Page(records, "i", 0, NOW)) if step is not None]
        assert sum(step.counts.accepted for step in steps) == 8
        assert sum(step.unidentified for step in steps) == 7


@given(st.integers(0, 2**32), st.sampled_from([0, 20 * MINUTE, 90 * MINUTE]))
def test_segment_counts_add_up_and_no_event_enters_a_closed_period(seed: int, spread_ms: int) -> None:
    """The counts of every segment agree; no segment writes below the bound of the one before it."""
    bound = 0
    for draft in drafts(seed, spread_ms):
        sealed = draft.seal("")
        footer = sealed.footer
        counts = footer.counts
        assert counts.events == counts.accepted + counts.filtered + counts.rejected
        for name in ("events", "accepted", "filtered", "rejected", "late", "early", "untimed", "bytes"):
            assert sum(getattr(some, name) for some in footer.periods.values()) == getattr(counts, name)
        assert all(period >= bound for period in footer.periods)
        assert footer.closed_before >= bound
        bound = footer.closed_before
        rows = 0
        begins, _ = member_offsets(footer.member_rows)
        for (folder, _, offset, length, count, raw, _), begin in zip(
            footer.member_rows.tolist(), begins.tolist(), strict=True
        ):
            text = decompress(sealed.body[offset : offset + length], "x")[begin : begin + raw]
            lines = text.split(b"\n")[:-1]
            assert len(lines) == count
            rows += 0 if footer.folders[folder].rejected else count
        assert rows == counts.accepted == footer.ids


def test_take_skips_records_at_or_before_the_position() -> None:
    """A page that is read again changes nothing."""
    shard = ingest()
    page = pages(1, 1, 0)[0]
    assert page.records
    step = shard.take(page)
    assert step.records == len(page.records)
    assert shard.take(page).records == 0
    assert shard.cut("me", 0).footer.counts.records == len(page.records)


def ids_after(position: Position, *records: Record) -> list[str]:
    """The ids that a shard at `position` accepts from a page."""
    shard = ingest()
    shard.position = position
    shard.take(Page(list(records), "i", 0, NOW))
    lines = LineTable(shard.cut("me", 0).pages)
    return [json.loads(line)["id"] for line in lines.text(np.arange(len(lines))).splitlines()]


def test_take_skips_the_sub_records_that_the_start_position_covers() -> None:
    """Sub-records 0..sub are done, the others not. A plain record is done, with all the events it holds."""

    def event(name: str) -> bytes:
        return json.dumps({"c": "a", "t": "x", "id": name}).encode()

    def record(sequence: int, data: bytes) -> Record:
        return Record(str(sequence), NOW / 1000, data)

    aggregate = record(7, kpl_aggregate([event("7.0"), event("7.1"), event("7.2")]))
    page = [record(6, event("6")), aggregate, record(8, event("8"))]

    def at(skip: int) -> Position:
        return Position(Start.AT_SEQUENCE_NUMBER, "7", skip)

    assert ids_after(at(1), *page) == ["7.1", "7.2", "8"]
    assert ids_after(at(2), *page) == ["7.2", "8"]
    assert ids_after(at(3), *page) == ["8"]
    assert ids_after(at(WHOLE + 1), *page) == ["8"]
    assert ids_after(at(1), record(7, event("7.0") + b"\n" + event("7.1")), page[2]) == ["8"]
    assert ids_after(at(1), page[2]) == ["8"], "the record itself was trimmed"


def test_take_moves_the_position_past_a_partly_covered_record() -> None:
    """Until then the segments start where the other application stopped."""
    start = Position(Start.AT_SEQUENCE_NUMBER, "7", 1)
    shard = ingest()
    shard.position = start
    shard.idle(NOW)
    assert shard.cut("me", 0).footer.position == start
    data = kpl_aggregate([b'{"c":"a","t":"x","id":"0"}', b'{"c":"a","t":"x","id":"1"}'])
    page = Page([Record("7", NOW / 1000, data)], "i", 0, NOW)
    assert shard.take(page).events == 1
    assert shard.take(page).events == 0
    assert shard.position == Position(Start.AFTER_SEQUENCE_NUMBER, "7")


def page_with_one_event(sequence: int, at_ms: int) -> Page:
    """A page with the same event each time."""
    data = json.dumps({"c": "a", "t": "x", "id": "same"}).encode()
    return Page([Record(str(sequence), at_ms / 1000, data)], "i", 0, at_ms)


def test_take_filters_a_repeated_event_within_the_horizon() -> None:
    """Surely within half the horizon, never beyond it, by the watermark."""
    shard = ingest()
    assert shard.take(page_with_one_event(1, NOW)).accepted == 1
    shard.cut("me", 0)
    assert shard.take(page_with_one_event(2, NOW + 4 * MINUTE)).filtered == 1
    assert shard.take(page_with_one_event(3, NOW + 11 * MINUTE)).accepted == 1


def test_take_accepts_a_repeated_event_again_after_a_resume() -> None:
    """What the shard accepted before may be in no log; publishing decides."""
    shard = ingest()
    shard.take(page_with_one_event(1, NOW))
    assert ingest().take(page_with_one_event(1, NOW)).accepted == 1


def test_take_filters_nothing_when_the_window_is_zero() -> None:
    shard = ingest(0)
    assert [shard.take(page_with_one_event(sequence, NOW)).accepted for sequence in (1, 2, 3)] == [1, 1, 1]


def test_rows_of_a_segment_span_at_most_an_eighth_of_the_window() -> None:
    """A page of a quiet shard can span days. It is split, with a cut before each part."""
    shard, made = ingest(), list[Draft]()
    rng, at = Random(5), NOW
    rows = []
    for sequence in range(1, 200):
        at += rng.choice((1000, MINUTE, 30 * MINUTE))
        data = json.dumps({"c": "a", "t": "x", "id": sequence}).encode()
        rows.append(Record(str(sequence), at / 1000, data))
    for page in (Page(rows[:70], "i", 0, at), Page(rows[70:], "i", 0, at)):
        for part in shard.parts(page):
            if shard.spans_too_far(part):
                made.append(shard.cut("me", 0))
            shard.take(part)
    made.append(shard.cut("me", 0))
    footers = [draft.footer for draft in made]
    assert sum(footer.counts.accepted for footer in footers) == len(rows)
    before = 0
    for footer in footers:
        lo, hi = footer.arrived
        assert before <= lo <= hi <= lo + 60 * MINUTE // 8
        before = hi
    assert before == int(rows[-1].arrival * 1000)
    assert shard.parts(Page(rows[:1], "i", 0, NOW + 10**9))[0].records == rows[:1]


def test_rows_arrived_as_long_ago_as_the_first_page_is_behind_when_its_records_have_impossible_times() -> None:
    """So they are near their copies, and go to the period of their own time."""
    shard, at = ingest(), NOW - MINUTE
    data = json.dumps({"c": "a", "t": "x", "id": 1, "at": at / 1000}).encode()
    shard.take(Page([Record("1", (NOW + 2 * 24 * 60 * MINUTE) / 1000, data)], "i", 2000, NOW))
    draft = shard.cut("me", 0)
    draft.seal("")
    assert draft.footer.arrived == (NOW - 2000, NOW - 2000)
    assert list(draft.footer.periods) == [floor_period(at, 5 * MINUTE)]


def test_rows_with_impossible_times_arrived_by_the_time_that_all_clocks_have_reached() -> None:
    """A local clock that is an hour ahead closes no hours."""
    shard = ingest()
    data = json.dumps({"c": "a", "t": "x", "id": 1}).encode()
    shard.take(Page([Record("1", 0.0, data)], "i", 2000, NOW + 60 * MINUTE, reached_ms=NOW))
    assert shard.watermark == NOW - 2000


def test_rows_with_possible_times_keep_them_after_one_with_an_impossible_time_at_the_tip() -> None:
    shard = ingest()
    rows = [
        Record(str(n), at / 1000, json.dumps({"c": "a", "t": "x", "id": n}).encode())
        for n, at in enumerate((0, NOW - MINUTE), 1)
    ]
    shard.take(Page(rows, "i", 0, NOW))
    assert shard.watermark == NOW - MINUTE


def test_a_segment_without_rows_has_its_watermark_as_arrival_range() -> None:
    shard = ingest()
    shard.idle(NOW)
    footer = shard.cut("me", 0).footer
    assert footer.arrived == (footer.watermark, footer.watermark)


def test_idle_advances_the_bound_and_asks_for_a_commit_with_each_period() -> None:
    shard = ingest()
    shard.idle(NOW)
    assert shard.moved
    bound = shard.closed_before
    shard.cut("me", 0)
    shard.idle(NOW + 1000)
    assert not shard.moved
    shard.idle(NOW + 5 * MINUTE)
    assert shard.closed_before == bound + 5 * MINUTE
    assert shard.moved
