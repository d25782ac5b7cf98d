"""Credentials in virtual time: who waits for a renewal, when the next one comes, what is said."""

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
    """A source that gives pair after pair, each good for `life`, or fails, and takes `takes` seconds."""

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


def test_two_hundred_shards_wait_for_one_question() -> None:
    """At the start; and whoever comes later asks nothing."""

    async def scenario() -> None:
        source = Source(takes=1.0)
        assert set(await asyncio.gather(*(source.key() for _ in range(200)))) == {"AK1"}
        assert await source.key() == "AK1"
        assert source.asked == [1.0]

    vtime.run(scenario())


def test_nobody_waits_for_a_renewal_while_the_present_ones_are_good() -> None:
    """It begins a quarter of an hour before they expire, takes ten seconds, and is the only one."""

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


def test_credentials_of_seconds_are_renewed_at_half_of_their_life() -> None:
    """A quarter of an hour before their end would be always."""

    async def scenario() -> None:
        source = Source(life=20.0)
        for _ in range(200):
            await source.key()
            await asyncio.sleep(0.5)
        assert [round(later - earlier) for earlier, later in zip(source.asked, source.asked[1:], strict=False)] == [
            10
        ] * 9

    vtime.run(scenario())


def test_a_renewal_that_fails_is_tried_again_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """The present ones go on until the source is well: one line, which names the source, no secret in it."""

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
        said = [line for line in lines(caplog) if "not renewed" in line]
        assert said == [
            "credentials: not renewed: container endpoint 127.0.0.1:80: it answered HTTP 500; going on with those from "
            "container endpoint 127.0.0.1:80, good until 2023-11-14T23:13:20Z"
        ]
        source.failing = ""
        for _ in range(61):
            await source.key()
            await asyncio.sleep(1)
        assert await source.key() != "AK1"

    vtime.run(scenario())


def test_a_source_that_fails_differently_each_time_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """It is one trouble, however it shows."""

    async def scenario() -> None:
        source = Source(life=240.0)
        await source.key()
        for second in range(200):
            source.failing = f"it answered HTTP {500 + second % 9}"
            await source.key()
            await asyncio.sleep(1)
        said = [line for line in lines(caplog) if "not renewed" in line]
        assert source.counts.count("failed") > 5
        assert len(said) == 2

    vtime.run(scenario())


def test_what_has_expired_is_unavailable_and_back_without_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    """Named: source, reason, and since when. All ask once together, ten seconds apart at most."""

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
        assert len([line for line in lines(caplog, logging.ERROR) if "none that are valid" in line]) == 1
        source.failing = ""
        await asyncio.sleep(10)
        assert (await source.key()).startswith("AK")

    vtime.run(scenario())


def test_a_source_that_hangs_is_not_waited_for_for_ever() -> None:
    """A call ends after twenty seconds as unavailable; the answer is taken when it comes."""

    async def scenario() -> None:
        source = Source(takes=50.0)
        with pytest.raises(Unavailable, match="the source does not answer"):
            await source.key()
        await asyncio.sleep(31)
        assert await source.key() == "AK1"
        assert source.asked == [50.0]

    vtime.run(scenario())


def test_a_question_that_is_never_answered_is_asked_again() -> None:
    """A disk may hang that is not needed."""

    async def scenario() -> None:
        source = Source(takes=1e9)
        with pytest.raises(Unavailable):
            await source.key()
        await asyncio.sleep(290)
        assert "none has answered within 300 s" in source.credentials.told()
        source.takes = 1.0
        assert await source.key() == "AK1"

    vtime.run(scenario())


def test_credentials_that_have_expired_already_are_not_taken() -> None:
    """A stale endpoint: the present ones stay, and it is a failure like others."""

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
        with pytest.raises(Unavailable, match="it gave credentials that expired at"):
            await source.key()

    vtime.run(scenario())


def test_the_service_says_whether_they_have_expired_while_no_reply_has_confirmed_the_clock() -> None:
    """Of a machine whose clock is hours ahead, all credentials seem old; the first reply tells."""

    async def scenario() -> None:
        source = Source(life=-60.0)
        source.clock.trusted = False
        assert await source.key() == "AK1"
        source.clock.accepted()
        await asyncio.sleep(2)
        with pytest.raises(Unavailable, match="expired"):
            await source.key()

    vtime.run(scenario())


def test_refused_credentials_are_asked_for_anew_by_the_next_call() -> None:
    """One question for all; those that are refused again are asked for less and less often."""

    async def scenario() -> None:
        source = Source(life=None)
        assert await source.key() == "AK1"
        await asyncio.sleep(60)
        assert all(await asyncio.gather(*(source.credentials.refused(sure=False) for _ in range(50))))
        assert set(await asyncio.gather(*(source.key() for _ in range(50)))) == {"AK2"}
        assert len(source.asked) == 2
        source.same = True
        await asyncio.sleep(60)
        assert await source.credentials.refused(sure=True)
        begun = len(source.asked)
        for _ in range(600):
            assert not await source.credentials.refused(sure=True)
            assert await source.key() == "AK1"
            await asyncio.sleep(1)
        assert 8 <= len(source.asked) - begun <= 18

    vtime.run(scenario())


def test_a_call_that_was_signed_before_a_renewal_may_be_made_again() -> None:
    """Its refusal is of the ones before: nothing is asked."""

    async def scenario() -> None:
        source = Source()
        await source.key()
        await asyncio.sleep(100)
        assert await source.credentials.refused(sure=False)
        assert await source.key() == "AK2"
        assert await source.credentials.refused(sure=False)
        assert await source.key() == "AK2"
        assert await source.credentials.refused(sure=True)
        assert await source.key() == "AK3"

    vtime.run(scenario())


def test_a_changed_file_is_read_within_seconds() -> None:
    """And one that was not there before."""

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


def test_a_changed_file_is_read_at_once_where_there_are_no_credentials() -> None:
    """Whatever pause the last failure has left."""

    async def scenario() -> None:
        source = Source(failing="none found")
        for _ in range(10):
            with pytest.raises(Unavailable, match="none found"):
                await source.key()
            await asyncio.sleep(3)
        source.failing, source.files = "", (("credentials", 1),)
        assert (await source.key()).startswith("AK")

    vtime.run(scenario())


def test_calls_that_ask_for_the_account_look_at_no_files() -> None:
    """Every ordinary call does so, before it is signed."""

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


def test_the_account_is_not_waited_for_long() -> None:
    """Clients are made with it: those of a service start without."""

    async def scenario() -> None:
        source = Source(takes=15.0)
        assert await source.credentials.get_account_id() is None
        assert asyncio.get_running_loop().time() == 5.0
        failing = Source(failing="none found")
        assert await failing.credentials.get_account_id() is None

    vtime.run(scenario())


def test_what_a_person_is_told() -> None:
    """Source and end, for `vortex check`."""

    async def scenario() -> None:
        source = Source()
        await source.key()
        assert source.credentials.told() == "container endpoint 127.0.0.1:80, good until 2023-11-14T23:13:20Z"
        forever = Source(life=None)
        await forever.key()
        assert forever.credentials.told() == "container endpoint 127.0.0.1:80, which do not expire"
        none = Source(failing="none found")
        with pytest.raises(Unavailable):
            await none.key()
        assert none.credentials.told().startswith("no valid AWS credentials: container endpoint 127.0.0.1:80: none")

    vtime.run(scenario())


def test_a_clock_that_jumps_makes_nothing_expire_that_is_not_asked_for_anew() -> None:
    """NTP sets it two hours ahead: the next call renews."""

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
