"""Corrects the time of signatures, and of credentials' expiry, where the local clock is wrong.

AWS refuses signatures that are more than five minutes off (S3: fifteen). botocore signs by the local clock without a
correction (https://github.com/boto/boto3/issues/1252). Like other SDKs, this module takes the time from the Date header
of such a refusal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

log = logging.getLogger(__name__)

_OF_TIME = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
"""Error codes that are only about the time of the signature."""
_PERHAPS = {"InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure", "InvalidSignature"}
"""Error codes for both a wrong time and a wrong key; the message or the Date of the reply tells which."""
_WORDS = ("signature expired", "not yet current", "too skewed")
_TOLERATED_S = 240.0
"""Less than every service tolerates, minus the time of a reply. A refusal with a smaller offset has another reason."""
_AGREE_S = 30.0
_LATELY_S = 600.0
_FARTHEST_S = 86_400.0
"""A Date more than a day off is not used: the local clock must be set instead."""


def http_date(text: str) -> float:
    """A Date header in epoch seconds. Raises ValueError, TypeError or OverflowError for anything else.

    One without a zone (`asctime` of RFC 9110, section 5.6.7) is in UTC, never in the local time zone.
    """
    date = parsedate_to_datetime(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A signature was refused for its time: what to report, and whether to sign and send again at once."""

    detail: str
    again: bool = False


class ServiceClock:
    """The local clock, plus the offset to the services' clock once two refusals agree on it."""

    def __init__(self, local: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.offset = 0.0
        """Seconds that the services are ahead of the local clock; 0 while they accept the local time."""
        self.trusted = False
        """Whether any reply has confirmed the time."""
        self.monotonic = monotonic
        self._local = local
        self._seen: tuple[float, float] | None = None

    def now(self) -> float:
        """Epoch seconds by the services' clock."""
        return self._local() + self.offset

    def accepted(self) -> None:
        """A reply did not refuse the time. The offset stays: S3 tolerates more than Kinesis."""
        self.trusted = True

    def refused(self, code: str, message: str, date: str) -> Refusal | None:
        """What an error reply with that Date says about the time; None where it is about something else.

        One Date changes nothing: the next refusal has to agree.
        """
        certain = code in _OF_TIME or any(word in message.lower() for word in _WORDS)
        if not certain and code not in _PERHAPS:
            return None
        try:
            ahead = http_date(date) - self._local()
        except (ValueError, TypeError, OverflowError):
            return Refusal("the reply has no Date header; check the local clock") if certain else None
        if not certain and abs(ahead - self.offset) < _TOLERATED_S:
            return None
        which = "behind" if ahead > 0 else "ahead of"
        detail = f"the local clock is {abs(ahead):.0f} s {which} the service's; set it right"
        if abs(ahead) > _FARTHEST_S:
            return Refusal(detail)
        if abs(ahead - self.offset) < _TOLERATED_S:
            # The signature had the time of the reply and was still refused: drop a correction that does not help.
            again, self.offset = self.offset != 0, 0.0
            return Refusal("the service refuses the time of a signature that agrees with its own Date", again)
        return Refusal(detail, again=self._learn(ahead, detail))

    def _learn(self, ahead: float, detail: str) -> bool:
        """Use the offset once two Dates agree. Always True: the next reply may agree, or the next signature pass."""
        now, before = self.monotonic(), self._seen
        self._seen = (ahead, now)
        if before is None or abs(before[0] - ahead) > _AGREE_S or now - before[1] > _LATELY_S:
            return True
        self._seen = None
        self.offset = ahead if abs(ahead) >= _TOLERATED_S else 0.0
        if self.offset:
            log.warning("clock: %s; until then requests are signed by the service's time", detail)
        else:
            log.info("clock: the local clock is right again")
        return True

    def stamped(self, context: dict[str, Any]) -> dict[str, Any]:
        """A signing context (`AWSRequest.context`) that makes signers use this time instead of the local clock."""
        return _Stamped(context, self.now()) if self.offset else context


class _Stamped(dict[str, Any]):
    """A context that replaces `timestamp`, where botocore's signers store the time and from where they read it."""

    def __init__(self, context: dict[str, Any], now: float) -> None:
        super().__init__(context)
        self._stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, self._stamp if key == "timestamp" else value)
