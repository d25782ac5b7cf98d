"""The outcome of a publication: the done document of a plan, and the manifests of the hours that it closes.

All of it is a function of the plan and the logs, so any worker can repeat it with the same result. Plans themselves are
made in `vortex.core.publish.plan`, and their objects in `vortex.core.publish.members`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from vortex.core.compression import Compression
from vortex.core.layout import hour_manifest_key, hour_of, moment, partition_manifest_key
from vortex.core.log.rules import BrokenLog, StreamState
from vortex.core.log.segment import Counts
from vortex.core.model import HOUR_MS
from vortex.core.publish.plan import LogView, Plan

DONE_VERSION = 3
"""Version 3 has `at`. A document without bundles is of version 2, so that older programs read it."""
OLDEST_DONE = 2


class PublishedObject(msgspec.Struct, kw_only=True):
    """One row of `done.json`. `bytes` is the size of the object, `raw` of its lines; `digest` is its XXH3-128.

    An object `beside` rejections is `rejected`, too; its rows do not count as rejections. A row with `at` is a member
    of the bundle `key` and begins there; `bytes` and `digest` are those of the member.
    """

    key: str
    folder: str
    period: int
    customer: str
    event_type: str
    rejected: bool
    rows: int
    bytes: int
    raw: int
    digest: str
    beside: bool = False
    at: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def bundled(self) -> bool:
        """Whether it is a member of a bundle."""
        return self.at is not msgspec.UNSET


class Outcome(Counts):
    """The counts of a period and the outcome of its rows: `accepted = published + dropped`."""

    published: int = 0
    dropped: int = 0


class Done(msgspec.Struct, kw_only=True):
    """`done.json`: the result of a plan. `periods` has the counts of each published period, `decided` the digests
    of the decision files.
    """

    k: int
    after: int
    upto: int
    objects: list[PublishedObject]
    periods: dict[int, Outcome]
    totals: dict[str, int]
    decided: list[str]
    version: int = OLDEST_DONE


def bytes_of(one: PublishedObject, body: bytes) -> bytes:
    """The row's own bytes of its object."""
    return body if one.at is msgspec.UNSET else body[one.at : one.at + one.bytes]


def period_counts(
    plan: Plan, views: Mapping[str, LogView], published: Iterable[PublishedObject], dropped: Mapping[int, int]
) -> dict[int, Outcome]:
    """The counts and outcomes of each period of the plan. Raises BrokenLog if they do not add up."""
    totals: dict[int, Outcome] = {}
    for shard, entry in sorted(plan.shards.items()):
        for head in views[shard].between(entry.first, entry.to) if shard in views else []:
            for period, counts in head.footer.periods.items():
                if plan.after <= period < plan.upto:
                    totals.setdefault(period, Outcome()).add(counts)
    for one in published:
        if not one.rejected:
            totals.setdefault(one.period, Outcome()).published += one.rows
    for period, number in dropped.items():
        totals.setdefault(period, Outcome()).dropped += number
    for period, counts in totals.items():
        if counts.accepted != counts.published + counts.dropped:
            raise BrokenLog(
                f"plan {plan.k}, period {period}: the logs have {counts.accepted} rows, but {counts.published} were "
                f"published and {counts.dropped} dropped: rows are missing, so the plan is not done"
            )
    return dict(sorted(totals.items()))


def done(
    plan: Plan, published: Iterable[PublishedObject], periods: dict[int, Outcome], decided: Sequence[str] = ()
) -> Done:
    """The plan's done document."""
    rows = sorted(published, key=lambda one: (one.key, one.at or 0))
    totals = {
        "objects": len({one.key for one in rows}),
        "rows": sum(one.rows for one in rows if not one.rejected),
        "rejected": sum(one.rows for one in rows if one.rejected and not one.beside),
        "bytes": sum(one.bytes for one in rows),
        "raw_bytes": sum(one.raw for one in rows),
        "dropped": sum(counts.dropped for counts in periods.values()),
        "filtered": sum(counts.filtered for counts in periods.values()),
    }
    return Done(
        k=plan.k,
        after=plan.after,
        upto=plan.upto,
        objects=rows,
        periods=periods,
        totals=totals,
        decided=list(decided),
        version=DONE_VERSION if any(one.bundled for one in rows) else OLDEST_DONE,
    )


# Hours.


