"""Troubles: their kinds and times, and what the log says of an outage: the first failure, sums, and the end."""

from __future__ import annotations

import asyncio
import logging
from random import Random

import pytest

from simulation import vtime
from vortex.health import Health, Reach, times
from vortex.ports import Denied, Unavailable
from vortex.retry import Retry


def test_health_lists_troubles_with_a_kind_from_a_fixed_list_and_the_time_they_began() -> None:
    """A name of a key or shard is in no kind; a detail that changes does not change the time."""
    now = [1000]
    health = Health(lambda: now[0])
    health.bad("shard shardId-1", "given up")
    now[0] = 2000
    health.bad("put acme/secret.json", "denied", kind="store")
    health.bad("compare acme/secret.json", "denied")
    health.bad("shard shardId-1", "given up again")
    found = [(one.kind, one.since_ms, one.detail) for one in health.troubles()]
    assert found == [("shard", 1000, "given up again"), ("call", 2000, "denied"), ("store", 2000, "denied")]


def test_outage_is_logged_when_it_begins_and_then_summed_up_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Many shards that fail together for twenty minutes: a handful of lines."""
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        clock, health, down = vtime.VirtualClock(), Health(), True

        async def call() -> None:
            if down:
                raise Unavailable("refused", "connection")

        retry = Retry(clock, vtime.NullMeter(), health, Random(1), "kinesis")
        calls = [asyncio.ensure_future(retry(f"read {number}", call)) for number in range(30)]
        await asyncio.sleep(1260)
        down = False
        await asyncio.gather(*calls)

    vtime.run(scenario())
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) <= 8, lines
    assert lines[0].endswith(": retrying: refused")
    assert all("failed calls in" in line for line in lines[1:] if "retrying" in line)
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert lines[-1].startswith("kinesis: answers again after ") and lines[-1].endswith(" failed calls in 21 min")


def test_a_denial_is_an_answer_but_no_success(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        clock, health, denied = vtime.VirtualClock(), Health(), True

        async def call() -> None:
            if denied:
                raise Denied("no")

        retry = Retry(clock, vtime.NullMeter(), health, Random(1), "kinesis")
        calling = asyncio.ensure_future(retry("read 1", call))
        await asyncio.sleep(100)
        (reach,) = retry.reaches
        assert reach.succeeded_ms is None
        assert [(one.name, one.kind) for one in health.troubles()] == [("read 1", "kinesis")]
        denied = False
        await calling
        assert reach.succeeded_ms == clock.now_ms()

    vtime.run(scenario())


def test_brief_failures_end_without_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        clock = vtime.VirtualClock()
        reach = Reach("kinesis", clock, Health())
        for _ in range(100):
            reach.failed(Unavailable("throttled", "throttled"), clock.monotonic())
            await asyncio.sleep(0.5)
            reach.answered()

    vtime.run(scenario())
    assert caplog.records == []


@pytest.mark.parametrize(
    ("failures", "seconds", "text"),
    [(1, 4.2, "1 failed call in 4 s"), (387, 1260, "387 failed calls in 21 min")],
)
def test_times_counts_and_says_how_long(failures: int, seconds: float, text: str) -> None:
    assert times(failures, seconds) == text
