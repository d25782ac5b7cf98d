"""Every metric, declared once: its name, its kind, its labels and its meaning.

Loops hand these objects to the Meter port: a misspelt metric, or a counter that is set, is a type error. Names are in
base units, counters end in `_total`, labels are few and have few values; never a name from an event. Every series has
the label `stream` as well, which the meter adds.
docs/reference/metrics.md is made from this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vortex.core.decode.reasons import Reason

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_BYTES = (1e3, 1e4, 1e5, 1e6, 4e6, 16e6, 64e6, 256e6)


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """What all kinds have; `labels` are names."""

    kind: ClassVar[str]
    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CounterMetric(Metric):
    """Only grows; of several processes it is the sum. `values` of its one label are exported from the start, as 0:
    a series that begins at 2 has no increase.
    """

    kind = "counter"
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class GaugeMetric(Metric):
    """What is true now, and exported once it is known; of several processes the sum, the `greatest` or the `least`."""

    kind = "gauge"
    greatest: bool = False
    least: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class HistogramMetric(Metric):
    """How often a value was at most each of `buckets`."""

    kind = "histogram"
    buckets: tuple[float, ...] = ()


RECORDS = CounterMetric("vortex_records_total", "Kinesis records read.")
READ_BYTES = CounterMetric("vortex_read_bytes_total", "Bytes of record data read.")
EVENTS_READ = CounterMetric(
    "vortex_events_read_total",
    "Events read: the sum of vortex_events_total over the outcomes accepted, duplicate and rejected.",
)
EVENTS = CounterMetric(
    "vortex_events_total",
    "Events by outcome: accepted, duplicate or rejected; late, early, untimed (no readable time) and unidentified (no "
    "id) are among the accepted.",
    ("outcome",),
    ("accepted", "duplicate", "rejected", "late", "early", "untimed", "unidentified"),
)
REJECTIONS = CounterMetric(
    "vortex_rejections_total",
    "Rejections by reason; each is an event, or a whole record.",
    ("reason",),
    tuple(Reason),
)
GAPS = CounterMetric("vortex_gaps_total", "Gaps: ranges of records that the stream dropped before they were read.")
LAST_GAP = GaugeMetric(
    "vortex_last_gap_timestamp_seconds", "When this process found a gap last, as Unix time.", greatest=True
)
SHARD_LAG = GaugeMetric(
    "vortex_shard_lag_seconds",
    "How far the last page of a shard was behind its tip, and the time since. The slowest shard decides when hours "
    "close.",
    ("shard",),
    greatest=True,
)
SHARD_WATERMARK = GaugeMetric(
    "vortex_shard_watermark_seconds", "Greatest arrival time of a shard, as Unix time.", ("shard",), greatest=True
)
EVENTS_BUFFERED = GaugeMetric("vortex_events_buffered", "Events that are accepted and not yet in a segment.")
BUFFERED_BYTES = GaugeMetric("vortex_buffered_bytes", "Memory of events that are not committed; see memory.limit.")
MEMORY_LIMIT = GaugeMetric("vortex_memory_limit_bytes", 'The limit of that: memory.limit, or what "auto" sets now.')
FILTER_IDS = GaugeMetric("vortex_filter_ids", "Ids in the filters at ingest.")
FILTER_BYTES = GaugeMetric("vortex_filter_bytes", "Memory of the filters at ingest.")
OLDEST_UNCOMMITTED = GaugeMetric(
    "vortex_oldest_uncommitted_age_seconds", "Age of the oldest record that is not committed.", greatest=True
)
COMMITS = CounterMetric(
    "vortex_commits_total",
    "Segments by result: committed, or lost to another worker that committed first.",
    ("result",),
    ("committed", "lost"),
)
COMMIT_SECONDS = HistogramMetric("vortex_commit_seconds", "Time to seal and put a segment.", buckets=_SECONDS)
SEGMENT_BYTES = HistogramMetric("vortex_segment_bytes", "Sizes of segments.", buckets=_BYTES)
ROWS = CounterMetric(
    "vortex_rows_total",
    "Rows of the logs by what publishing made of them: published or dropped.",
    ("outcome",),
    ("published", "dropped"),
)
OBJECTS_PUBLISHED = CounterMetric("vortex_objects_published_total", "Objects published.")
PUBLISH_SECONDS = HistogramMetric("vortex_publish_seconds", "Time to carry out a plan.", buckets=_SECONDS)
OBJECT_BYTES = HistogramMetric("vortex_object_bytes", "Compressed sizes of published objects.", buckets=_BYTES)
RESOLVE_SECONDS = HistogramMetric(
    "vortex_resolve_seconds", "Time to decide which rows of a part of a plan are duplicates.", buckets=_SECONDS
)
DECIDED_READS = CounterMetric(
    "vortex_decided_reads_total", "Reads of published ids that are not in memory; see memory.keys."
)
KEYS = GaugeMetric("vortex_keys", "Published ids in memory.")
KEYS_BYTES = GaugeMetric("vortex_keys_bytes", "Memory of published ids.")
OLDEST_UNPUBLISHED = GaugeMetric(
    "vortex_oldest_unpublished_age_seconds", "Age of the oldest segment that is not published.", greatest=True
)
FRONTIER = GaugeMetric(
    "vortex_frontier_seconds", "The frontier, as Unix time: every period before it is closed.", greatest=True
)
FRONTIER_HOLDER = GaugeMetric(
    "vortex_frontier_holder", "1 for the shard that keeps the frontier from advancing.", ("shard",), greatest=True
)
LAST_CLOSED_HOUR = GaugeMetric(
    "vortex_last_closed_hour_seconds", "Start of the last closed hour, as Unix time.", greatest=True
)
READY = GaugeMetric("vortex_ready", "1 if the process is ready, else 0; of several processes, if all are.", least=True)
TROUBLES = (
    "call",
    "clock",
    "kinesis",
    "lease table",
    "leases",
    "process",
    "publisher",
    "reading",
    "shard",
    "shards",
    "start",
    "store",
    "stream",
)
"""What can make a worker not ready; `call` covers everything without a name."""
TROUBLE = GaugeMetric(
    "vortex_trouble",
    "1 for each problem that makes the worker not ready, else 0; see /readyz?verbose.",
    ("name",),
    greatest=True,
)
LAST_SUCCESS = GaugeMetric(
    "vortex_last_success_timestamp_seconds",
    "When a call to the service (kinesis, store, lease table) succeeded last, as Unix time.",
    ("service",),
    greatest=True,
)
RETRIES = CounterMetric("vortex_retries_total", "Calls to AWS or the disk that were repeated, by cause.", ("cause",))
CREDENTIAL_RENEWALS = CounterMetric(
    "vortex_credential_renewals_total",
    "Renewals of AWS credentials by result: renewed or failed.",
    ("result",),
    ("renewed", "failed"),
)
CLOCK_SKEW = GaugeMetric(
    "vortex_clock_skew_seconds", "Difference between the local clock and that of the service.", greatest=True
)
ODD_DATES = CounterMetric(
    "vortex_odd_dates_total", "Replies whose Date header was ignored because other replies contradict it."
)
PROCESS_RESTARTS = CounterMetric(
    "vortex_process_restarts_total", "Workers of `vortex run --processes` that died and were started again."
)
BUILD_INFO = GaugeMetric("vortex_build_info", "Always 1; the label is the version.", ("version",), greatest=True)

METRICS: tuple[Metric, ...] = tuple(each for each in dict(globals()).values() if isinstance(each, Metric))
"""All of them, as declared above."""
