"""What `vortex check` says of a sample."""

from __future__ import annotations

import json

from vortex.commands.probes import Line
from vortex.commands.sampling import field_line, lines_of, reading_of
from vortex.config.settings import Settings
from vortex.core.model import Record
from vortex.lookup.sample import Sample, exhaust


def sample(*events: object, **paths: object) -> Sample:
    """A sample of these events, with the settings of `[event]` changed."""
    usual = {"customer": "c", "type": "t", "id": "id", "time": "at"}
    document = {"source": {"stream": "s"}, "event": usual | paths, "store": {"url": "file:///nowhere/x"}}
    found = Sample(reading_of(Settings.model_validate(document)))
    datas = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    exhaust(found.take([Record(str(n), 1.8e9, data) for n, data in enumerate(datas)]))
    return found


def lines(found: Sample) -> dict[str, Line]:
    """By what they are about."""
    return {line.what: line for line in lines_of(found, 2)}


EVENT = {"c": "acme", "t": "view", "id": "1", "at": "2026-01-31T10:07:00Z"}


def test_lines_of_a_sound_sample_are_all_ok() -> None:
    found = lines(sample(EVENT, EVENT, EVENT | {"id": "2"}))
    assert all(line.ok for line in found.values())
    assert found["sample"].detail == "3 events in 3 records of 2 shards; formats: JSON 100 %"
    assert found["event.customer"].detail == "c: in 100 % of 3 events, 100 % of these readable"
    assert found["duplicates"].detail == "1 of 3 events repeat an id within the sample"
    assert found["spread"].detail == "1 customer: acme 100 %; 1 type: view 100 %"
    assert "customer=acme/event_type=view/date=2026-01-31/hour=10/1005-000.json.gz" in found["objects"].detail


def test_lines_fail_and_name_the_nearest_path_when_a_path_is_wrong() -> None:
    found = lines(sample(EVENT, customer="cc"))
    assert not found["event.customer"].ok
    assert "every event is rejected as missing_customer; nearest paths in the data: c (100%)" in (
        found["event.customer"].detail
    )
    assert not found["rejections"].ok
    assert "missing_customer 100 %" in found["rejections"].detail
    assert "objects" not in found


def test_lines_fail_when_no_time_is_readable() -> None:
    line = lines(sample(EVENT | {"at": "31/01/2026"}, EVENT | {"at": "1/2/2026"}))["event.time"]
    assert not line.ok
    assert "'31/01/2026'" in line.detail
    assert "every event counts by its arrival time; set event.time_format" in line.detail


def test_line_of_a_missing_id_fails_only_when_the_data_have_another_one() -> None:
    plain = {name: value for name, value in EVENT.items() if name != "id"}
    assert field_line(sample(plain), "id").ok
    assert not field_line(sample(plain | {"messageId": "1"}), "id").ok
    assert not field_line(sample(plain, missing_id="reject"), "id").ok


def test_lines_of_an_empty_sample_say_that_nothing_was_tried() -> None:
    (line,) = lines_of(sample(), 4)
    assert line.ok
    assert line.detail.startswith("no record in the last hours in 4 shards")


def test_a_few_unreadable_values_are_shown_and_do_not_fail() -> None:
    line = field_line(sample(*[EVENT] * 300, EVENT | {"c": 1.5}), "customer")
    assert line.ok
    assert line.detail == ("c: in 100 % of 301 events, over 99 % of these readable (not readable, for example: 1.5)")
