"""The metrics of processes that come and go, as one page whose counters never fall.

Prometheus takes a counter that falls for one that began anew, and adds all of it a second time. So what a process had
counted counts on when it is silent, and after its end; what it said of its state (gauges) does not.
"""

from __future__ import annotations

from vortex.adapters.metrics import merged


class Lives:
    """Lives are processes, each with a name of its own. The dead ones are one sum, however many they are."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._past = ""

    def begun(self, life: str) -> None:
        """A process has been started."""
        self._last[life] = ""

    def told(self, life: str, page: str) -> None:
        """Its page, as text. One that has ended is counted already. Raises ValueError for an error's text."""
        if not page.startswith("# "):
            raise ValueError("no page of metrics")
        if life in self._last:
            self._last[life] = page

    def ended(self, life: str) -> None:
        """It is over; what it told last stays in the sum."""
        if last := self._last.pop(life, ""):
            self._past = merged([self._past, last], counters_only=True).decode()

    def page(self, own: str, fresh: dict[str, str]) -> bytes:
        """One page of `own`, the `fresh` pages of those that have just told them, and all others' counters."""
        silent = [last for life, last in self._last.items() if life not in fresh]
        told = [fresh[life] for life in self._last if life in fresh]
        counted = merged([self._past, *silent], counters_only=True).decode()
        return merged([own, *told, counted])
