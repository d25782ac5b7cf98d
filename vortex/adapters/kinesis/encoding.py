"""Whether an endpoint is asked in CBOR or in JSON.

Until it has replied in CBOR, one call at a time tries; all others are in JSON. Where CBOR does not work, it is asked in JSON
for a while, then CBOR is tried again: the endpoint may have been replaced, or something before it was at fault.
"""

from __future__ import annotations

from vortex.core.native import IN_C

_FAILURES = 3
"""So many calls in a row that fail in CBOR show of an endpoint that has known it that it does no longer."""
_LEAST_S = 60.0
_MOST_S = 3600.0
"""How long JSON is asked: so long after a reply that is no CBOR. A call without a reply may have been lost for another
reason: then a minute first, and twice as long each time."""


class Encoding:
    """What is known of one endpoint. Times are those of the event loop, in seconds."""

    def __init__(self) -> None:
        self._known = False
        self._tries = False
        """Whether a call is under way that finds out."""
        self._failed = 0
        """Calls in a row that failed in CBOR."""
        self._lost_s = _LEAST_S
        self._json_until = 0.0 if IN_C else float("inf")

    def is_cbor(self, now: float) -> bool:
        """Whether the next call is in CBOR. Each such call ends with one of the other methods."""
        if now < self._json_until or (self._tries and not self._known):
            return False
        self._tries = True
        return True

    def worked(self, *, records: bool) -> None:
        """The reply was in CBOR. `records`: also such a one that shows that records can be read."""
        self._known, self._tries, self._lost_s = True, False, _LEAST_S
        if records:
            self._failed = 0

    def failed(self, now: float, *, replied: bool) -> bool:
        """The reply was not in CBOR, or none came. Whether JSON is asked from now on, for a while."""
        self._tries = False
        self._failed += 1
        if now < self._json_until or (self._known and self._failed < _FAILURES):
            return False
        self._json_until = now + (_MOST_S if replied else self._lost_s)
        if not replied:
            self._lost_s = min(2 * self._lost_s, _MOST_S)
        self._known, self._failed = False, 0
        return True

    def undecided(self) -> None:
        """Neither encoding worked, which says nothing about them."""
        self._tries = False