def closed_hours(after: int, upto: int, first_hour: int, held: Iterable[int]) -> list[int]:
    """The hours that get closed, with a manifest, when the frontier moves from `after` to `upto`.

    From `first_hour` on these are all hours. Before it only those of the periods `held`: a backfill may go far back,
    and its empty hours must not be enumerated.
    """
    begin = hour_of(after)
    hours = {hour_of(period) for period in held}
    hours = {hour for hour in hours if begin <= hour and hour + HOUR_MS <= upto}
    hours.update(range(max(begin, first_hour), hour_of(upto), HOUR_MS))
    return sorted(hours)


ZSTD_MANIFEST = 2
"""The version of the manifest of an hour in Zstandard, which has `compression`: other readers must refuse it."""
BUNDLE_MANIFEST = 3
"""The version of the manifest of an hour with bundles, where a row with `files` has no `manifest`."""
_COUNTED = ("events", "accepted", "published", "dropped", "filtered", "rejected", "late", "early", "untimed")


def _manifest(objects_: Iterable[PublishedObject], url: str) -> bytes:
    """A Redshift COPY manifest (docs.aws.amazon.com/redshift/latest/dg/loading-data-files-using-manifest.html)."""
    entries = [
        {"url": f"{url}/{one.key}", "mandatory": True, "meta": {"content_length": one.bytes}} for one in objects_
    ]
    return msgspec.json.encode({"entries": entries})


def hour_documents(
    state: StreamState, hour: int, dones: Sequence[Done], url: str
) -> tuple[Iterator[tuple[str, bytes]], tuple[str, bytes]]:
    """The partition manifests of a closed hour, and the hour's own, as (key, body).

    The former are made as they are asked for: an hour may have a million.
    """
    folders: dict[str, list[PublishedObject]] = {}
    counts = Outcome()
    for one in sorted(
        (o for d in dones for o in d.objects if hour_of(o.period) == hour), key=lambda o: (o.key, o.at or 0)
    ):
        folders.setdefault(one.folder, []).append(one)
    for document in dones:
        for period, some in document.periods.items():
            if hour_of(period) == hour:
                counts.add(some)
    ordered = sorted(folders.items())
    partitions = (
        (partition_manifest_key(path), _manifest(several, url)) for path, several in ordered if not _bundled(several)
    )
    rows = {"partitions": list[msgspec.Raw](), "rejected": [], "beside": []}
    for path, several in ordered:
        kind = "beside" if several[0].beside else "rejected" if several[0].rejected else "partitions"
        rows[kind].append(_partition_row(path, several))
    bundled = any(map(_bundled, folders.values()))
    is_zstd = any(Compression.of(one.key) is Compression.ZSTD for several in folders.values() for one in several)
    body = {
        "version": BUNDLE_MANIFEST if bundled else ZSTD_MANIFEST if is_zstd else 1,
        "stream": state.stream,
        "hour": moment(hour).strftime("%Y-%m-%dT%H:00:00Z"),
        "totals": _totals(o for several in folders.values() for o in several if not o.rejected),
        "counts": {name: getattr(counts, name) for name in _COUNTED},
        "partitions": rows["partitions"],
        "rejected": rows["rejected"],
    }
    if rows["beside"]:
        body["beside"] = rows["beside"]
    if is_zstd:
        body["compression"] = Compression.ZSTD
    return partitions, (hour_manifest_key(hour), msgspec.json.format(msgspec.json.encode(body), indent=1))


def _totals(several: Iterable[PublishedObject]) -> dict[str, int]:
    every = list(several)
    return {
        "objects": len({one.key for one in every}),
        "rows": sum(one.rows for one in every),
        "bytes": sum(one.bytes for one in every),
        "raw_bytes": sum(one.raw for one in every),
    }


def _partition_row(path: str, several: Sequence[PublishedObject]) -> msgspec.Raw:
    """Encoded at once: an hour may have a million, and its objects take much more memory than their text."""
    first = several[0]
    # A COPY manifest cannot name a part of an object. One that leaves out lines is worse than none, which is an error.
    row: dict[str, object] = {"folder": path}
    if not _bundled(several):
        row["manifest"] = partition_manifest_key(path)
    row |= _totals(several)
    if _bundled(several):
        row["files"] = [_file(one) for one in sorted(several, key=lambda one: (one.period, one.key))]
    if not first.rejected:
        row = {"customer": first.customer, "event_type": first.event_type, **row}
    return msgspec.Raw(msgspec.json.encode(row))


def _bundled(several: Iterable[PublishedObject]) -> bool:
    """Whether some of a partition's lines are in a bundle."""
    return any(one.bundled for one in several)


def _file(one: PublishedObject) -> dict[str, object]:
    """`bytes` of the object `key` from `offset` on, which are a complete file by themselves."""
    return {"key": one.key, "offset": one.at or 0, "bytes": one.bytes, "rows": one.rows}
