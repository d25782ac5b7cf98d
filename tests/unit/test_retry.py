"""Retries in virtual time: what is repeated, how long it waits, and what health reports."""

from __future__ import annotations

import asyncio
import logging
from random import Random

import pytest

from simulation import vtime
from vortex.health import Health
from vortex.ports import Denied, NotFound, Unavailable
from vortex.retry import Retry


class _Calls:
    """A call that fails with each of `problems` in turn and then succeeds; `at` holds the times of its calls."""

    def __init__(self, *problems: Exception) -> None:
        self.problems, self.at = list(problems), list[float]()
        self.clock, self.health = vtime.VirtualClock(), Health()
        self.troubles: list[dict[str, str]] = []

    async def __call__(self) -> str:
        self.at.append(self.clock.monotonic())
        self.troubles.append(self.health.report())
        if self.problems:
            raise self.problems.pop(0)
        return "answer"

    async def retried(self) -> str:
        return await Retry(self.clock, vtime.NullMeter(), self.health, Random(1))("call", self)

    @property
    def waits(self) -> list[float]:
        return [round(later - earlier, 6) for earlier, later in zip(self.at, self.at[1:], strict=False)]


def test_retry_repeats_an_unavailable_call_with_growing_pauses() -> None:
    """Full jitter below a limit that grows from 0.4 s to 20 s, and above 0.2 s: a shard allows five calls a second."""

    async def scenario() -> None:
        calls = _Calls(*(Unavailable("busy") for _ in range(12)))
        assert await calls.retried() == "answer"
        assert len(calls.waits) == 12
        limits = [min(20.0, 0.4 * 2**n) for n in range(12)]
        assert all(0.2 <= wait <= limit for wait, limit in zip(calls.waits, limits, strict=True)), calls.waits
        assert max(calls.waits) > 2.0

    vtime.run(scenario())


def test_retry_reports_trouble_while_a_call_is_denied() -> None:
    """It is repeated every thirty seconds. A first call that succeeds does not wait."""

    async def scenario() -> None:
        calls = _Calls(Denied("no"), Denied("no"))
        assert await calls.retried() == "answer"
        assert calls.waits == [30.0, 30.0]
        assert calls.troubles == [{}, {"call": "no"}, {"call": "no"}]
        assert calls.health.report() == {}
        at_once = _Calls()
        assert await at_once.retried() == "answer"
        assert at_once.waits == []

    vtime.run(scenario())


@pytest.mark.parametrize("before", [(), (Unavailable("busy"),)], ids=["at once", "after a retry"])
def test_retry_raises_other_errors_to_the_caller(before: tuple[Exception, ...]) -> None:
    async def scenario() -> None:
        calls = _Calls(*before, NotFound("no such key"))
        with pytest.raises(NotFound, match="no such key"):
            await calls.retried()
        assert len(calls.at) == 1 + len(before)

    vtime.run(scenario())


class _Outage:
    """Calls of two services that fail while `down`, in virtual time."""

    def __init__(self) -> None:
        self.clock, self.health, self.down, self.cause = vtime.VirtualClock(), Health(), True, "connection"
        self.kinesis = Retry(self.clock, vtime.NullMeter(), self.health, Random(1), "kinesis")
        self.store = self.kinesis.of("store")

    async def call(self) -> str:
        if self.down:
            raise Unavailable("read shard-1: connection refused", self.cause)
        return "answer"

    async def well(self) -> str:
        return "answer"

    def begin(self, *names: str) -> list[asyncio.Future[str]]:
        return [asyncio.ensure_future(self.kinesis(name, self.call)) for name in names]

    def troubles(self) -> dict[str, str]:
        return self.health.report()


