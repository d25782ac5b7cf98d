"""What `vortex explain` prints. tests/unit/lookup/test_explain.py tests what it finds."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from vortex.commands.event_files import FileError
from vortex.commands.explain import Question, _lines_of_input, answer_lines
from vortex.lookup.answers import Answer, Copy, Fate, FoundRejection, ReadUpTo, Verdict

AT = 1_800_000_000_000


def test_answer_lines_names_the_line_and_what_its_copies_repeat() -> None:
    copies = [
        Copy(Fate.PUBLISHED, AT, "s-1", 3, 9, (AT, AT), "10", "20", "15", AT, "f", "late", 4, "f/0800-000.json.gz", 7),
        Copy(Fate.DUPLICATE, AT, "s-2", 5, 1, (AT, AT + 5000), "30", "40", plan=4, of="f/0800-000.json.gz line 7"),
        Copy(Fate.FILTERED, shard="s-1", sequence="16", arrival=AT, of="f/0800-000.json.gz line 7"),
    ]
    assert list(answer_lines(Answer("acme", "1", Verdict.PUBLISHED, copies, notes=["n", "n"]))) == [
        "acme 1: PUBLISHED",
        "  published: f/0800-000.json.gz line 7, by plan 4",
        "    arrived 2027-01-15T08:00:00.000Z, s-1, sequence number 15, segment 3 row 9",
        "    late: the period of its own time was closed when it arrived",
        "  duplicate: accepted by the log, left out by plan 4; the same id is in f/0800-000.json.gz line 7",
        "    arrived from 2027-01-15T08:00:00.000Z to 2027-01-15T08:00:05.000Z, s-2, sequence number above 30, "
        "up to 40, segment 5 row 1",
        "  duplicate: a repeated send, dropped before the log; the same id is in f/0800-000.json.gz line 7",
        "    arrived 2027-01-15T08:00:00.000Z, s-1, sequence number 16",
        "  note: n",
    ]


def test_answer_lines_names_the_partition_of_a_line_in_a_bundle() -> None:
    copy = Copy(Fate.PUBLISHED, AT, folder="c=a/t=b", plan=4, object="_bundles/0800-000-000.json.gz", line=7)
    assert list(answer_lines(Answer("a", "1", Verdict.PUBLISHED, [copy])))[1:] == [
        "  published: _bundles/0800-000-000.json.gz line 7, by plan 4",
        "    bundled with other partitions; its own is c=a/t=b",
    ]


def test_answer_lines_says_how_far_shards_are_read_when_nothing_was_found() -> None:
    shards = [ReadUpTo(f"s-{n:02d}", "open", AT - n * 1000, "9") for n in range(25)]
    lines = list(
        answer_lines(
            Answer("a", "1", Verdict.NOT_SEEN, shards=[*shards, ReadUpTo("new", "not started", None, "", "g")])
        )
    )
    assert lines[:3] == [
        "a 1: NOT SEEN",
        "  new (not started): nothing read yet; GAP: g",
        "  s-24 (open): read to 2027-01-15T07:59:36.000Z",
    ]
    assert lines[-1] == "  … and 6 more shards, read further"


def test_answer_lines_names_reason_and_place_of_a_rejection() -> None:
    found = FoundRejection("not_json", "byte 3", "s", "1", 0, AT, "_rejected/0800-000.json.gz line 2", False)
    lines = list(answer_lines(Answer("", "", Verdict.REJECTED, rejections=[found], would_be="not_json: byte 3")))
    assert lines[:3] == [
        "event: REJECTED",
        "  the current settings reject it: not_json: byte 3",
        "  rejected: not_json: byte 3",
    ]
    assert "_rejected/0800-000.json.gz line 2" in lines[3]
    assert "holds" not in lines[3] and "hold this customer and id" in lines[4]


@pytest.mark.parametrize(
    ("copy", "text"),
    [
        (Copy(Fate.WAITING, AT, folder="f"), "waits until every shard has closed its period 2027-01-15T08:00:00.000Z"),
        (Copy(Fate.PUBLISHING, AT, folder="f", plan=2), "plan 2 is publishing it into f"),
        (Copy(Fate.PUBLISHED, AT, placed="early"), "early: its own time was ahead"),
        (Copy(Fate.PUBLISHED, AT, placed="untimed"), "no readable time"),
    ],
)
def test_answer_lines_says_what_an_accepted_event_waits_for_and_where_it_lies(copy: Copy, text: str) -> None:
    assert text in "\n".join(answer_lines(Answer("a", "1", Verdict.WAITING, [copy])))


def test_question_around_spans_an_hour_before_and_a_day_after() -> None:
    assert Question(None, None, around="2027-01-15T08:00").span == (AT - 3_600_000, AT + 86_400_000)
    assert Question(None, None, since="2027-01-15T08:00").span == (AT, None)
    with pytest.raises(FileError, match="--until: invalid time"):
        _ = Question(None, None, until="noon").span
    with pytest.raises(FileError, match="--since must be before --until"):
        _ = Question(None, None, since="2027-01-15", until="2027-01-14").span


def test_lines_of_input_are_events_without_line_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"a":1}\r\n\n{"b":2}'), isatty=bool))
    assert list(_lines_of_input()) == [b'{"a":1}', b'{"b":2}']


def test_lines_of_input_asks_for_events_when_standard_input_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(FileError, match="standard input is closed"):
        list(_lines_of_input())
