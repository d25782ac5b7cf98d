"""Renewal of credentials in virtual time: which calls wait for it, when the next one starts, what is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials

from simulation import vtime
from vortex.adapters.aws.credential_sources import Found, SourceFailed
from vortex.adapters.aws.credentials import Credentials
from vortex.adapters.aws.service_time import ServiceClock
from vortex.ports import Unavailable

EPOCH = 1_700_000_000.0
LIFE = 3600.0


@dataclass
class Source:
    """A source that returns new credentials each time, each valid for `life`, or fails; a request takes `takes`
    seconds.
    """

    life: float | None = LIFE
    failing: str = ""
    takes: float = 0.0
    same: bool = False
    asked: list[float] = field(default_factory=list)
    files: tuple[object, ...] = ()
    counts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.clock = ServiceClock(lambda: EPOCH + loop.time(), loop.time)
        self.clock.accepted()
        self.credentials = Credentials(
            self.clock, self.find, lambda: self.files, offload=self._offloaded, rng=Random(1)
        )
        self.credentials.count = self.counts.append

    async def _offloaded(self, fn: Callable[..., Any], /, *args: object) -> Any:
        if fn == self.find:
            await asyncio.sleep(self.takes)
        return fn(*args)

    def find(self, first: bool) -> Found:
        now = asyncio.get_running_loop().time()
        self.asked.append(now)
        if self.failing:
            raise SourceFailed("container endpoint 127.0.0.1:80", self.failing)
        number = 1 if self.same else len(self.asked)
        frozen = ReadOnlyCredentials(f"AK{number}", f"secret-{number}", "token", None)
        return Found(frozen, "container endpoint 127.0.0.1:80", None if self.life is None else EPOCH + now + self.life)

    async def key(self) -> str:
        return str((await self.credentials.get_frozen_credentials()).access_key)


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


def test_concurrent_calls_wait_for_one_request_of_credentials() -> None:
    """Later calls make none."""

    async def scenario() -> None:
        source = Source(takes=1.0)
        assert set(await asyncio.gather(*(source.key() for _ in range(200)))) == {"AK1"}
        assert await source.key() == "AK1"
        assert source.asked == [1.0]

    vtime.run(scenario())


def test_calls_use_valid_credentials_while_a_renewal_is_running() -> None:
    """It starts 15 minutes before they expire, takes ten seconds, and is the only one."""

    async def scenario() -> None:
        source = Source()
        await source.key()
        await asyncio.sleep(LIFE - 900 + 1)
        source.takes = 10.0
        begun = asyncio.get_running_loop().time()
        assert set(await asyncio.gather(*(source.key() for _ in range(200)))) == {"AK1"}
        assert asyncio.get_running_loop().time() == begun
        await asyncio.sleep(11)
        assert await source.key() == "AK2"
        assert len(source.asked) == 2

    vtime.run(scenario())


def test_credentials_with_a_short_life_are_renewed_at_half_of_it() -> None:
    """Fifteen minutes before their end would be all the time."""

    async def scenario() -> None:
        source = Source(life=20.0)
        for _ in range(200):
            await source.key()
            await asyncio.sleep(0.5)
        assert [round(later - earlier) for earlier, later in zip(source.asked, source.asked[1:], strict=False)] == [
            10
        ] * 9

    vtime.run(scenario())


def test_a_failed_renewal_is_retried_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The current credentials stay in use. The log line names the source and holds no secret."""

    async def scenario() -> None:
        source = Source()
        await source.key()
        await asyncio.sleep(LIFE - 900)
        source.failing = "it answered HTTP 500"
        for _ in range(100):
            assert await source.key() == "AK1"
            await asyncio.sleep(1)
        assert 2 <= len(source.asked) - 1 <= 4
        assert source.counts.count("failed") == len(source.asked) - 1
        warnings = [line for line in lines(caplog) if "not renewed" in line]
        assert warnings == [
            "credentials: not renewed: container endpoint 127.0.0.1:80: it answered HTTP 500; still using those from "
            "container endpoint 127.0.0.1:80, valid until 2023-11-14T23:13:20Z"
        ]
        source.failing = ""
        for _ in range(61):
            await source.key()
            await asyncio.sleep(1)
        assert await source.key() != "AK1"

    vtime.run(scenario())