def test_health_reports_a_service_once_when_no_call_succeeds_for_three_minutes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One entry and one log line for all its calls, with the last error; the first success clears it."""

    async def scenario() -> None:
        outage = _Outage()
        shards = [f"read shard-{number}" for number in range(200)]
        calls = outage.begin(*shards)
        await asyncio.sleep(170)
        assert outage.troubles() == {}
        await asyncio.sleep(35)
        troubles = outage.troubles()
        assert list(troubles) == ["kinesis"]
        assert troubles["kinesis"].startswith("no call has succeeded for 3 min; the last one: read shard-1: connection")
        outage.down = False
        assert await outage.call() == "answer"
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert outage.troubles() == {}
        await asyncio.gather(*calls)
        assert outage.troubles() == {}
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert [record.getMessage().partition(":")[0] for record in errors] == ["kinesis"]
        assert len([record for record in caplog.records if record.levelno == logging.WARNING]) <= 25

    vtime.run(scenario())


def test_health_counts_the_time_of_calls_that_hang_from_their_start() -> None:
    """A store that accepts connections and never answers: each call ends after a minute."""

    async def scenario() -> None:
        outage = _Outage()

        async def hangs() -> str:
            await asyncio.sleep(65)
            raise Unavailable("put x: timed out", "timeout")

        call = asyncio.ensure_future(outage.store("put x", hangs))
        await asyncio.sleep(179)
        assert outage.troubles() == {}
        await asyncio.sleep(45)
        assert list(outage.troubles()) == ["store"]
        call.cancel()

    vtime.run(scenario())


def test_health_reports_each_service_separately() -> None:
    """Successes of the store do not clear Kinesis."""

    async def scenario() -> None:
        outage = _Outage()
        calls = outage.begin("read shard-1")
        for _ in range(250):
            await outage.store("get x", outage.well)
            await outage.kinesis.of("store")("get y", outage.well)
            await asyncio.sleep(1)
        assert list(outage.troubles()) == ["kinesis"]
        outage.down = False
        await asyncio.gather(*calls)
        assert outage.troubles() == {}

    vtime.run(scenario())


def test_health_reports_nothing_when_no_calls_are_made() -> None:
    """However long ago the last one was, even if it failed."""

    async def scenario() -> None:
        outage = _Outage()
        [call] = outage.begin("read shard-1")
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.sleep(10_000)
        assert outage.troubles() == {}
        [call] = outage.begin("read shard-2")
        await asyncio.sleep(170)
        assert outage.troubles() == {}
        call.cancel()

    vtime.run(scenario())


@pytest.mark.parametrize("cause", ["credentials", "clock"])
def test_health_reports_bad_credentials_and_clocks_after_the_second_failure(cause: str) -> None:
    """A single failure may be a late renewal."""

    async def scenario() -> None:
        outage = _Outage()
        outage.cause = cause
        calls = outage.begin("read shard-1")
        await asyncio.sleep(0.1)
        assert outage.troubles() == {}
        await asyncio.sleep(3)
        assert outage.troubles() == {"kinesis": "read shard-1: connection refused"}
        outage.down = False
        await asyncio.gather(*calls)
        assert outage.troubles() == {}

    vtime.run(scenario())


def test_health_reports_one_call_that_fails_for_minutes_while_others_succeed() -> None:
    """Under its own name: a shard that cannot be read holds back the hours of all."""

    async def scenario() -> None:
        outage = _Outage()
        calls = outage.begin("read shard-1")
        for _ in range(250):
            await outage.kinesis("read shard-2", outage.well)
            await asyncio.sleep(1)
        assert list(outage.troubles()) == ["read shard-1"]
        assert "has failed for" in outage.troubles()["read shard-1"]
        outage.down = False
        await asyncio.gather(*calls)
        assert outage.troubles() == {}

    vtime.run(scenario())


def test_health_drops_the_trouble_of_a_cancelled_call() -> None:
    """Its shard moved to another worker, so no success would ever clear it."""

    async def scenario() -> None:
        clock, health = vtime.VirtualClock(), Health()

        async def denied() -> str:
            raise Denied("no")

        call = asyncio.ensure_future(Retry(clock, vtime.NullMeter(), health, Random(1))("read shard-1", denied))
        await asyncio.sleep(1)
        assert health.report() == {"read shard-1": "no"}
        call.cancel()
        await asyncio.sleep(1)
        assert health.report() == {}

    vtime.run(scenario())
