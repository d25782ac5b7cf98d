"""Checks that plans forget a shard only when nothing can bring it back, and never name it again."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from simulation.logchecks import LogModel, Violated
from vortex.core.invariants import Invariant


class ForgetModel:
    """Follows which shards the plans name."""

    def __init__(self, logs: LogModel, violated: Violated, listed: Callable[[], Container[str]]) -> None:
        """`listed` gives the shards that the stream lists now."""
        self.forgotten: set[str] = set()
        self.rows_removed = 0
        self._named: set[str] = set()
        self._logs, self._violated, self._listed = logs, violated, listed

    def planned(self, plan: dict[str, Any], cleaned: Container[tuple[str, int]]) -> None:
        """A plan was written; `cleaned` are the segments that were deleted."""
        named, name = {*plan["shards"], *plan["retired"]}, f"plan {plan['k']}"
        if again := sorted(named & self.forgotten):
            self._bad(f"{name}: names {again}, which an earlier plan has forgotten")
        gone = self._named - named
        for shard in sorted(gone):
            self._check(f"{name}: forgets {shard}, which", shard, plan, cleaned)
        self.forgotten |= gone
        self._named = named

    def row_removed(self, shard: str) -> None:
        """A row of the lease table was removed: nothing may need it any more, and no other application either."""
        self.rows_removed += 1
        if shard in self._named or shard in self._listed():
            self._violated(
                Invariant.LEASES_TRAIL_LOGS,
                f"the row of {shard} was removed, but a plan names it, or the stream lists it",
            )

    def _check(self, what: str, shard: str, plan: dict[str, Any], cleaned: Container[tuple[str, int]]) -> None:
        log = self._logs.logs.get(shard, [])
        if not log or not log[-1].footer.ended:
            self._bad(f"{what} has not ended")
            return
        if shard in self._listed():
            self._bad(f"{what} the stream still lists")
        if any((shard, segment.footer.n) not in cleaned for segment in log[:-1]):
            self._bad(f"{what} has more than its last segment")
        children = [name for name, entry in plan["shards"].items() if shard in entry["parents"]]
        if children:
            self._bad(f"{what} is a parent of {children}, which are live")
        for other in (*plan["shards"], *plan["retired"]):
            last = self._logs.logs[other][-1].footer if self._logs.logs.get(other) else None
            if last is not None and any(child.id == shard for child in last.children):
                self._bad(f"{what} the log of {other} names as a child")

    def _bad(self, what: str) -> None:
        self._violated(Invariant.WRITTEN_ONCE, what)
