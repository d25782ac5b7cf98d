"""Merges the metrics of processes that start and stop into one page whose counters never fall.

If a counter falls, Prometheus assumes a restart and adds its whole value again. So the counters of a process stay in
the sum while it does not answer and after its end; its gauges do not.
"""

from __future__ import annotations

from vortex.adapters.metrics import merged


class Lives:
    """A life is one process with a unique name. Ended processes are merged into one page."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._past = ""

    def begun(self, life: str) -> None:
        """A process has started."""
        self._last[life] = ""

    def reported(self, life: str, page: str) -> None:
        """Store a page of a process, unless it has ended. Raises ValueError for a text that is not a metrics page."""
        if not page.startswith("# "):
            raise ValueError("not a page of metrics")
        if life in self._last:
            self._last[life] = page

    def ended(self, life: str) -> None:
        """A process has ended; the counters of its last page stay in the sum."""
        if last := self._last.pop(life, ""):
            self._past = merged([self._past, last], counters_only=True).decode()

    def page(self, own: str, fresh: dict[str, str]) -> bytes:
        """One page: `own`, the `fresh` pages of processes that answered now, and the counters of all others."""
        silent = [last for life, last in self._last.items() if life not in fresh]
        current = [fresh[life] for life in self._last if life in fresh]
        counted = merged([self._past, *silent], counters_only=True).decode()
        return merged([own, *current, counted])
