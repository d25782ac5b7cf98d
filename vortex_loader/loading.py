"""Loads whole hours: the partitions that the catalogue names, several at a time, with retries."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from vortex_loader.catalog import Catalog
from vortex_loader.metrics import Metrics
from vortex_loader.model import HOUR, Loaded, LoaderError, NotClosed, Partition, Passing, hour_text, hours_between
from vortex_loader.sources import Source
from vortex_loader.store import Store
from vortex_loader.warehouse.base import Warehouse
from vortex_loader.warehouse.load import load

log = logging.getLogger(__name__)


@dataclass(slots=True)
class HourReport:
    """What became of a closed hour. `left` is what the catalogue does not name: reported, not loaded, not lost."""

    hour: datetime
    loaded: list[Loaded] = field(default_factory=list)
    failed: list[tuple[Partition, str]] = field(default_factory=list)
    left: list[Partition] = field(default_factory=list)
    problem: str = ""
    """Why the hour's manifest could not be read, if so: then nothing is known of its partitions."""

    @property
    def complete(self) -> bool:
        """Whether all that the catalogue asks for is loaded."""
        return not self.failed and not self.problem

    @property
    def rows(self) -> int:
        """Rows in the warehouse."""
        return sum(one.rows for one in self.loaded)


@dataclass(frozen=True, slots=True)
class How:
    """How to load: `parallel` partitions at a time, each tried so often."""

    parallel: int = 2
    attempts: int = 5
    longest_wait: float = 30.0
    salt: str = ""
    run_id: str = "vortex-loader"
    force: bool = False


