"""What Vortex promises, and what an operator does if a promise does not hold.

`vortex verify` proves some of them on a store, the simulation checks all. docs/reference/invariants.md is made from
this. There is no I10: tests with planted bugs check the simulation itself.
"""

from __future__ import annotations

from enum import Enum, unique

_RESTORE = "Restore `_vortex/` from a backup or from older object versions. Never start over on the same prefix."
_REPORT = "This is a bug in Vortex. Keep the store as it is, and report it with the log."
_CHANGED = "If nobody changed the file, this is a bug in Vortex: keep the store as it is, and report it."


@unique
class Invariant(Enum):
    """One promise: `code` names it in output, `promise` is what holds, `action` what an operator does if it does not.

    `on_store`: `vortex verify` proves it.
    """

    STATE_IS_THERE = (
        "state",
        "The store holds the whole state of the stream that the settings name.",
        f"Check store.url and source.stream. If both are right, state was deleted or damaged. {_RESTORE}",
        True,
    )
    COMPLETE_AND_ONCE = (
        "I1",
        "Every record is published exactly once: as events, as rejections, or as duplicates of published events.",
        f"The named file differs from the logs. Stop the workers and compare the plan's hours with the "
        f"source. {_CHANGED}",
        True,
    )
    WHOLE_LOGS = (
        "I2",
        "The log of a shard has no hole: each segment follows the one before it, and nothing goes back.",
        f"A segment was deleted, damaged, or restored without the others. {_RESTORE}",
        True,
    )
    WRITTEN_ONCE = (
        "I3",
        "Each published object follows from one plan and its segments, is whole, and never changes.",
        "Something else writes, changes or deletes below the prefix: find it and stop it. Delete what no plan names. "
        "Restore what is missing or changed from older object versions. Load again what was loaded from them.",
        True,
    )
    ROWS_KEEP_IDS = ("I4", "Each row of a segment has the id of its event.")
    PARENTS_FIRST = ("I5", "A shard is read only after its parent shards have been read to their end.")
    CLOSED_HOURS = (
        "I6",
        "Nothing is written into a closed hour, and its manifests list exactly what its folders hold.",
        "Restore the named manifest from older object versions; delete one that no plan names. Check what loaders have "
        "read from it.",
        True,
    )
    LIMITS_KEPT = ("I7", "Vortex keeps to memory.limit and to the limits of Kinesis.")
    SETTLES = (
        "I8",
        "Once faults end, all that was read is published, and no worker fails or waits forever.",
        "`/readyz?verbose` and `vortex status` name the cause. If a restart helps, this is a bug in "
        "Vortex: report it with the log.",
    )
    SUMS_AGREE = (
        "I9",
        "The counts of segments, plans and hours agree with each other and with the rows.",
        f"The named segment or document is damaged. {_RESTORE} {_CHANGED}",
        True,
    )
    LEASES_TRAIL_LOGS = (
        "I11",
        "The lease table never says more than the logs hold, so that another application can continue from it.",
        f"Do not start another application on this table. {_REPORT}",
    )
    FILTERED_HAVE_ROWS = (
        "D1",
        "Each event that was filtered at ingest has a committed row with its key in the same log, shortly before it.",
    )
    ROWS_HAVE_ONE_OUTCOME = (
        "D2",
        "Each row of a plan is in one object or dropped in one file of decisions, which are written before objects.",
    )
    PUBLISHED_NOT_NEAR = ("D3", "No two published rows with the same key arrived within dedup.window.")
    DROPPED_HAVE_ORIGINALS = (
        "D4",
        "For each dropped row, a row with the same key is published that arrived within dedup.window before it, in the "
        "same period or an earlier one.",
    )
    OUTCOME_FOLLOWS_FROM_LOGS = (
        "D5",
        "What is published follows from the logs alone, whichever workers ran, and in whatever order.",
    )
    NEEDED_FILES_STAY = ("D6", "No file of decisions is deleted while a plan needs it.")
    DECISIONS_NEVER_CHANGE = ("D7", "A file of decisions never changes.")
    ARRIVAL_BOUNDS_HOLD = (
        "D8",
        "The arrival times that segments and plans name hold for their rows, and never go back.",
    )
    DEDUP_SUMS_AGREE = ("D9", "In each period, every accepted row is published or dropped.")
    KEYS_IN_MEMORY_MATCH = (
        "D10",
        "The published keys in memory are those of the files, and files that no plan needs are deleted.",
    )

    def __init__(self, code: str, promise: str, action: str = _REPORT, on_store: bool = False) -> None:
        self.code, self.promise, self.action, self.on_store = code, promise, action, on_store

    def __str__(self) -> str:
        return self.code
