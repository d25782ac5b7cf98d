"""Checks the deduplication decisions with a model that decides rows one by one, with keys and whole logs.

The model parses decision files with its own code; it uses no hashes and no sorted arrays.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from simulation.logchecks import Row, Violated
from vortex.core.invariants import Invariant

Place = tuple[str, int, int]
_RUN = struct.Struct("<IQqqqII")


class WalkModel:
    """Follows the decisions, plan by plan."""

    def __init__(self, violated: Violated) -> None:
        self.files: dict[tuple[int, int], list[bytes]] = {}
        """By plan and part, the published ids."""
        self._violated = violated
        self._published: dict[str, list[tuple[Row, int]]] = defaultdict(list)
        """By key, its published rows and their plans."""
        self._dropped: dict[int, dict[Place, Row]] = {}
        """By plan, the rows that must be dropped."""
        self._plan_of: dict[Place, int] = {}
        self._rows: dict[Place, Row] = {}
        self._file_drops: dict[int, Counter[Place]] = defaultdict(Counter)
        """By plan, the rows that its files drop."""

    # When a plan is made.

    def planned(self, plan: dict[str, Any], before: dict[str, Any] | None, rows: Sequence[Row]) -> None:
        """Arrival bounds must hold and never go back; `since` must follow from them."""
        name, bad, (least, most) = f"plan {plan['k']}", self._violated, plan["arrived"]
        if before is not None and (least < before["arrived"][0] or plan["since"] < before["since"]):
            bad(Invariant.ARRIVAL_BOUNDS_HOLD, f"{name}: {least}, or since plan {plan['since']}, goes back")
        if any(row.lo < least or row.hi > most for row in rows):
            bad(Invariant.ARRIVAL_BOUNDS_HOLD, f"{name}: has rows that did not arrive in {least}..{most}")
        known = [] if before is None else [*before["recent"], [before["k"], before["arrived"][1], 0, 0]]
        first = next((k for k, upto, *_ in known if upto >= _needed(plan)), plan["k"])
        if plan["since"] != max(first, before["since"] if before else 0):
            bad(Invariant.ARRIVAL_BOUNDS_HOLD, f"{name}: has since plan {plan['since']}, should be {first}")
        if [one[0] for one in plan["recent"]] != list(range(plan["since"], plan["k"])):
            bad(Invariant.ARRIVAL_BOUNDS_HOLD, f"{name}: does not list all plans since {plan['since']}")
        if plan["rows"] != len(rows) or bool(plan["parts"]) != bool(rows and plan["window"]):
            bad(
                Invariant.DEDUP_SUMS_AGREE,
                f"{name}: names {plan['rows']} rows in {plan['parts']} parts, but has {len(rows)}",
            )

    def came(self, least: int, rows: Iterable[Row]) -> None:
        """New rows must not arrive before the bound of an existing plan."""
        for row in rows:
            if row.lo < least:
                self._violated(
                    Invariant.ARRIVAL_BOUNDS_HOLD,
                    f"{row.shard} segment {row.n}: arrived at {row.lo}, but a plan states {least} at least",
                )
                return

    def walk(self, plan: dict[str, Any], rows: Sequence[Row]) -> set[Place]:
        """The rows that the plan drops."""
        out = self._dropped.setdefault(plan["k"], {})
        for row in sorted(rows, key=_order):
            place = (row.shard, row.n, row.row)
            self._plan_of[place], self._rows[place] = plan["k"], row
            held = [one for one, k in self._published[row.key] if k >= plan["since"]]
            if plan["parts"] and any(_apart(row, one) <= plan["window"] for one in held):
                out[place] = row
            else:
                self._published[row.key].append((row, plan["k"]))
        return set(out)

    def dropped_of(self, periods: range) -> int:
        """The number of dropped rows in these periods."""
        return sum(row.period in periods for out in self._dropped.values() for row in out.values())

    def dropped_lines(self, done: int) -> Counter[bytes]:
        """The lines that the plans up to this one drop."""
        return Counter(row.line for k, out in self._dropped.items() if k <= done for row in out.values())

    # When it is decided.

    def whole(self, plan: dict[str, Any]) -> bool:
        """Whether all parts of the plan are decided."""
        return all((plan["k"], part) in self.files for part in range(plan["parts"]))

    def decided(self, plan: dict[str, Any], part: int, body: bytes) -> None:
        """A decision file was written: it must agree with the model."""
        k, name = plan["k"], f"plan {plan['k']}, part {part}"
        if not 0 <= part < plan["parts"]:
            self._violated(Invariant.ROWS_HAVE_ONE_OUTCOME, f"{name}: belongs to no plan")
            return
        ids, out = _read(body)
        self.files[k, part] = ids
        if ids != sorted(ids) or any(int.from_bytes(one[:8]) * plan["parts"] >> 64 != part for one in ids):
            self._violated(Invariant.ROWS_HAVE_ONE_OUTCOME, f"{name}: its ids are not in order, or not of its part")
        self._file_drops[k].update(out)
        if extra := set(out) - set(self._dropped[k]):
            self._violated(
                Invariant.OUTCOME_FOLLOWS_FROM_LOGS, f"{name}: drops {sorted(extra)[:3]}, which the model publishes"
            )
        if self.whole(plan):
            wanted = set(self._dropped[k])
            if set(self._file_drops[k]) != wanted or self._file_drops[k].total() != len(wanted):
                missing = sorted(wanted - set(self._file_drops[k]))
                self._violated(
                    Invariant.OUTCOME_FOLLOWS_FROM_LOGS,
                    f"plan {k}: publishes {missing[:3]}, which the model drops, or drops a row twice",
                )
            published = sum(len(self.files[k, each]) for each in range(plan["parts"]))
            if published + len(wanted) != plan["rows"]:
                self._violated(
                    Invariant.ROWS_HAVE_ONE_OUTCOME,
                    f"plan {k}: {published} published, {len(wanted)} dropped, of {plan['rows']}",
                )

    def finished(self, plan: dict[str, Any], document: dict[str, Any]) -> None:
        """A plan is done: check the sums of each period."""
        name, k = f"plan {plan['k']}", plan["k"]
        if not self.whole(plan):
            self._violated(Invariant.ROWS_HAVE_ONE_OUTCOME, f"{name}: is done, but not all of it was decided")
        rows = Counter(row.period for place, row in self._rows.items() if self._plan_of[place] == k)
        out = Counter(row.period for row in self._dropped[k].values())
        for period, counts in document["periods"].items():
            at = int(period)
            counted = (counts["accepted"], counts["published"], counts["dropped"])
            if counted != (rows.pop(at, 0), counted[0] - out[at], out[at]):
                self._violated(
                    Invariant.DEDUP_SUMS_AGREE, f"{name}, period {at}: counts {counted} accepted, published and dropped"
                )
        if rows or len(document["decided"]) != plan["parts"]:
            self._violated(Invariant.DEDUP_SUMS_AGREE, f"{name}: leaves out the periods {sorted(rows)[:3]}")

    # At the end.

    def finish(self, plans: Sequence[dict[str, Any]]) -> None:
        """Check everything that was published and dropped."""
        for key, several in self._published.items():
            for at, (row, k) in enumerate(several):
                for other, j in several[:at]:
                    if self._twice(plans, row, k, other, j):
                        self._violated(
                            Invariant.PUBLISHED_NOT_NEAR,
                            f"{key!r}: {row[:3]} and {other[:3]} are both published, but near each other",
                        )
        for k, out in self._dropped.items():
            for row in out.values() if k < len(plans) else ():
                self._check_dropped(plans[k], row)
        beyond = any(
            k < len(plans) and _beyond(self._rows[place], plans[: k + 1]) for place, k in self._plan_of.items()
        )
        if len({plan["window"] for plan in plans}) == 1 and not beyond:
            self._check_function(plans[0]["window"], len(plans))

    def _twice(self, plans: Sequence[dict[str, Any]], row: Row, k: int, other: Row, j: int) -> bool:
        first, last = min(j, k), max(j, k)
        between = plans[first + 1 : last + 1] if first < last else plans[last : last + 1]
        if last >= len(plans) or (first < last and _beyond(row if k == last else other, between)):
            return False
        least = min(plan["window"] for plan in between)
        return bool(least) and _apart(row, other) <= least

    def _check_dropped(self, plan: dict[str, Any], row: Row) -> None:
        for other, k in self._published[row.key]:
            near = _apart(row, other) <= plan["window"]
            if near and plan["since"] <= k <= plan["k"] and _order(other) < _order(row) and other.period <= row.period:
                return
        self._violated(
            Invariant.DROPPED_HAVE_ORIGINALS,
            f"{row.key!r}: {row[:3]} is dropped, but nothing near was published before it",
        )

    def _check_function(self, window: int, done: int) -> None:
        """The outcome must be a function of the logs: compute it without plans, and compare."""
        published: dict[str, list[Row]] = defaultdict(list)
        for row in sorted((r for place, r in self._rows.items() if self._plan_of[place] < done), key=_order):
            if not window or all(_apart(row, other) > window for other in published[row.key]):
                published[row.key].append(row)
        for key, several in self._published.items():
            mine = [row for row, k in several if k < done]
            if sorted(mine, key=_order) != published[key]:
                self._violated(
                    Invariant.OUTCOME_FOLLOWS_FROM_LOGS,
                    f"{key!r}: published are {[r[:3] for r in mine]}, not {[r[:3] for r in published[key]]}",
                )


def _order(row: Row) -> tuple[int, str, int, int]:
    return row.period, row.shard, row.n, row.row


def _apart(one: Row, other: Row) -> int:
    return max(0, one.lo - other.hi, other.lo - one.hi)


def _needed(plan: dict[str, Any]) -> int:
    return int(max(plan["arrived"][0], plan["after"] - plan["reach"]) - plan["window"])


def _beyond(row: Row, plans: Sequence[dict[str, Any]]) -> bool:
    """Whether the row of the last of these plans may have arrived too early to be compared with all that it is near:
    more than `reach` before the end of what was published before one of them.

    This is the promise, and says nothing of `since`: so it also holds against a wrong formula of `since`.
    """
    return any(row.lo < plan["after"] - plan["reach"] for plan in plans)


def _read(body: bytes) -> tuple[list[bytes], list[Place]]:
    """Read a decision file: the ids that it publishes, and the rows that it drops."""
    _, length, _, _ = struct.unpack("<16sII8s", body[-32:])
    rest = body[-32 - length : -32]
    (binary,) = struct.unpack_from("<I", rest)
    document = msgspec.json.decode(rest[4 + binary :])
    at = len(body) - 32 - length - 4 * document["dropped"]
    ids = [body[place : place + 16] for place in range(0, at, 20)]
    out: list[Place] = []
    for number in range(document["runs"]):
        shard, n, *_, dropped = _RUN.unpack_from(rest, 4 + number * _RUN.size)
        out += [(document["shards"][shard], n, row) for row in struct.unpack_from(f"<{dropped}I", body, at)]
        at += 4 * dropped
    return ids, out
