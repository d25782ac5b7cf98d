"""Events with lone surrogates are read by column, with the same result as one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from unittest.mock import patch

import pytest

from tests.native import without_native
from tests.random_pages import FIELDS, accepted, read, record
from vortex.core.decode import decoder, masked_events, surrogates
from vortex.core.decode.fields import Fields
from vortex.core.decode.steps import Steps, at_once

PLAIN = Fields(("c",), ("t",), ("id",), ("at",))
LONE = [r"\ud83d", r"\uDC00", r"\ud800\ud800\udc00", r"\ud83d\\ude00", r"\\\ud83d", "é\\udfff"]


@contextmanager
def one_by_one() -> Iterator[None]:
    """Without the steps for lone surrogates."""
    with patch("vortex.core.decode.events.may_have_one", lambda text: iter(())):
        yield


def lone_event(rng: Random, number: int) -> str:
    """An event with a lone surrogate, mostly in a value that is not read."""
    half = rng.choice(LONE)
    where = rng.random()
    values = {"c": f"c{number % 3}", "t": "t", "id": f"id{number}", "at": "2018-12-18T07:05:09Z", "x": f"a{half}b"}
    if where < 0.3:
        name = rng.choice(["c", "t", "id", "at"])
        values[name] = f"{half}{values[name]}"
    if where > 0.9:
        del values["id"]
    text = ",".join(f'"{name}":"{value}"' for name, value in values.items())
    if 0.4 < where < 0.5:
        text += rng.choice([f',"{half}":[1,{{"c":2}}]', ',"c":"twice"', ',"x":1e999', ',"x":nul', f',"y":"{half}'])
    return "{" + text + "}"


def data(rng: Random, number: int) -> bytes:
    """A record with one or several events, with and without lone surrogates, or anything."""
    kind = rng.random()
    if kind < 0.1:
        return record(rng)
    if kind < 0.2:
        return accepted(rng).encode()
    if kind < 0.6:
        return (lone_event(rng, number) + rng.choice(["", "\n", " \r\n"])).encode()
    several = [lone_event(rng, number + at) if rng.random() < 0.7 else accepted(rng) for at in range(rng.randint(1, 5))]
    return rng.choice(["\n", "", " "]).join(several).encode()


@pytest.mark.parametrize("seed", range(60))
def test_events_with_lone_surrogates_are_read_as_they_are_one_by_one(seed: int) -> None:
    rng = Random(seed)
    fields = rng.choice([PLAIN, dataclasses.replace(PLAIN, missing_id="reject"), *FIELDS])
    datas = [data(rng, 10 * number) for number in range(rng.randint(1, 80))]
    found = read(datas, fields)
    with one_by_one():
        assert read(datas, fields) == found
    with without_native():
        assert read(datas, fields) == found


@pytest.mark.parametrize("missing_id", ["hash", "reject"])
def test_events_with_lone_surrogates_are_accepted_and_rejected_each_by_itself(missing_id: str) -> None:
    fields = dataclasses.replace(PLAIN, missing_id=missing_id)  # type: ignore[arg-type]
    good = rb'{"c":"a","t":"v","id":"1","x":"\ud83d"}'
    bad = [
        rb'{"c":"\ud83d","t":"v","id":"1"}',
        rb'{"c":"a","t":"\udc00","id":"1"}',
        rb'{"c":"a","t":"v","id":"\ud83d"}',
    ]
    rows, rejected = read([good, bad[0], good, bad[1], b'{"c":"a","t":"v","id":"2"}', bad[2], good], fields)
    assert [row[0] for row in rows] == [good, good, b'{"c":"a","t":"v","id":"2"}', good]
    assert [row[-1] for row in rows] == [0, 2, 4, 6]
    assert [each[2] for each in rejected] == ["bad_customer", "bad_type", "bad_id"]


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_page_of_events_with_lone_surrogates_costs_no_work_for_each(end: bytes) -> None:
    """A producer in JavaScript may write one in every event. Each was masked two to four times by itself."""
    datas = [b'{"c":"a","t":"v","id":"%d","x":"\\ud83d"}' % number + end for number in range(2000)]
    calls = []

    def counted(text: bytes, mark: bytes = surrogates.MARKS[0]) -> Steps[bytes]:
        calls.append(len(text))
        return surrogates.masking(text, mark)

    with (
        patch.object(masked_events, "masking", counted),
        patch("vortex.core.decode.texts.masking", counted),
        patch("vortex.core.decode.diagnosis.masked", lambda *some: at_once(counted(*some))),
        patch.object(decoder.Decoder, "parts", side_effect=AssertionError("decoded one by one")),
    ):
        rows, rejected = read(datas, PLAIN)
    assert [row[0] + end for row in rows] == datas
    assert not rejected
    assert len(calls) == 2
