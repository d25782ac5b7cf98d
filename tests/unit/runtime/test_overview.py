"""The document of the status page: of one worker, and of several."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from simulation import vtime
from vortex import __version__, metrics
from vortex.adapters.metrics import PrometheusMeter
from vortex.config.settings import Settings
from vortex.core.decode.reasons import Reason
from vortex.health import Health
from vortex.runtime.history import Point
from vortex.runtime.overview import Overview, RejectionWarner, encoded, started, together


def worker(name: str, *, customers: bool = True, trouble: str = "") -> dict[str, Any]:
    """The document of a worker with one shard, after it has rejected three events."""

    async def made() -> dict[str, Any]:
        clock = vtime.VirtualClock()
        health, meter = Health(clock.now_ms), PrometheusMeter("snow")
        if trouble:
            health.bad(trouble, "no call has succeeded for 3 min")
        settings = SimpleNamespace(
            http=SimpleNamespace(customers=customers),
            hours=SimpleNamespace(allowed_lateness=0),
            publish=SimpleNamespace(period=300_000),
        )
        env = SimpleNamespace(
            clock=clock, health=health, settings=settings, owner=name, store=SimpleNamespace(url="s3://b")
        )
        checks = [(one, False, detail) for one, detail in health.report().items()]
        overview = Overview(cast(Any, env), meter, lambda: [*checks, ("shards", True, "1")])
        status = SimpleNamespace(lag_s=lambda at: 7.0)
        fleet = SimpleNamespace(
            workers={f"shard-{name}": SimpleNamespace(status=status)},
            owners={"shard-a": "a", "shard-b": "b", "shard-x": ""},
            roster=SimpleNamespace(workers=("a", "b")),
        )
        overview.begin(
            cast(Any, SimpleNamespace(fleet=fleet)), cast(Any, SimpleNamespace(first_hour=1_700_000_000_000))
        )
        meter.add(metrics.EVENTS_READ, 10)
        meter.add(metrics.EVENTS, 3, outcome="rejected")
        meter.add(metrics.REJECTIONS, 3, reason=Reason.MISSING_CUSTOMER)
        overview.sample()
        found: dict[str, Any] = json.loads(encoded(overview.document()))
        return found

    return vtime.run(made())


def test_document_of_a_worker_has_its_own_shards_and_those_of_the_fleet() -> None:
    found = worker("a")
    assert found["ready"] and found["troubles"] == []
    assert found["shards"] == [["shard-a", "a", 7.0], ["shard-b", "b", None], ["shard-x", "", None]]
    assert found["workers"] == [["a", 1, True], ["b", 1, None]]
    assert found["rejections"] == [["missing_customer", 3.0]]
    assert [row[1:] for row in found["history"]] == [[10.0, 0.0, 3.0, 0.0, 7.0]]
    assert found["customers"] == []
    assert [notice[:2] for notice in found["notices"]] == [
        ["rejections", "3 of 10 events of the last 15 min were rejected"]
    ]


def test_document_says_what_stands_in_the_way_since_when_and_what_to_do() -> None:
    found = worker("a", trouble="kinesis")
    assert not found["ready"]
    ((name, detail, since, todo),) = found["troubles"]
    assert (name, detail, since) == ("kinesis", "no call has succeeded for 3 min", 1_700_000_000_000)
    assert "permissions" in todo


def test_document_lists_no_customers_when_it_is_switched_off() -> None:
    assert worker("a", customers=False)["customers"] is None
    documents = [worker("a"), worker("b", customers=False)]
    assert together("snow", 5, [], documents)["customers"] is None


def test_documents_of_several_workers_are_one() -> None:
    """Each knows the lag of its own shards, and whether it is ready itself."""
    documents = [worker("a"), worker("b", trouble="store")]
    documents[0]["customers"], documents[1]["customers"] = [["acme", 5]], [["acme", 2], ["<script>", 9]]
    checks = [
        ("worker 0 shards", True, ""),
        ("worker 1 store", False, "x"),
        ("worker 2 process", False, "does not answer"),
    ]
    found = together("snow", 5, checks, documents)
    assert found["shards"] == [["shard-a", "a", 7.0], ["shard-b", "b", 7.0], ["shard-x", "", None]]
    assert found["workers"] == [["a", 1, True], ["b", 1, False]]
    assert found["customers"] == [("<script>", 9), ("acme", 7)]
    assert found["rejections"] == [("missing_customer", 6.0)]
    assert [row[1:] for row in found["history"]] == [[20.0, 0.0, 6.0, 0.0, 7.0]]
    assert not found["ready"]
    assert [row[0] for row in found["troubles"]] == ["store", "worker 2 process"]
    assert together("snow", 5, [("worker 0 process", False, "does not answer")], [])["shards"] == []


def minute(number: int, events: float, rejected: float) -> Point:
    return Point(60_000 * number, events=events, rejected=rejected)


def test_rejections_above_one_in_a_hundred_of_a_minute_are_warned_of_and_then_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first minute, the second, the fourth and so on; a minute that is well begins anew."""
    warner, total = RejectionWarner(), 0.0
    warner.look(minute(1, 1000, 10), {"missing_customer": 10.0})
    assert caplog.records == []
    for number in range(2, 22):
        total += 900
        for _ in range(3):  # each minute is sampled many times
            warner.look(minute(number, 1000, 900), {"missing_customer": 10 + total, "not_json": 0.0})
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 5
    assert lines[0].startswith("900 of 1000 events of a minute were rejected: missing_customer (900); ")
    assert [line.rpartition("(")[2] for line in lines] == [f"minute {n} of this)" for n in (1, 2, 4, 8, 16)]
    warner.look(minute(30, 1000, 0), {})
    warner.look(minute(31, 10, 1), {"not_json": 1.0})
    assert len(caplog.records) == 6


def test_first_line_names_version_stream_store_address_and_changed_settings() -> None:
    document = {
        "source": {"stream": "arn:aws:kinesis:eu-west-1:123456789012:stream/snow"},
        "event": dict.fromkeys(("customer", "type", "id", "time"), "x"),
        "store": {"url": "s3://bucket/events"},
    }
    settings = Settings.model_validate(document)
    assert started(settings, "snow", ("127.0.0.1", 9400)) == (
        f"Vortex {__version__} reads stream snow into s3://bucket/events; http://127.0.0.1:9400/; settings: defaults"
    )
    other = Settings.model_validate(document | {"publish": {"period": "1m"}, "memory": {"limit": "64MiB"}})
    assert started(other, "snow", ("::1", 80)).endswith(
        '; http://[::1]:80/; settings: publish.period = "1m"; memory.limit = "64MiB"'
    )
