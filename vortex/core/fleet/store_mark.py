"""Which store a lease table serves: rows that Vortex writes name the store, and a table serves one store.

With one table, the workers of two stores would each read a part of the shards, and no store would ever have all events
of a period. A row's checkpoint says how far its own store has come, and nothing about another one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from vortex.core.fleet.lease import WHOLE, Lease, beats_together
from vortex.core.log.rules import StreamState, stream_root

_MARK = re.compile(r"([0-9a-f]{16}) (\S.*)")


class ForeignTable(Exception):
    """The lease table serves another store; the message says what to do."""


@dataclass(frozen=True, slots=True)
class StoreMark:
    """A store as the rows of the lease table `table` name it. `digest` is empty while the stream has no state there."""

    table: str
    url: str
    digest: str = ""

    @property
    def text(self) -> str:
        """What the rows say: the digest, and the URL for people."""
        return f"{self.digest} {self.url}"

    def refusal(self, rows: Iterable[Lease]) -> str:
        """Why this store must not use the table with these rows; empty if it may.

        A row without a name counts as the store's own if the stream has a state there: earlier versions wrote none.
        """
        for row in sorted(rows, key=lambda row: row.key):
            if row.checkpoint.ended or _moved_by_kcl(row):
                continue
            named = _MARK.fullmatch(row.store)
            if named is None and row.stream and not self.digest:
                return self._other("another store, whose name an earlier version did not note", "it")
            if named is not None and named[1] != self.digest:
                return self._earlier() if named[2] == self.url else self._other(f"the store {named[2]}", named[2])
        return ""

    def _other(self, other: str, short: str) -> str:
        return (
            f"lease table {self.table} serves {other}, not {self.url}: workers of two stores would share the shards, "
            "and each store would lack events. Set coordination.table to a name that no other store uses; or delete "
            f"the table, if no worker writes to {short} any more"
        )

    def _earlier(self) -> str:
        return (
            f"lease table {self.table} serves an earlier state of the store {self.url}, which is not there any more. "
            "Restore it (_vortex/); or, to begin anew, delete the table or set coordination.table to another name"
        )


def mark_of(table: str, url: str, state: StreamState | None) -> StoreMark:
    """The mark of the store at `url`, with the stream's state there; None: it has none yet."""
    if state is None:
        return StoreMark(table, url)
    identity = f"{url}\0{stream_root(state.stream, state.created)}\0{state.seed}"
    return StoreMark(table, url, hashlib.sha256(identity.encode()).hexdigest()[:16])


def _moved_by_kcl(row: Lease) -> bool:
    """Whether a KCL application wrote the row's checkpoint, and no worker of Vortex holds the lease now.

    The KCL keeps foreign attributes, so a row can name a store though an application took the table back.
    """
    return row.checkpoint.numbered and row.checkpoint.sub != WHOLE and not beats_together(row)
