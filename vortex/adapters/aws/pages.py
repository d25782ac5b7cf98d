"""Checks the pages of a listing: each names where the next one begins, and the listing must end."""

from __future__ import annotations

from vortex.adapters.aws.exchange import Malformed

_MOST_IDLE = 1000
"""Maximum pages in a row without anything new. S3 returns a few of them where deleted versions of objects are; a whole
listing never consists of them.
"""


class Pages:
    """Remembers where one listing continued, so that it cannot be endless."""

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._idle = 0

    def check(self, following: str, *, new: bool) -> None:
        """The next page begins at `following`; `new`: this page had something new. Raises Malformed if it never ends.

        It then changes nothing: the same page may be requested again.
        """
        if following in self._begun:
            raise Malformed(f"a listing that continues at {following[:100]!r} for the second time")
        idle = 0 if new else self._idle + 1
        if idle > _MOST_IDLE:
            raise Malformed(f"a listing of which {_MOST_IDLE} pages in a row are empty")
        self._begun.add(following)
        self._idle = idle
