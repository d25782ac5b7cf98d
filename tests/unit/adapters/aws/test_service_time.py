"""The services' time: learned from refusals alone, when two agree, and given up when it does not help."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from email.utils import formatdate

import pytest

from vortex.adapters.aws.service_time import ServiceClock

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
        """The time that a signature gets."""
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
def test_two_refusals_whose_dates_agree_set_the_time(
    caplog: pytest.LogCaptureFixture, behind: float, code: str, message: str
) -> None:
    """One alone does not; it is said once, with how far."""
    clock = Clock(behind)
    assert clock.refuse(code, message) and clock.offset == 0
    clock.passed = 2
    assert clock.refuse(code, message)
    assert clock.offset == pytest.approx(behind, abs=1)
    assert clock.now() == pytest.approx(NOW + 2, abs=1)
    assert clock.signs_at() == datetime.fromtimestamp(NOW + 2, UTC).strftime("%Y%m%dT%H%M%SZ")
    [line] = [record.getMessage() for record in caplog.records]
    assert f"{abs(behind):.0f} s {'behind' if behind > 0 else 'ahead of'}" in line


def test_a_clock_that_is_right_signs_by_itself() -> None:
    """The context is botocore's own."""
    clock = Clock()
    context = {"a": 1}
    assert clock.stamped(context) is context
    assert clock.signs_at() == "by the local clock"


@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure", "AccessDenied"])
def test_a_wrong_key_is_no_wrong_time(code: str) -> None:
    """Where the Date of the reply is the time that was signed."""
    clock = Clock(behind=100)
    assert clock.refused(code, "m", formatdate(NOW, usegmt=True)) is None
    assert clock.offset == 0


def test_dates_that_disagree_set_nothing() -> None:
    """Whichever of them is right."""
    clock = Clock()
    for off in (7200, -7200, 3600, 86_000):
        clock.passed += 1
        assert clock.refuse(off=off)
        assert clock.offset == 0


def test_dates_of_two_occasions_set_nothing() -> None:
    """What was wrong may have been mended meanwhile."""
    clock = Clock()
    clock.refuse(off=7200)
    clock.passed += 3600
    clock.refuse(off=7200)
    assert clock.offset == 0


def test_what_other_services_let_pass_does_not_hide_a_wrong_clock() -> None:
    """Six minutes are too many for Kinesis, and few for S3."""
    clock = Clock(behind=360)
    clock.refuse()
    clock.accepted()
    clock.refuse()
    assert clock.offset == 360


@pytest.mark.parametrize("off", [90_000, -400_000, 60 * 365 * 86_400])
def test_a_date_of_another_day_is_not_believed(off: float) -> None:
    """And how far it is is said."""
    clock = Clock()
    for _ in range(4):
        refusal = clock.refused("RequestTimeTooSkewed", "", formatdate(NOW + off, usegmt=True))
        assert refusal is not None and not refusal.again
        assert f"{abs(off):.0f} s" in refusal.detail
    assert clock.offset == 0


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 31 Dec 99999 23:59:59 GMT", "0"])
def test_a_reply_without_a_date_sets_nothing(date: str) -> None:
    """A refusal for the time stays one."""
    clock = Clock()
    for _ in range(3):
        refusal = clock.refused("RequestTimeTooSkewed", "", date)
        assert refusal is not None and not refusal.again
    assert clock.refused("SignatureDoesNotMatch", "m", date) is None


def test_a_correction_ends_when_the_local_clock_is_set_right() -> None:
    """Its signatures are refused then, and two Dates agree with the local clock."""
    clock = Clock(behind=3600)
    assert clock.refuse() and clock.refuse() and clock.offset == 3600
    clock.behind = 0
    assert clock.refuse() and clock.refuse() and clock.offset == 0
    assert clock.signs_at() == "by the local clock"


def test_a_correction_that_does_not_help_is_dropped() -> None:
    """A proxy has given wrong Dates to both."""
    clock = Clock()
    assert clock.refuse(off=7200) and clock.refuse(off=7200) and clock.offset == 7200
    assert clock.refuse(off=7200)
    assert clock.offset == 0


def test_nothing_is_said_of_what_a_reply_does_not_refuse(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever its Date."""
    clock = Clock(behind=7200)
    with caplog.at_level(logging.DEBUG):
        assert clock.refused("AccessDenied", "no", formatdate(NOW, usegmt=True)) is None
        assert clock.refused("", "", formatdate(NOW, usegmt=True)) is None
    assert not caplog.records
