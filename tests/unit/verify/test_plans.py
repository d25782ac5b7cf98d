"""Plans one after another: a part of them can be checked, and what is in memory is the hour that is open."""

from __future__ import annotations

from benchmarks.growth.checking import verified
from benchmarks.growth.ground import PERIOD_MS, T0
from vortex.core.model import HOUR_MS
from vortex.verify.plans import PlanProof


def test_verify_of_a_span_checks_its_hours_and_no_others() -> None:
    """The plans that published something of them, and the manifests of those hours."""
    whole = verified(48, objects=2).report.checked
    assert (whole["plans"], whole["objects"], whole["closed hours"]) == (48, 96, 4)
    since, until = T0 + HOUR_MS + 10 * 60_000, T0 + 3 * HOUR_MS
    part = verified(48, objects=2, span=(since, until)).report
    assert (part.checked["plans"], part.checked["objects"], part.checked["closed hours"]) == (24, 48, 2)
    assert part.notes == ["keys that belong to no plan are only looked for without --since and --until"]
    assert verified(48, objects=2, span=(T0 + 48 * PERIOD_MS, None)).report.checked["plans"] == 0


def test_verify_holds_the_done_documents_of_one_hour(monkeypatch: object) -> None:
    most = 0
    check = PlanProof.check_hours

    async def watched(self: PlanProof, *args: object) -> list[str]:
        nonlocal most
        keys = await check(self, *args)  # type: ignore[arg-type]
        most = max(most, len(self._open))
        return keys

    PlanProof.check_hours = watched  # type: ignore[method-assign, assignment]
    try:
        verified(60, objects=1)
    finally:
        PlanProof.check_hours = check  # type: ignore[method-assign]
    assert most == 11
