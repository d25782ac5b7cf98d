"""A lease table serves one store: which rows show another one, and which show nothing or a KCL application."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vortex.core.fleet.lease import LATEST, SHARD_END, TRIM_HORIZON, WHOLE, Checkpoint, Lease, shared_token
from vortex.core.fleet.store_mark import StoreMark, mark_of
from vortex.core.log.rules import StreamState

STATE = StreamState(stream="clicks", arn="a", created=5, roots=(), closed_before=0, first_hour=0, seed=7)
MARK = mark_of("vortex-clicks", "s3://bucket/new", STATE)
NEW = replace(MARK, digest="")
OTHER = mark_of("vortex-clicks", "s3://bucket/old", STATE).text


def row(store: str, checkpoint: Checkpoint, owner: str | None = None, token: str = "") -> Lease:
    return Lease("shard", owner, 1, checkpoint, stream=5, store=store, token=token)


@pytest.mark.parametrize("checkpoint", [Checkpoint("100", WHOLE), Checkpoint(TRIM_HORIZON), Checkpoint(LATEST)])
@pytest.mark.parametrize("mark", [MARK, NEW])
def test_refusal_names_table_setting_and_both_stores_when_a_row_is_of_another_store(
    mark: StoreMark, checkpoint: Checkpoint
) -> None:
    message = mark.refusal(
        [row(MARK.text, checkpoint), row(OTHER, checkpoint)] if mark is MARK else [row(OTHER, checkpoint)]
    )
    for part in ("vortex-clicks", "s3://bucket/old", "s3://bucket/new", "coordination.table"):
        assert part in message


def test_refusal_is_empty_when_the_rows_name_this_store_or_there_are_none() -> None:
    assert MARK.refusal([row(MARK.text, Checkpoint("100", WHOLE))]) == ""
    assert MARK.refusal([]) == NEW.refusal([]) == ""


def test_rows_of_earlier_versions_are_of_the_store_that_has_the_streams_state() -> None:
    """They have no name of a store. Without a state here they are another store's, never a KCL application's."""
    rows = [row("", Checkpoint("100", WHOLE)), row("", Checkpoint(TRIM_HORIZON))]
    assert MARK.refusal(rows) == ""
    assert "an earlier version" in NEW.refusal(rows)


def test_rows_of_a_kcl_application_are_taken_over() -> None:
    """Also where Vortex had them before, and the application took them back: the KCL keeps foreign attributes."""
    plain = [Lease("shard", "kcl", 1, Checkpoint(name, 0)) for name in ("100", TRIM_HORIZON, LATEST, SHARD_END)]
    taken_back = [
        row(OTHER, Checkpoint("100", 0), owner="kcl"),
        row(OTHER, Checkpoint("100", 3), owner="kcl", token="x/1"),
    ]
    ended = [row(OTHER, Checkpoint(SHARD_END))]
    for mark in (MARK, NEW):
        assert mark.refusal([*plain, *taken_back, *ended]) == ""


def test_row_that_a_worker_of_another_store_holds_is_refused_before_its_first_checkpoint() -> None:
    held = row(OTHER, Checkpoint("100", 0), owner="w", token=shared_token("w", "1"))
    assert "s3://bucket/old" in MARK.refusal([held])


@pytest.mark.parametrize("junk", ["", "x", "0123456789abcdef", "0123456789abcdeg s3://b/c"])
def test_row_whose_name_is_invalid_counts_as_one_without_a_name(junk: str) -> None:
    assert MARK.refusal([row(junk, Checkpoint("100", WHOLE))]) == ""


def test_refusal_says_that_state_is_missing_when_the_rows_are_of_an_earlier_state_at_the_same_place() -> None:
    message = NEW.refusal([row(MARK.text, Checkpoint("100", WHOLE))])
    assert "earlier state of the store s3://bucket/new" in message


def test_marks_differ_by_place_and_by_state() -> None:
    """A copied store is another one: both would read the stream."""
    begun_anew = mark_of(
        "t", MARK.url, StreamState(**{**{f: getattr(STATE, f) for f in STATE.__struct_fields__}, "seed": 8})
    )
    assert len({MARK.digest, begun_anew.digest, mark_of("t", "s3://bucket/old", STATE).digest}) == 3
    assert MARK.digest == mark_of("another table", MARK.url, STATE).digest
