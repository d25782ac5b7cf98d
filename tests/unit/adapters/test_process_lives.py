"""The summed metrics of `--processes`: no counter decreases when a worker is silent, dies or is replaced."""

from __future__ import annotations

from random import Random

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vortex import metrics
from vortex.adapters.metrics import PrometheusMeter
from vortex.adapters.process_lives import Lives

OWN = PrometheusMeter("s").page().decode()


def worker(events: int, lag: float = 1.0) -> PrometheusMeter:
    """A worker that has counted `events` events."""
    meter = PrometheusMeter("s")
    meter.add(metrics.RECORDS, events)
    meter.add(metrics.EVENTS, events, outcome="accepted")
    meter.set(metrics.SHARD_LAG, lag, shard="s-1")
    meter.observe(metrics.COMMIT_SECONDS, 0.02)
    return meter


def text(events: int, lag: float = 1.0) -> str:
    """The metrics page of such a worker."""
    return worker(events, lag).page().decode()


def values(page: bytes) -> dict[str, float]:
    """Every sample by its name and labels."""
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items()) if name != "stream"): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_page_keeps_the_counters_and_drops_the_gauges_of_a_silent_worker() -> None:
    """Without its counters the sum decreases, which Prometheus takes for a reset."""
    lives = Lives()
    for life, events in (("a", 5), ("b", 7)):
        lives.begun(life)
        lives.reported(life, text(events, lag=events))
    found = values(lives.page(OWN, {"a": text(6, lag=6)}))
    assert found["vortex_records_total"] == 6 + 7
    assert found["vortex_commit_seconds_count"] == 2
    assert found["vortex_shard_lag_seconds shard=s-1"] == 6


def test_page_keeps_the_counters_of_dead_workers() -> None:
    """The replacing worker starts at zero; the gauges of the dead one are gone."""
    lives = Lives()
    for life in range(1000):
        lives.begun(str(life))
        if life == 0:
            lives.reported("0", text(3, lag=9))
            began = values(lives.page(OWN, {}))["vortex_commit_seconds_created"]
        lives.reported(str(life), text(3, lag=9)) if life < 20 else None
        lives.ended(str(life))
    found = values(lives.page(OWN, {}))
    assert found["vortex_records_total"] == 60
    assert found["vortex_events_total outcome=accepted"] == 60
    assert found["vortex_commit_seconds_bucket le=0.03"] == 20
    assert found["vortex_commit_seconds_created"] <= began
    assert "vortex_shard_lag_seconds shard=s-1" not in found
    assert len(lives.page(OWN, {})) < 2 * len(text(3)), "dead workers are one sum"


def test_page_does_not_count_a_late_page_of_a_dead_worker_twice() -> None:
    """It was requested while the worker lived, and arrived after its death."""
    lives = Lives()
    lives.begun("a")
    page = text(5)
    lives.reported("a", page)
    lives.ended("a")
    lives.reported("a", page)
    assert values(lives.page(OWN, {"a": page}))["vortex_records_total"] == 5


def test_answer_refuses_a_text_that_is_not_a_metrics_page() -> None:
    """The previous page stays."""
    lives = Lives()
    lives.begun("a")
    lives.reported("a", text(5))
    with pytest.raises(ValueError, match=r"."):
        lives.reported("a", "500 Internal Server Error\n\nServer got itself in trouble")
    assert values(lives.page(OWN, {}))["vortex_records_total"] == 5


def test_page_counters_never_decrease() -> None:
    """Whatever happens to workers, in any order."""
    rng, lives = Random(5), Lives()
    living: dict[str, PrometheusMeter] = {}
    before: dict[str, float] = {}
    for turn in range(50):
        if len(living) < 3:
            life = f"life-{turn}"
            living[life] = worker(0)
            lives.begun(life)
        fresh = {}
        for life, meter in list(living.items()):
            meter.add(metrics.RECORDS, rng.randrange(10))
            if rng.random() < 0.7:
                fresh[life] = meter.page().decode()
                lives.reported(life, fresh[life])
            if rng.random() < 0.1:
                lives.ended(life)
                del living[life]
        now = values(lives.page(OWN, fresh))
        falling = {name for name, value in before.items() if "_total" in name and now[name] < value}
        assert falling - {"process_cpu_seconds_total"} == set()
        before = now
    assert before["vortex_records_total"] > 150