class Loader:
    """Loads hours from one store into one warehouse, by one catalogue."""

    def __init__(
        self, store: Store, source: Source, open_warehouse: Callable[[], Warehouse], how: How, metrics: Metrics
    ) -> None:
        self.store = store
        self._source = source
        self._open = open_warehouse
        self._how = how
        self.metrics = metrics
        self._threads = ThreadPoolExecutor(how.parallel, thread_name_prefix="load")
        self._mine = threading.local()
        self._opened: list[Warehouse] = []

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        for warehouse in self._opened:
            with contextlib.suppress(LoaderError):
                warehouse.close()

    def catalog(self) -> Catalog:
        """The catalogue as it is now."""
        copy = self._source.read()
        self.metrics.catalog_age(copy.age)
        return copy.catalog

    def load_hour(self, hour: datetime, customer: str | None = None, event: str | None = None) -> HourReport:
        """Everything that the catalogue asks for of the hour. Raises NotClosed, LoaderError."""
        (report,) = self.load_hours([hour], customer, event)
        return report

    def load_hours(
        self,
        hours: Sequence[datetime],
        customer: str | None = None,
        event: str | None = None,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> list[HourReport]:
        """The same for many hours, whose partitions are loaded side by side; `progress` counts partitions."""
        try:
            catalog, reports, jobs = self._jobs(hours, customer, event)
        except NotClosed:
            raise
        except LoaderError:
            self.metrics.failures.inc()
            raise
        waiting: dict[Future[Loaded], tuple[HourReport, Partition]] = {
            self._threads.submit(self.load_partition, catalog, part): (report, part) for report, part in jobs
        }
        for done, future in enumerate(as_completed(waiting), 1):
            report, part = waiting[future]
            self._tell(report, part, future)
            progress(done, len(waiting))
        for report in reports:
            if report.complete:  # else the hour comes again
                self.metrics.not_in_catalog.inc(sum(part.rows for part in report.left))
                if customer is None and event is None:
                    self.metrics.loaded(report.hour)
        return reports

    def _jobs(
        self, hours: Sequence[datetime], customer: str | None, event: str | None
    ) -> tuple[Catalog, list[HourReport], list[tuple[HourReport, Partition]]]:
        """The catalogue, a report per hour, and what is to be loaded. Raises NotClosed, LoaderError."""
        catalog = self.catalog()
        reports, jobs = [], []
        for hour in hours:
            report = HourReport(hour)
            reports.append(report)
            try:
                partitions = self.store.hour(hour).partitions
            except LoaderError as problem:
                if len(hours) == 1:
                    raise
                report.problem = str(problem)  # the others are loaded all the same
                self.metrics.failures.inc()
                continue
            for part in partitions:
                if customer not in (None, part.customer) or event not in (None, part.event_type):
                    continue
                if catalog.wanted(part.customer, part.event_type):
                    jobs.append((report, part))
                else:
                    report.left.append(part)
        return catalog, reports, jobs

    def load_partition(self, catalog: Catalog, part: Partition) -> Loaded:
        """One partition, tried again while its failures may pass. Raises LoaderError."""
        how = self._how
        target = catalog.target(part.customer, part.event_type)
        for attempt in Retrying(
            retry=retry_if_exception_type(Passing),
            stop=stop_after_attempt(how.attempts),
            wait=wait_random_exponential(max=how.longest_wait),
            before_sleep=self._again,
            reraise=True,
        ):
            with attempt, self._warehouse() as warehouse, self.metrics.seconds.time():
                return load(warehouse, self.store, part, target, run_id=how.run_id, salt=how.salt, force=how.force)
        raise AssertionError("the last attempt returns or raises")

    @contextlib.contextmanager
    def _warehouse(self) -> Iterator[Warehouse]:
        """This thread's connection; a new one after whatever failed."""
        warehouse: Warehouse | None = getattr(self._mine, "warehouse", None)
        if warehouse is None:
            warehouse = self._mine.warehouse = self._open()
            self._opened.append(warehouse)
        try:
            yield warehouse
        except BaseException:
            self._mine.warehouse = None
            with contextlib.suppress(Exception):  # it may be broken already
                warehouse.close()
            raise

    def _again(self, state: RetryCallState) -> None:
        self.metrics.retries.inc()
        log.warning("attempt %d: %s", state.attempt_number, state.outcome.exception() if state.outcome else "")

    def _tell(self, report: HourReport, part: Partition, future: Future[Loaded]) -> None:
        try:
            loaded = future.result()
        except LoaderError as problem:
            report.failed.append((part, str(problem)))
            self.metrics.failures.inc()
            self.metrics.partitions.labels("failed").inc()
            log.error("%s: %s", part.name, problem)
            return
        report.loaded.append(loaded)
        self.metrics.partitions.labels("loaded" if loaded.changed else "unchanged").inc()
        if loaded.changed:
            self.metrics.rows.inc(loaded.rows)
            self.metrics.misfits.inc(sum(loaded.misfits.values()))
            self.metrics.mended.inc(loaded.mended)


def follow(
    loader: Loader,
    first: datetime,
    now: Callable[[], datetime],
    stop: threading.Event,
    every: float,
    report_to: Callable[[HourReport], None],
) -> None:
    """Loads each hour from `first` on as it closes, until `stop`. The catalogue is read anew each time."""
    done: set[datetime] = set()
    while not stop.is_set():
        failed: list[datetime] = []
        open_since: datetime | None = None
        for hour in hours_between(first, now()):
            if stop.is_set():
                break
            if hour in done:
                open_since = None
                continue
            try:
                report = loader.load_hour(hour)
            except NotClosed:
                open_since = open_since or hour
                continue
            except LoaderError as problem:
                log.error("%s: %s", hour_text(hour), problem)
                failed.append(hour)
                continue
            open_since = None  # hours close in turn: those before it never will, as before the stream's first event
            report_to(report)
            if report.complete:
                done.add(hour)
            else:
                failed.append(hour)
        oldest = min([*failed, *([open_since] if open_since else [])], default=None)
        loader.metrics.waiting(len(failed), (now() - oldest - HOUR).total_seconds() if oldest else 0.0)
        while done and first in done:
            done.discard(first)
            first += HOUR
        stop.wait(every)
