"""Field shares of a sample, and the paths that are named instead of wrong ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vortex.core.decode.fields import Fields
from vortex.lookup.fields import FieldSample


def sample(*events: object, **paths: tuple[str, ...]) -> FieldSample:
    """A sample of these events."""
    usual: dict[str, Any] = {"customer": ("context.app.name",), "type": ("event",)}
    usual |= {"id": ("messageId",), "time": ("timestamp",)}
    found = FieldSample(Fields(**(usual | paths)))
    for event in events:
        found.add(event if isinstance(event, bytes) else json.dumps(event).encode())
    return found


EVENT = {"context": {"app": {"name": "acme"}}, "event": "view", "messageId": 7, "timestamp": "2026-01-31T10:00:00Z"}


def test_shares_count_present_and_readable_values() -> None:
    found = sample(EVENT, EVENT | {"event": True, "timestamp": "soon"}, EVENT | {"messageId": ""}, b"{", [1])
    assert found.events == 3
    counted = {name: (share.present, share.readable) for name, share in found.shares.items()}
    assert counted == {"customer": (3, 3), "type": (3, 2), "id": (2, 2), "time": (3, 2)}
    assert found.shares["type"].unreadable == ["True"]


def test_near_names_the_path_with_the_likest_name_when_a_path_is_wrong() -> None:
    found = sample(EVENT, customer=("context.app.names",), type=("evnt",), id=("message_id",), time=("time_stamp",))
    assert [found.near(name)[0] for name in found.shares] == [
        ("context.app.name", 1.0),
        ("event", 1.0),
        ("messageId", 1.0),
        ("timestamp", 1.0),
    ]


def test_near_names_usual_names_of_a_field_when_nothing_is_alike() -> None:
    found = sample({"a": {"tenant": "t", "x": 1}, "zz": 2}, customer=("q",))
    assert found.near("customer")[0][0] in ("a.tenant", "zz", "a.x")
    assert found.likely("customer")
    assert not found.likely("id")


def test_near_names_readable_times_only_for_the_time() -> None:
    found = sample({"name": "n", "at": 1_700_000_000}, time=("t",))
    assert found.near("time") == [("at", 1.0)]


def test_sample_ends_at_a_thousand_events_and_ignores_keys_with_dots() -> None:
    found = sample(*[{"a.b": 1, "": 2, "c": 3}] * 1200)
    assert (found.events, found.full) == (1000, True)
    assert [path for path, _ in found.near("id")] == ["c"]


@pytest.mark.parametrize(
    "value",
    [rb'"\ud83d"', rb'{"\udc00": 1}', b"1e999", b"-1e999", b"9" * 5000, b"9" * 400 + b".5"],
    ids=["lone surrogate", "key", "huge", "least", "digits", "fraction"],
)
def test_shares_count_events_that_only_some_readers_take(value: bytes) -> None:
    """Vortex takes them, so the shares must not leave them out."""
    event = json.dumps(EVENT).encode()[:-1] + b', "more": ' + value + b"}"
    found = sample(event, event)
    assert found.events == 2
    assert {share.readable for share in found.shares.values()} == {2}
    assert all("\udc00" not in path for path, _ in found.near("id"))


def test_share_counts_a_name_with_a_lone_surrogate_as_not_readable() -> None:
    """It is rejected. An integer of any length is a name."""
    found = sample(rb'{"event": "a\ud83d", "messageId": ' + b"9" * 5000 + b', "timestamp": 1e999}')
    counted = {name: (share.present, share.readable) for name, share in found.shares.items()}
    assert counted == {"customer": (0, 0), "type": (1, 0), "id": (1, 1), "time": (1, 0)}
    assert found.shares["type"].unreadable == [r"'a\ud83d'"]


@pytest.mark.parametrize(
    "text", [b'{"event": NaN}', b"\xff", b'{"event": "\xff"}', b"[" * 100_000, "{}".encode("utf-16")]
)
def test_sample_ignores_what_is_not_json(text: bytes) -> None:
    assert sample(text).events == 0
