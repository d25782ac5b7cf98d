"""What becomes of the events of a sample."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.kpl import aggregate
from vortex.core.decode.decoder import Decoder
from vortex.core.decode.fields import Fields
from vortex.core.decode.limits import DEFAULT
from vortex.core.decode.reasons import Reason
from vortex.core.layout import Layout
from vortex.core.model import Record
from vortex.lookup.sample import Fate, Reading, Sample, exhaust, format_of

AT = 1_800_000_000.0


def reading() -> Reading:
    """With short paths."""
    layout = Layout("c={customer}/t={event_type}/d={date}/h={hour}", "_rejected/d={date}/h={hour}")
    return Reading(Decoder(Fields(("c",), ("t",), ("id",), ("at",))), layout, 300_000, DEFAULT)


def taken(*datas: bytes) -> tuple[Sample, list[Fate]]:
    """The sample of records with these data."""
    sample = Sample(reading())
    return sample, list(sample.take([Record(str(n), AT, data) for n, data in enumerate(datas, 1)]))


def event(**fields: object) -> bytes:
    """An event."""
    return json.dumps({"c": "acme", "t": "view", "id": "1", "at": "2026-01-31T10:07:00Z"} | fields).encode()


def test_take_tells_key_or_reason_of_each_event_in_order_of_records() -> None:
    sample, fates = taken(event(), event(c=None), b"{", event(id="2", at="soon"), event())
    assert [(fate.record, fate.reason) for fate in fates] == [
        (0, None),
        (1, Reason.MISSING_CUSTOMER),
        (2, Reason.NOT_JSON),
        (3, None),
        (4, None),
    ]
    assert fates[0].key == "c=acme/t=view/d=2026-01-31/h=10/1005-000.json.gz"
    assert fates[3].key == "c=acme/t=view/d=2027-01-15/h=08/0800-000.json.gz"
    assert [fate.timed for fate in fates] == [True, True, True, False, True]
    assert [fate.again for fate in fates] == [False, False, False, False, True]
    assert (sample.records, sample.events, sample.accepted, sample.again, sample.untimed) == (5, 5, 3, 1, 1)


@pytest.mark.parametrize(("arrival", "date"), [(1e300, "9999-12-31"), (-1e300, "0001-01-01"), (1e12, "9999-12-31")])
def test_take_files_an_untimed_event_under_a_date_when_its_arrival_is_none(arrival: float, date: str) -> None:
    """Kinesis does not vouch for arrival times. `vortex preview` used to end with a traceback."""
    (fate,) = Sample(reading()).take([Record("1", arrival, event(at="soon"))])
    assert fate.key.split("/")[2] == f"d={date}"


def test_take_counts_formats_customers_and_types() -> None:
    sample, _ = taken(event(), gzip.compress(event(c="b", id="2") + event(id="3")), b"BZh9", aggregate([event(id="4")]))
    assert sample.formats == {"JSON": 1, "gzip": 1, "other (bzip2)": 1, "KPL aggregate of JSON": 1}
    assert sample.customers == {"acme": 3, "b": 1}
    assert sample.reasons == {Reason.UNSUPPORTED_FORMAT: 1}
    assert len(sample.keys) == 2


def test_exhaust_takes_all_events_for_their_counts() -> None:
    sample = Sample(reading())
    exhaust(sample.take([Record("1", AT, event())]))
    assert sample.accepted == 1


def test_format_of_names_what_the_first_bytes_are() -> None:
    assert format_of(b" [1]") == "JSON"
    assert format_of(b"\xff\xfe{\0") == "other (UTF-16-LE)"
    assert format_of(b"hello") == "other"
