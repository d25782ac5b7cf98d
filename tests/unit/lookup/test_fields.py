"""Field shares of a sample, and the paths that are named instead of wrong ones."""

from __future__ import annotations

import json
from typing import Any

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