def test_failed_renewals_are_logged_at_most_once_a_minute_when_the_reasons_vary(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        source = Source(life=240.0)
        await source.key()
        for second in range(200):
            source.failing = f"it answered HTTP {500 + second % 9}"
            await source.key()
            await asyncio.sleep(1)
        warnings = [line for line in lines(caplog) if "not renewed" in line]
        assert source.counts.count("failed") > 5
        assert len(warnings) == 2

    vtime.run(scenario())


def test_expired_credentials_make_calls_unavailable_until_the_source_recovers(caplog: pytest.LogCaptureFixture) -> None:
    """With source, reason and time of expiry. All calls share one request, at most every ten seconds."""

    async def scenario() -> None:
        source = Source()
        await source.key()
        source.failing = "it cannot be reached"
        await asyncio.sleep(LIFE + 1)
        with pytest.raises(Unavailable) as caught:
            await source.key()
        assert caught.value.cause == "credentials"
        assert "expired at 2023-11-14T23:13:20Z" in str(caught.value)
        assert "container endpoint 127.0.0.1:80: it cannot be reached" in str(caught.value)
        before = len(source.asked)
        for _ in range(60):
            failed = await asyncio.gather(*(source.key() for _ in range(20)), return_exceptions=True)
            assert all(isinstance(each, Unavailable) for each in failed)
            await asyncio.sleep(1)
        assert 6 <= len(source.asked) - before <= 30
        assert len([line for line in lines(caplog, logging.ERROR) if "no valid credentials" in line]) == 1
        source.failing = ""
        await asyncio.sleep(10)
        assert (await source.key()).startswith("AK")

    vtime.run(scenario())


def test_a_call_ends_as_unavailable_after_twenty_seconds_when_the_source_hangs() -> None:
    """The answer is used when it arrives."""

    async def scenario() -> None:
        source = Source(takes=50.0)
        with pytest.raises(Unavailable, match="the source does not answer"):
            await source.key()
        await asyncio.sleep(31)
        assert await source.key() == "AK1"
        assert source.asked == [50.0]

    vtime.run(scenario())


def test_a_request_without_an_answer_is_repeated_after_five_minutes() -> None:
    """A thread can hang on a disk for good."""

    async def scenario() -> None:
        source = Source(takes=1e9)
        with pytest.raises(Unavailable):
            await source.key()
        await asyncio.sleep(290)
        assert "none has answered within 300 s" in source.credentials.description()
        source.takes = 1.0
        assert await source.key() == "AK1"

    vtime.run(scenario())


def test_credentials_that_are_expired_when_they_arrive_are_ignored() -> None:
    """The current ones stay in use, and it counts as a failure."""

    async def scenario() -> None:
        source = Source()
        await source.key()
        await asyncio.sleep(LIFE - 900)
        source.life = -60.0
        for _ in range(10):
            assert await source.key() == "AK1"
            await asyncio.sleep(1)
        assert source.counts == ["renewed", "failed"]
        await asyncio.sleep(900)
        with pytest.raises(Unavailable, match="it returned credentials that expired at"):
            await source.key()

    vtime.run(scenario())


def test_credentials_that_seem_expired_are_used_until_a_reply_confirms_the_clock() -> None:
    """On a machine whose clock is hours ahead, all credentials seem expired."""

    async def scenario() -> None:
        source = Source(life=-60.0)
        source.clock.trusted = False
        assert await source.key() == "AK1"
        source.clock.accepted()
        await asyncio.sleep(2)
        with pytest.raises(Unavailable, match="expired"):
            await source.key()

    vtime.run(scenario())


def test_refused_credentials_are_renewed_by_the_next_call_with_growing_pauses() -> None:
    """One request serves all calls."""

    async def scenario() -> None:
        source = Source(life=None)
        assert await source.key() == "AK1"
        await asyncio.sleep(60)
        assert all(await asyncio.gather(*(source.credentials.refused(current=False) for _ in range(50))))
        assert set(await asyncio.gather(*(source.key() for _ in range(50)))) == {"AK2"}
        assert len(source.asked) == 2
        source.same = True
        await asyncio.sleep(60)
        assert await source.credentials.refused(current=True)
        begun = len(source.asked)
        for _ in range(600):
            assert not await source.credentials.refused(current=True)
            assert await source.key() == "AK1"
            await asyncio.sleep(1)
        assert 8 <= len(source.asked) - begun <= 18

    vtime.run(scenario())


def test_a_refused_call_that_was_signed_before_a_renewal_is_repeated_without_another_renewal() -> None:
    async def scenario() -> None:
        source = Source()
        await source.key()
        await asyncio.sleep(100)
        assert await source.credentials.refused(current=False)
        assert await source.key() == "AK2"
        assert await source.credentials.refused(current=False)
        assert await source.key() == "AK2"
        assert await source.credentials.refused(current=True)
        assert await source.key() == "AK3"

    vtime.run(scenario())


def test_a_changed_credentials_file_is_read_within_seconds() -> None:
    async def scenario() -> None:
        source = Source(life=None)
        assert await source.key() == "AK1"
        await asyncio.sleep(60)
        assert await source.key() == "AK1"
        assert len(source.asked) == 1
        source.files = (("credentials", 1),)
        await asyncio.sleep(6)
        await source.key()
        await asyncio.sleep(0)
        assert await source.key() == "AK2"

    vtime.run(scenario())


def test_a_changed_credentials_file_is_read_at_once_when_there_are_no_credentials() -> None:
    """Without the pause after the last failure."""

    async def scenario() -> None:
        source = Source(failing="none found")
        for _ in range(10):
            with pytest.raises(Unavailable, match="none found"):
                await source.key()
            await asyncio.sleep(3)
        source.failing, source.files = "", (("credentials", 1),)
        assert (await source.key()).startswith("AK")

    vtime.run(scenario())


def test_calls_check_the_credential_files_only_every_few_seconds() -> None:
    """Each ordinary call asks for the account id before it is signed."""

    async def scenario() -> None:
        source = Source(life=None)
        looks = 0

        def files() -> object:
            nonlocal looks
            looks += 1
            return ()

        source.credentials._files = files
        for _ in range(100):
            assert await source.credentials.get_account_id() is None
            await source.key()
            await asyncio.sleep(0.1)
        assert looks <= 3

    vtime.run(scenario())


def test_get_account_id_returns_none_after_five_seconds() -> None:
    """Clients of a service are created without it."""

    async def scenario() -> None:
        source = Source(takes=15.0)
        assert await source.credentials.get_account_id() is None
        assert asyncio.get_running_loop().time() == 5.0
        failing = Source(failing="none found")
        assert await failing.credentials.get_account_id() is None

    vtime.run(scenario())


def test_description_names_source_and_expiry() -> None:
    """For `vortex check`."""

    async def scenario() -> None:
        source = Source()
        await source.key()
        assert source.credentials.description() == "container endpoint 127.0.0.1:80, valid until 2023-11-14T23:13:20Z"
        forever = Source(life=None)
        await forever.key()
        assert forever.credentials.description() == "container endpoint 127.0.0.1:80, without expiry"
        none = Source(failing="none found")
        with pytest.raises(Unavailable):
            await none.key()
        assert none.credentials.description().startswith(
            "no valid AWS credentials: container endpoint 127.0.0.1:80: none"
        )

    vtime.run(scenario())


def test_credentials_are_renewed_by_the_next_call_when_the_clock_jumps_ahead() -> None:
    """NTP sets it two hours ahead."""

    async def scenario() -> None:
        source = Source()
        await source.key()
        ahead = [7200.0]
        loop = asyncio.get_running_loop()
        source.clock._local = lambda: EPOCH + loop.time() + ahead[0]
        source.life = LIFE + 7200
        await asyncio.sleep(6)
        assert await source.key() == "AK2"

    vtime.run(scenario())
