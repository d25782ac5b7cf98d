"""The services' time: learned from refusals when two agree, and dropped when it does not help."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from email.utils import formatdate

import pytest

from vortex.adapters.aws.service_time import ServiceClock, http_date

NOW = 1_790_000_000.0
OLD = "Signature expired: 20260921T100000Z is now earlier than 20260921T105500Z (20260921T110000Z - 5 min.)"


class Clock(ServiceClock):
    """A clock of a machine that is `behind` seconds behind the services."""

    def __init__(self, behind: float = 0.0) -> None:
        self.behind, self.passed = behind, 0.0
        super().__init__(lambda: NOW + self.passed - self.behind, lambda: self.passed)

    def refuse(self, code: str = "RequestTimeTooSkewed", message: str = "", off: float = 0.0) -> bool:
        """A refusal by a service whose Date is `off`; whether to try again."""
        refusal = self.refused(code, message, formatdate(NOW + self.passed + off, usegmt=True))
        return refusal is not None and refusal.again

    def signs_at(self) -> str:
        """The time of a signature."""
        context = self.stamped({})
        context["timestamp"] = "by the local clock"
        return str(context["timestamp"])


@pytest.mark.parametrize("behind", [3600.0, -3600.0, 400.0, -400.0, 80_000.0])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("RequestTimeTooSkewed", ""),
        ("InvalidSignatureException", OLD),
        ("InvalidSignatureException", "Signature not yet current: 20260921T110000Z is still later than"),
        ("SignatureDoesNotMatch", OLD),
        ("InvalidSignatureException", "The request signature we calculated does not match"),
        ("SignatureDoesNotMatch", "m"),
        ("RequestExpired", ""),
        ("RequestInTheFuture", ""),
        ("AuthFailure", ""),
    ],
)
def test_clock_is_corrected_when_the_dates_of_two_refusals_agree(
    caplog: pytest.LogCaptureFixture, behind: float, code: str, message: str
) -> None:
    """One refusal is not enough. The correction is logged once, with its size."""
    clock = Clock(behind)
    assert clock.refuse(code, message) and clock.offset == 0
    clock.passed = 2
    assert clock.refuse(code, message)
    assert clock.offset == pytest.approx(behind, abs=1)
    assert clock.now() == pytest.approx(NOW + 2, abs=1)
    assert clock.signs_at() == datetime.fromtimestamp(NOW + 2, UTC).strftime("%Y%m%dT%H%M%SZ")
    [line] = [record.getMessage() for record in caplog.records]
    assert f"{abs(behind):.0f} s {'behind' if behind > 0 else 'ahead of'}" in line


def test_stamped_changes_nothing_without_a_correction() -> None:
    """The context is botocore's own."""
    clock = Clock()
    context = {"a": 1}
    assert clock.stamped(context) is context
    assert clock.signs_at() == "by the local clock"


@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure", "AccessDenied"])
def test_refused_ignores_a_refusal_whose_date_is_the_signed_time(code: str) -> None:
    """The credentials are wrong, not the time."""
    clock = Clock(behind=100)
    assert clock.refused(code, "m", formatdate(NOW, usegmt=True)) is None
    assert clock.offset == 0


def test_clock_is_not_corrected_when_dates_disagree() -> None:
    clock = Clock()
    for off in (7200, -7200, 3600, 86_000):
        clock.passed += 1
        assert clock.refuse(off=off)
        assert clock.offset == 0


def test_clock_is_not_corrected_by_refusals_an_hour_apart() -> None:
    """The fault may be repaired in between."""
    clock = Clock()
    clock.refuse(off=7200)
    clock.passed += 3600
    clock.refuse(off=7200)
    assert clock.offset == 0


def test_clock_is_corrected_when_other_services_accept_its_time() -> None:
    """Six minutes are too much for Kinesis, and accepted by S3."""
    clock = Clock(behind=360)
    clock.refuse()
    clock.accepted()
    clock.refuse()
    assert clock.offset == 360


@pytest.mark.parametrize("off", [90_000, -400_000, 60 * 365 * 86_400])
def test_refused_does_not_correct_the_clock_by_a_day_or_more(off: float) -> None:
    """The message says how far it is off."""
    clock = Clock()
    for _ in range(4):
        refusal = clock.refused("RequestTimeTooSkewed", "", formatdate(NOW + off, usegmt=True))
        assert refusal is not None and not refusal.again
        assert f"{abs(off):.0f} s" in refusal.detail
    assert clock.offset == 0


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 31 Dec 99999 23:59:59 GMT", "0"])
def test_refused_does_not_correct_the_clock_without_a_date(date: str) -> None:
    """A refusal of the time is still reported as one."""
    clock = Clock()
    for _ in range(3):
        refusal = clock.refused("RequestTimeTooSkewed", "", date)
        assert refusal is not None and not refusal.again
    assert clock.refused("SignatureDoesNotMatch", "m", date) is None


def test_http_date_is_in_utc_when_it_has_no_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    try:
        assert http_date("Tue Dec 18 07:05:09 2018") == http_date("Tue, 18 Dec 2018 07:05:09 GMT") == 1_545_116_709
    finally:
        monkeypatch.undo()
        time.tzset()


def test_correction_ends_when_the_local_clock_is_set_right() -> None:
    """Corrected signatures are refused then, and two Dates agree with the local clock."""
    clock = Clock(behind=3600)
    assert clock.refuse() and clock.refuse() and clock.offset == 3600
    clock.behind = 0
    assert clock.refuse() and clock.refuse() and clock.offset == 0
    assert clock.signs_at() == "by the local clock"


def test_correction_is_dropped_when_the_next_call_is_refused() -> None:
    """For example, a proxy sent wrong Dates in both replies."""
    clock = Clock()
    assert clock.refuse(off=7200) and clock.refuse(off=7200) and clock.offset == 7200
    assert clock.refuse(off=7200)
    assert clock.offset == 0


def test_refused_ignores_errors_that_are_not_about_the_signature(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever their Date; nothing is logged."""
    clock = Clock(behind=7200)
    with caplog.at_level(logging.DEBUG):
        assert clock.refused("AccessDenied", "no", formatdate(NOW, usegmt=True)) is None
        assert clock.refused("", "", formatdate(NOW, usegmt=True)) is None
    assert not caplog.records
