"""The services' time, for signatures and for when credentials expire, where the local clock is wrong.

AWS refuses signatures that are more than five minutes off (S3: fifteen). botocore signs by the local clock, and
corrects nothing (https://github.com/boto/boto3/issues/1252); other SDKs take the Date of such a refusal for the time,
and so does this.
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
"""Refusals for the time of the signature and nothing else."""
_PERHAPS = {"InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure", "InvalidSignature"}
"""What a wrong time and a wrong key are both answered with; words or the reply's Date tell them apart."""
_WORDS = ("signature expired", "not yet current", "too skewed")
_TOLERATED_S = 240.0
"""What every service lets pass, less what a reply takes: closer to it, a refusal has another reason."""
_AGREE_S = 30.0
_LATELY_S = 600.0
_FARTHEST_S = 86_400.0
"""A Date that is farther off than a day is not believed: a machine that knows so little needs its clock set."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A signature was refused for its time: what to say of it, and whether to sign and send again at once."""

    detail: str
    again: bool = False


class ServiceClock:
    """The local clock and, after two refusals whose Dates agree, the difference between the two."""

    def __init__(self, local: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.offset = 0.0
        """Seconds that the services are ahead of the local clock; 0 while signatures are accepted by it."""
        self.trusted = False
        """Whether a reply has come that did not refuse the time."""
        self.monotonic = monotonic
        self._local = local
        self._seen: tuple[float, float] | None = None

    def now(self) -> float:
        """Epoch seconds, as the services count them."""
        return self._local() + self.offset

    def accepted(self) -> None:
        """A reply has come that did not refuse the time; others still may: S3 lets pass what Kinesis refuses."""
        self.trusted = True

    def refused(self, code: str, message: str, date: str) -> Refusal | None:
        """What an error reply with that Date says about the time; None where it is about something else.

        One Date alone changes nothing: the next refusal has to agree.
        """
        certain = code in _OF_TIME or any(word in message.lower() for word in _WORDS)
        if not certain and code not in _PERHAPS:
            return None
        try:
            ahead = parsedate_to_datetime(date).timestamp() - self._local()
        except (ValueError, TypeError, OverflowError):
            return Refusal("the reply has no Date to go by; is the local clock right?") if certain else None
        if not certain and abs(ahead - self.offset) < _TOLERATED_S:
            return None
        which = "behind" if ahead > 0 else "ahead of"
        told = f"the local clock is {abs(ahead):.0f} s {which} the service's; set it right"
        if abs(ahead) > _FARTHEST_S:
            return Refusal(told)
        if abs(ahead - self.offset) < _TOLERATED_S:
            # Signed with the time of the reply, and refused for the time: a correction that does not help is dropped.
            again, self.offset = self.offset != 0, 0.0
            return Refusal("the service refuses the time of a signature that is right by its own Date", again)
        return Refusal(told, again=self._learn(ahead, told))

    def _learn(self, ahead: float, told: str) -> bool:
        """Take over what two Dates agree on. Always True: the next reply may agree, or the next signature be right."""
        now, before = self.monotonic(), self._seen
        self._seen = (ahead, now)
        if before is None or abs(before[0] - ahead) > _AGREE_S or now - before[1] > _LATELY_S:
            return True
        self._seen = None
        self.offset = ahead if abs(ahead) >= _TOLERATED_S else 0.0
        if self.offset:
            log.warning("clock: %s; until then requests are signed by the service's", told)
        else:
            log.info("clock: the local clock is right again")
        return True

    def stamped(self, context: dict[str, Any]) -> dict[str, Any]:
        """A signing context (`AWSRequest.context`) in which signers find this time, not that of the local clock."""
        return _Stamped(context, self.now()) if self.offset else context


class _Stamped(dict[str, Any]):
    """botocore's signers note the time of a signature as `timestamp`, and read it from there wherever it is needed."""

    def __init__(self, context: dict[str, Any], now: float) -> None:
        super().__init__(context)
        self._stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, self._stamp if key == "timestamp" else value)
