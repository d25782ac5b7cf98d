"""The pages of a listing: each says where the next one begins, and at some time there is none."""

from __future__ import annotations

from vortex.adapters.aws.exchange import Malformed

_MOST_IDLE = 1000
"""Pages in a row that bring nothing new. S3 returns some where versions of deleted objects lie; no listing consists of
them.
"""


class Pages:
    """Notes where one listing continues, so that it ends."""

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._idle = 0

    def check(self, following: str, *, new: bool) -> None:
        """The next page begins at `following`; `new`: this one brought something. Raises Malformed where it never ends.

        Changes nothing then: the same page may be asked for again.
        """
        if following in self._begun:
            raise Malformed(f"a listing that continues at {following[:100]!r} for the second time")
        idle = 0 if new else self._idle + 1
        if idle > _MOST_IDLE:
            raise Malformed(f"a listing of which {_MOST_IDLE} pages in a row bring nothing")
        self._begun.add(following)
        self._idle = idle
