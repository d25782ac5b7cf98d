"""Whether an endpoint is asked in CBOR or in JSON.

Until it has replied in CBOR, one call at a time tries; all others are in JSON. Where CBOR does not work, JSON is asked
for a while. Then CBOR is tried again: the endpoint may have been replaced, or something before it was at fault.
"""

from __future__ import annotations

from vortex.core.native import IN_C

_FAILURES = 3
"""So many calls in a row that fail in CBOR show of an endpoint that has known it that it does no longer."""
_LEAST_S = 60.0
_MOST_S = 3600.0
"""How long JSON is asked at first, and at most: twice as long each time, until records are read in CBOR."""


class Encoding:
    """What is known of one endpoint. Times are those of the event loop, in seconds."""

    def __init__(self) -> None:
        self._known = False
        self._tries = False
        """Whether a call is under way that finds out."""
        self._failed = 0
        """Calls in a row that failed in CBOR."""
        self._wait_s = _LEAST_S
        self._json_until = 0.0 if IN_C else float("inf")

    def is_cbor(self, now: float) -> bool:
        """Whether the next call is in CBOR. Each such call ends with one of the other methods."""
        if now < self._json_until or (self._tries and not self._known):
            return False
        self._tries = True
        return True

    def worked(self, *, records: bool) -> None:
        """The reply was in CBOR. `records`: also such a one that shows that records can be read."""
        self._known, self._tries = True, False
        if records:
            self._failed, self._wait_s = 0, _LEAST_S

    def failed(self, now: float) -> bool:
        """The reply was not in CBOR, or none came. Whether JSON is asked from now on, for the first time."""
        self._tries = False
        self._failed += 1
        if now < self._json_until or (self._known and self._failed < _FAILURES):
            return False
        is_first = self._wait_s == _LEAST_S
        self._json_until = now + self._wait_s
        self._wait_s = min(2 * self._wait_s, _MOST_S)
        self._known, self._failed = False, 0
        return is_first

    def undecided(self) -> None:
        """Neither encoding worked, which says nothing about them."""
        self._tries = False
