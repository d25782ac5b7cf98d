"""Checks plans, objects and manifests with a model that reads whole logs and never uses `next`."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Container
from typing import Any

from simulation.bundlecheck import BundleModel
from simulation.forgetcheck import ForgetModel
from simulation.logchecks import LogModel, Row, Segment, Violated
from simulation.simstore import SimStore
from simulation.walkcheck import WalkModel
from vortex.core.compression import Compression, zstd
from vortex.core.invariants import Invariant
from vortex.core.layout import date_and_hour, hour_manifest_key, hour_of, moment
from vortex.core.model import HOUR_MS

_OBJECT = re.compile(r"(.*/\d{4}(?:\d\d)?)-(\d{3,})(\.json\.(?:gz|zst))$")


def text_of(key: str, body: bytes) -> bytes:
    """The lines of an object, as a reader finds them that goes by its name."""
    return zstd.decompress(body) if key.endswith(".zst") else gzip.decompress(body)


class PlanModel:
    """Follows the plans; checks every plan, object and manifest as it is written."""

    def __init__(
        self, store: SimStore, logs: LogModel, violated: Violated, listed: Callable[[], Container[str]]
    ) -> None:
        self.plans: list[dict[str, Any]] = []
        self.done = -1
        self.closed: set[int] = set()
        self.cleaned: set[tuple[str, int]] = set()
        self.closed_before = 0
        self.first_hour = 0
        self._store, self._logs, self._violated = store, logs, violated
        self._expected: dict[str, tuple[int, int, list[bytes]]] = {}
        """By key without the part number: the plan, the period, and the lines."""
        self._parts: dict[str, dict[int, list[bytes]]] = {}
        self._walks = WalkModel(violated)
        self.bundles = BundleModel(violated)
        self.forgets = ForgetModel(logs, violated, listed)
        self._held: set[int] = set()
        """Hours of which the plans so far publish anything, even if only counts."""

    @property
    def upto(self) -> int:
        """Where the last plan ends."""
        return int(self.plans[-1]["upto"]) if self.plans else self.closed_before

    @property
    def published(self) -> int:
        """Where the last done plan ends."""
        return int(self.plans[self.done]["upto"]) if self.done >= 0 else self.closed_before

    def begins(self, state: dict[str, Any]) -> None:
        """`stream.json` was written."""
        self.closed_before, self.first_hour = state["closed_before"], state["first_hour"]

    # Plans.

    def plan(self, k: int, body: bytes) -> None:
        """A plan was written."""
        plan, bad, name = json.loads(body), self._violated, f"plan {k}"
        if k != len(self.plans) or self.done != k - 1 or plan["k"] != k:
            bad(
                Invariant.WRITTEN_ONCE,
                f"{name}: was made when {len(self.plans)} existed and {self.done + 1} were done",
            )
            return
        if plan["after"] != self.upto or plan["upto"] <= plan["after"]:
            bad(Invariant.WRITTEN_ONCE, f"{name}: publishes {plan['after']}..{plan['upto']} after {self.upto}")
        if both := sorted(set(plan["shards"]) & set(plan["retired"])):
            bad(Invariant.WRITTEN_ONCE, f"{name}: {both} are both live and retired")
        self.forgets.planned(plan, self.cleaned)
        before = self.plans[-1]["shards"] if self.plans else {}
        for shard, entry in plan["shards"].items():
            self._check_entry(f"{name}, {shard}", plan, entry, before.get(shard), self._logs.logs.get(shard, []))
        for shard, log in self._logs.logs.items():
            to = plan["shards"][shard]["to"] if shard in plan["shards"] else -1
            for one in log[to + 1 :]:
                if any(plan["after"] <= period < plan["upto"] for period in one.footer.periods):
                    bad(
                        Invariant.COMPLETE_AND_ONCE,
                        f"{name}: leaves out {shard} segment {one.footer.n}, which contains periods that it closes",
                    )
        self._walks.planned(plan, self.plans[-1] if self.plans else None, self._rows(plan))
        for shard, entry in plan["shards"].items():
            if (least := self._first_arrival(shard, entry)) < plan["arrived"][0]:
                bad(
                    Invariant.ARRIVAL_BOUNDS_HOLD,
                    f"{name}: nothing arrives before {plan['arrived'][0]}, but a row of {shard} may at {least}",
                )
        self.plans.append(plan)
        self._expect(plan)

    def _check_entry(
        self, name: str, plan: dict[str, Any], entry: dict[str, Any], old: dict[str, Any] | None, log: list[Segment]
    ) -> None:
        bad = self._violated
        to, following = entry["to"], entry["next"]
        if to >= len(log) or (to >= 0 and log[to].digest != entry["digest"]):
            bad(Invariant.WRITTEN_ONCE, f"{name}: segment {to} has a digest other than the named one")
            return
        if entry["from"] != (old["next"] if old else 0) or (old and to < old["to"]):
            bad(Invariant.WRITTEN_ONCE, f"{name}: goes from {entry['from']} to {to}, after {old}")
        late = [one.footer.n for one in log[:following] if any(p >= plan["upto"] for p in one.footer.periods)]
        if late or following > to + 1:
            bad(Invariant.WRITTEN_ONCE, f"{name}: the next plan begins at {following}, but needs segments {late}")
        if to >= 0 and entry["ended"] != log[to].footer.ended:
            bad(Invariant.WRITTEN_ONCE, f"{name}: says ended = {entry['ended']}")

    def _first_arrival(self, shard: str, entry: dict[str, Any]) -> int:
        """A lower bound for the arrival of the shard's first row in this plan or a later one."""
        log = self._logs.logs.get(shard, [])
        first = int(entry["from"])
        if first < len(log):
            return log[first].footer.arrived[0]
        parents = [self._logs.logs[parent] for parent in entry["parents"] if self._logs.ended(parent)]
        return log[-1].footer.watermark if log else min((its[-1].footer.watermark for its in parents), default=0)

    def _expect(self, plan: dict[str, Any]) -> None:
        """Compute the plan's expected objects: resolve its rows, and group the published ones by folder and period."""
        out = self._walks.walk(plan, self._rows(plan))
        grouped: dict[tuple[str, int], list[bytes]] = {}
        for shard in sorted(plan["shards"]):
            for one in self._logs.logs.get(shard, [])[: plan["shards"][shard]["to"] + 1]:
                rows: dict[tuple[str, int], list[bytes]] = {(row.folder, row.period): [] for row in one.rows}
                for row in one.rows:
                    if (row.shard, row.n, row.row) not in out:
                        rows[row.folder, row.period].append(row.line)
                for (folder, period), lines in (one.lines | rows).items():
                    if plan["after"] <= period < plan["upto"]:
                        grouped.setdefault((folder, period), []).extend(lines)
                self._held |= {hour_of(period) for period in one.footer.periods if period < plan["upto"]}
        for (folder, period), lines in grouped.items():
            stem = _stem(folder, period)
            if stem in self._expected:
                self._violated(
                    Invariant.WRITTEN_ONCE, f"{stem}: is published by plans {self._expected[stem][0]} and {plan['k']}"
                )
            self._expected[stem] = (plan["k"], period, lines)

    def _rows(self, plan: dict[str, Any]) -> list[Row]:
        """The plan's rows, from whole logs."""
        return [
            row
            for shard, entry in plan["shards"].items()
            for one in self._logs.logs.get(shard, [])[: entry["to"] + 1]
            for row in one.rows
            if plan["after"] <= row.period < plan["upto"]
        ]

    def decided(self, k: int, part: int, body: bytes) -> None:
        """A decision file was written for the first time."""
        if k >= len(self.plans):
            self._violated(Invariant.WRITTEN_ONCE, f"plan {k}, part {part}: was decided, but there is no such plan")
            return
        self._walks.decided(self.plans[k], part, body)

    # Objects.

    def object(self, key: str, lines: list[bytes]) -> None:
        """An object for loaders was written."""
        found = _OBJECT.match(key)
        if found is None or found[1] not in self._expected:
            self._violated(Invariant.WRITTEN_ONCE, f"{key}: belongs to no plan")
            return
        k, period, wanted = self._expected[found[1]]
        if found[3] != Compression(self.plans[k]["compression"]).ending:
            self._violated(Invariant.WRITTEN_ONCE, f"{key}: plan {k} says {self.plans[k]['compression']}")
        if not self._walks.whole(self.plans[k]):
            self._violated(Invariant.ROWS_HAVE_ONE_OUTCOME, f"{key}: was made before all of plan {k} was decided")
        if hour_of(period) in self.closed:
            self._violated(Invariant.CLOSED_HOURS, f"{key}: is written into a closed hour")
        if not lines or not _within(lines, wanted):
            self._violated(Invariant.WRITTEN_ONCE, f"{key}: its lines differ from those in its segments")
        self._parts.setdefault(found[1], {})[int(found[2])] = lines

    def bundle(self, key: str, body: bytes) -> None:
        """A bundle was written: a plan in progress must say so. Its members are checked when a document names them."""
        if not self.plans or self.done == len(self.plans) - 1 or not self.plans[-1].get("bundle"):
            self._violated(Invariant.WRITTEN_ONCE, f"{key}: belongs to no plan")
            return
        plan = self.plans[-1]
        if not key.endswith(Compression(plan["compression"]).ending):
            self._violated(Invariant.WRITTEN_ONCE, f"{key}: plan {plan['k']} says {plan['compression']}")
        if not self._walks.whole(plan):
            self._violated(
                Invariant.ROWS_HAVE_ONE_OUTCOME, f"{key}: was made before all of plan {plan['k']} was decided"
            )
        self.bundles.written(key, body)

    def _claim(self, name: str, rows: list[dict[str, Any]]) -> None:
        """The rows of a done document that lie in bundles."""
        for row in rows:
            if "at" in row:
                self.bundles.claimed(name, row["key"], row["at"], row["bytes"], _stem(row["folder"], row["period"]))

    def _check_whole(self, stem: str) -> None:
        _, _, wanted = self._expected[stem]
        parts = self._parts.get(stem, {})
        lines = [line for part in sorted(parts) for line in parts[part]] + (self.bundles.lines(stem) or [])
        if lines != wanted:
            self._violated(
                Invariant.COMPLETE_AND_ONCE,
                f"{stem}: contains {len(lines)} lines in parts {sorted(parts)}, should be {len(wanted)}",
            )

    # Hours.

    def hour(self, key: str, body: bytes) -> None:
        """An hour's manifest was written."""
        manifest = json.loads(body)
        hour = next((h for h in self._hours_to(self.upto) if hour_manifest_key(h) == key), None)
        if hour is None:
            self._violated(Invariant.CLOSED_HOURS, f"{key}: closes an hour that is not entirely before {self.upto}")
            return
        self.closed.add(hour)
        date, digits = date_and_hour(hour)
        tail = f"/date={date}/hour={digits}"
        rows = [*manifest["partitions"], *manifest["rejected"]]
        self._claim_members(key, rows)
        if left := self.bundles.unclaimed(f"_bundles{tail}/"):
            self._violated(
                Invariant.COMPLETE_AND_ONCE, f"{key}: names no partition for the bundles' members {left[:3]}"
            )
        stems = [s for s, (_, period, lines) in self._expected.items() if lines and hour_of(period) == hour]
        for stem in stems:
            self._check_whole(stem)
        folders = sorted({stem.rpartition("/")[0] for stem in stems})
        if sorted(row["folder"] for row in rows) != folders or any(not f.endswith(tail) for f in folders):
            self._violated(Invariant.CLOSED_HOURS, f"{key}: its folders differ from those of the hour")
        self._check_rows(key, rows)
        endings = {name[name.index(".json.") :] for row in rows for name in self._keys(row["folder"] + "/")}
        endings |= self.bundles.endings(f"_bundles{tail}/")
        if rows and endings != {Compression(manifest.get("compression", "gzip")).ending}:
            self._violated(Invariant.CLOSED_HOURS, f"{key}: lists files of {sorted(endings)}")
        wanted = sum(len(self._expected[stem][2]) for stem in stems if not stem.startswith("_rejected/"))
        dropped = self._walks.dropped_of(range(hour, hour + HOUR_MS))
        counts = manifest["counts"]
        if (counts["accepted"], counts["published"], counts["dropped"]) != (wanted + dropped, wanted, dropped):
            self._violated(
                Invariant.DEDUP_SUMS_AGREE, f"{key}: counts {counts}, should be {wanted} published, {dropped} dropped"
            )
        if manifest["totals"]["rows"] != wanted:
            self._violated(Invariant.CLOSED_HOURS, f"{key}: {manifest['totals']['rows']} rows, should be {wanted}")

    def _claim_members(self, key: str, rows: list[dict[str, Any]]) -> None:
        """What the manifest of an hour says of bundles: the period is in a bundle's name."""
        for row in rows:
            for one in row.get("files", ()):
                if one["key"].startswith("_bundles/"):
                    stem = f"{row['folder']}/{one['key'].rpartition('/')[2].partition('-')[0]}"
                    self.bundles.claimed(key, one["key"], one["offset"], one["bytes"], stem)

    def _check_rows(self, key: str, rows: list[dict[str, Any]]) -> None:
        objects = self._store.objects
        for row in rows:
            manifest = f"_manifests/{row['folder']}/manifest.json"
            listed = json.loads(objects.get(manifest, b'{"entries": []}'))["entries"]
            sizes = {e["url"].removeprefix("memory://store/"): e["meta"]["content_length"] for e in listed}
            if "files" in row:
                if listed or "manifest" in row:
                    self._violated(Invariant.CLOSED_HOURS, f"{key}: {manifest} exists, but cannot name all lines")
                sizes = {f["key"]: f["bytes"] for f in row["files"] if not f["key"].startswith("_bundles/")}
                if sum(f["rows"] for f in row["files"]) != row["rows"]:
                    self._violated(Invariant.CLOSED_HOURS, f"{key}: the files of {row['folder']} have other sums")
            elif row["manifest"] != manifest:
                self._violated(Invariant.CLOSED_HOURS, f"{key}: {row['manifest']} is of another folder")
            if sizes != {k: len(objects[k]) for k in self._keys(row["folder"] + "/")}:
                self._violated(Invariant.CLOSED_HOURS, f"{key}: does not list what is in the folder {row['folder']}")

    def _keys(self, prefix: str) -> list[str]:
        return [row.key for row in self._store.page(prefix, "", 10_000)]

    def _hours_to(self, upto: int) -> list[int]:
        """The hours before `upto` that must have a manifest: all since the first start, and older ones with data."""
        since = range(max(self.first_hour, hour_of(self.closed_before)), hour_of(upto), HOUR_MS)
        return sorted({hour for hour in self._held if hour + HOUR_MS <= upto} | set(since))

    def part(self, k: int, number: int, body: bytes) -> None:
        """A range of a plan is done: its objects must exist and belong to the plan."""
        part, bad, name = json.loads(body), self._violated, f"plan {k}, range {number}"
        if (
            k >= len(self.plans)
            or not 0 <= number < self.plans[k]["ranges"]
            or (part["k"], part["range"]) != (k, number)
        ):
            bad(Invariant.WRITTEN_ONCE, f"{name}: belongs to no plan")
            return
        self._claim(name, part["objects"])
        for row in part["objects"]:
            if "at" in row:
                continue
            found = _OBJECT.match(row["key"])
            if found is None or self._expected.get(found[1], (-1,))[0] != k or row["key"] not in self._store.objects:
                bad(Invariant.WRITTEN_ONCE, f"{name}: {row['key']} does not exist, or belongs to another plan")

    def finished(self, k: int, body: bytes) -> None:
        """A plan's done document was written: all its objects must exist."""
        if k != len(self.plans) - 1 or self.done != k - 1:
            self._violated(Invariant.WRITTEN_ONCE, f"plan {k} is done, of {len(self.plans)}")
            return
        self._claim(f"plan {k}", json.loads(body)["objects"])
        if left := self.bundles.unclaimed("_bundles/"):
            self._violated(
                Invariant.COMPLETE_AND_ONCE, f"plan {k}: names no partition for the bundles' members {left[:3]}"
            )
        for stem, (made_by, _, _) in self._expected.items():
            if made_by == k:
                self._check_whole(stem)
        self._walks.finished(self.plans[k], json.loads(body))
        missing = [hour for hour in self._hours_to(self.upto) if hour not in self.closed]
        if missing:
            self._violated(Invariant.CLOSED_HOURS, f"plan {k} is done, but hour {moment(missing[0])} has no manifest")
        self.done = k

    # Clean-up.

    def deleted(self, shard: str, n: int) -> None:
        """A segment was deleted: it must not be needed any more."""
        self.cleaned.add((shard, n))
        log, bad, name = self._logs.logs.get(shard, []), self._violated, f"{shard} segment {n}"
        if n >= len(log) - 1:
            bad(Invariant.WRITTEN_ONCE, f"{name} was deleted, but is the last segment of its log")
            return
        entry = self._last_entry(shard)
        if entry is None or n > entry["to"] or any(p >= self.published for p in log[n].footer.periods):
            bad(Invariant.WRITTEN_ONCE, f"{name} was deleted, but is not published")
        if entry is not None and n == entry["to"]:
            bad(Invariant.WRITTEN_ONCE, f"{name} was deleted, but its log is read from there")
        if entry is not None and n >= entry["next"] and not entry["ended"]:
            bad(Invariant.WRITTEN_ONCE, f"{name} was deleted, but the next plan begins at {entry['next']}")

    def deleted_decision(self, k: int, part: int) -> None:
        """A decision file was deleted: no plan may need it any more."""
        if not self.plans or k >= self.plans[self.done]["since"] or self.done < 0:
            self._violated(
                Invariant.NEEDED_FILES_STAY, f"plan {k}, part {part}: its decision file was deleted, but is needed"
            )

    def deleted_ids(self, k: int) -> None:
        """A file of exchanged ids was deleted: its plan must be done."""
        if k > self.done:
            self._violated(Invariant.NEEDED_FILES_STAY, f"plan {k}: its ids were deleted, but it is not done")

    def finish(self) -> None:
        """Check all plans together."""
        self._walks.finish(self.plans[: self.done + 1])

    @property
    def walks(self) -> WalkModel:
        """The model of the deduplication decisions."""
        return self._walks

    def _last_entry(self, shard: str) -> dict[str, Any] | None:
        for plan in reversed(self.plans[: self.done + 1]):
            if shard in plan["shards"]:
                entry: dict[str, Any] = plan["shards"][shard]
                return entry
        return None


def _stem(folder: str, period: int) -> str:
    at = moment(period)
    return f"{folder}/{at:%H%M}" if at.second == 0 else f"{folder}/{at:%H%M%S}"


def _within(lines: list[bytes], wanted: list[bytes]) -> bool:
    return any(wanted[at : at + len(lines)] == lines for at in range(len(wanted) - len(lines) + 1))
