"""What the page at / shows: one JSON document of a worker, and the documents of several workers as one."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vortex import __version__, metrics
from vortex.adapters.http.server import UNIX, Check
from vortex.adapters.metrics import PrometheusMeter
from vortex.config.example import changed
from vortex.config.settings import Settings
from vortex.core.decode.reasons import Reason
from vortex.core.log.rules import StreamState
from vortex.core.log.segment import Footer
from vortex.core.wording import counted
from vortex.runtime.history import Customers, History, Point, Totals, added, sum_up
from vortex.runtime.hours_seen import HoursSeen

if TYPE_CHECKING:  # a supervisor has neither
    from vortex.runtime.assembly import Assembly
    from vortex.runtime.environment import Environment

log = logging.getLogger(__name__)

_LOOK_S = 60.0
_MANY = 0.01
_DAY_S = 86_400
_TODO = {
    "kinesis": "check network, region, credentials and the role's permissions; no restart is needed",
    "store": "check network, bucket, credentials and the role's permissions; no restart is needed",
    "lease table": "check DynamoDB and the role's permissions; no restart is needed",
    "leases": "check DynamoDB and the role's permissions; reading goes on",
    "clock": "correct the local clock",
    "reading": "see the other rows; if there are none, restart the worker: nothing is lost",
    "publisher": "the state needs attention: see the runbook, Messages",
    "stream": "the state needs attention: see the runbook, Messages",
    "shard": "mend what the row says, then restart the worker",
    "process": "it is started again; its log says why it ended",
    "start": "wait; a row beside it says what for",
    "shards": "wait; a row beside it says what for",
}


class RejectionWarner:
    """Warns when more than one event in a hundred of a minute is rejected: at first, and then at growing intervals."""

    def __init__(self) -> None:
        self._seen_ms = 0
        self._reasons: dict[str, float] = {}
        self._bad, self._due = 0, 1

    def look(self, minute: Point, reasons: Mapping[str, float]) -> None:
        """`reasons`: the rejections since the start. Each minute is looked at once."""
        if minute.at_ms <= self._seen_ms:
            return
        grown = {reason: number - self._reasons.get(reason, 0.0) for reason, number in reasons.items()}
        self._seen_ms, self._reasons = minute.at_ms, dict(reasons)
        if minute.rejected <= _MANY * minute.events:
            self._bad, self._due = 0, 1
            return
        self._bad += 1
        if self._bad == self._due:
            self._due = min(2 * self._due, self._due + 60)
            most = [f"{reason} ({number:.0f})" for reason, number in sum_up([_whole(grown)])[:3] if number]
            log.warning(
                "%.0f of %.0f events of a minute were rejected: %s; `vortex check` names the paths, _rejected/ has the "
                "events (minute %d of this)",
                minute.rejected,
                minute.events,
                ", ".join(most),
                self._bad,
            )


def _whole(grown: Mapping[str, float]) -> list[tuple[str, int]]:
    return [(reason, round(number)) for reason, number in grown.items()]


class Overview:
    """One worker's share of the page."""

    def __init__(self, env: Environment, meter: PrometheusMeter, checks: Callable[[], Sequence[Check]]) -> None:
        self._env, self._meter, self._checks = env, meter, checks
        self._history = History()
        self._customers = Customers() if env.settings.http.customers else None
        self._warner = RejectionWarner()
        self._loops: Assembly | None = None
        self._hours: HoursSeen | None = None

    def begin(self, loops: Assembly, state: StreamState) -> None:
        """Show these loops from now on, too."""
        settings = self._env.settings
        due = settings.hours.allowed_lateness + settings.publish.period
        self._loops, self._hours = loops, HoursSeen(self._env.store, state.first_hour, due)

    def committed(self, shard: str, footer: Footer) -> None:
        """For `Environment.on_commit`."""
        if self._customers is not None:
            self._customers.committed(self._env.clock.now_ms(), footer)

    async def run(self) -> None:
        """Look at the hours in the store, until cancelled."""
        while True:
            if self._hours is not None:
                await self._hours.look(self._env.clock.now_ms())
            await self._env.clock.sleep(_LOOK_S if self._hours is not None else 1.0)

    def sample(self) -> None:
        """Note throughput and lag."""
        meter = self._meter
        lags = [lag for _, _, lag, *_ in self._shards() if lag is not None]
        self._history.sample(
            self._env.clock.now_ms(),
            Totals(
                meter.total(metrics.EVENTS_READ),
                meter.total(metrics.READ_BYTES),
                meter.total(metrics.EVENTS, "rejected"),
                meter.total(metrics.EVENTS, "untimed"),
                max(lags, default=None),
            ),
        )
        if (minute := self._history.last_minute()) is not None:
            reasons = {str(reason): self._meter.total(metrics.REJECTIONS, reason) for reason in Reason}
            self._warner.look(minute, reasons)

    def line(self) -> str:
        """One line for a terminal: what goes on now."""
        failed = [name for name, ok, _ in self._checks() if not ok]
        shards = [one for one in self._shards() if one[1] == self._env.owner]
        lags = [lag for _, _, lag in shards if lag is not None]
        lag = f"lag {max(lags):.0f} s, " if lags else ""
        state = f"not ready: {', '.join(failed)}" if failed else "ready"
        load = f"{self._history.rate:,.0f} events/s, {lag}{counted(len(shards), 'shard')}"
        return f"{self._meter.stream}: {state}; {load}"

    def sums(self) -> str:
        """What this process has done since its start."""
        meter = self._meter
        read, segments = meter.total(metrics.EVENTS_READ), meter.total(metrics.COMMITS, "committed")
        rejected, objects = meter.total(metrics.EVENTS, "rejected"), meter.total(metrics.OBJECTS_PUBLISHED)
        return (
            f"{counted(int(read), 'event')} read, {rejected:,.0f} rejected; "
            f"{counted(int(segments), 'segment')}, {counted(int(objects), 'object')} published"
        )

    def document(self) -> dict[str, Any]:
        """What the page shows."""
        env, now = self._env, self._env.clock.now_ms()
        checks, since = self._checks(), {one.name: one for one in env.health.troubles()}
        failed = [(name, detail) for name, ok, detail in checks if not ok]
        shards = self._shards()
        return {
            "stream": self._meter.stream,
            "version": __version__,
            "store": env.store.url,
            "now_ms": now,
            "ready": not failed,
            "troubles": [
                [name, detail, since[name].since_ms if name in since else None, _TODO.get(_kind(name, since), "")]
                for name, detail in failed
            ],
            "notices": self._notices(now),
            "history": self._history.rows(),
            "hours": self._hours.rows(now) if self._hours is not None else [],
            "shards": shards,
            "workers": self._workers(shards, not failed),
            "customers": None if self._customers is None else self._customers.top(now),
            "rejections": [
                (reason, number) for reason in Reason if (number := self._meter.total(metrics.REJECTIONS, reason))
            ],
        }

    def _notices(self, now: int) -> list[tuple[str, str, int | None, str]]:
        """What a person should look at, though the worker is ready: as troubles are told."""
        found: list[tuple[str, str, int | None, str]] = []
        gap, recent = self._meter.value(metrics.LAST_GAP), self._history.recent()
        if gap is not None and now / 1000 - gap < _DAY_S:
            detail = (
                f"{self._meter.total(metrics.GAPS):.0f} since the start: records were deleted before they were read"
            )
            todo = "raise the stream's retention; the log names shard and position"
            found.append(("gap", detail, round(gap * 1000), todo))
        if recent.rejected > _MANY * recent.events:
            detail = f"{recent.rejected:.0f} of {recent.events:.0f} events of the last 15 min were rejected"
            found.append(("rejections", detail, None, "`vortex check` names the paths; the reasons are below"))
        if recent.untimed > _MANY * recent.events:
            detail = f"{recent.untimed:.0f} of {recent.events:.0f} events of the last 15 min have no readable time"
            found.append(("times", detail, None, "correct event.time, or set event.time_format"))
        return found

    def _shards(self) -> list[tuple[str, str, float | None]]:
        """Shard, worker, and lag in seconds if it is known here."""
        if self._loops is None:
            return []
        fleet, at, me = self._loops.fleet, self._env.clock.monotonic(), self._env.owner
        rows: dict[str, tuple[str, str, float | None]] = {
            shard: (shard, owner, None) for shard, owner in fleet.owners.items()
        }
        rows |= {shard: (shard, me, worker.status.lag_s(at)) for shard, worker in list(fleet.workers.items())}
        return [rows[shard] for shard in sorted(rows)]

    def _workers(self, shards: list[tuple[str, str, float | None]], ready: bool) -> list[tuple[str, int, bool | None]]:
        """Worker, number of shards, and whether it is ready if it is known here."""
        me = self._env.owner
        names = [me] if self._loops is None else sorted({me, *self._loops.fleet.roster.workers})
        return [(name, sum(one[1] == name for one in shards), ready if name == me else None) for name in names]


def _kind(name: str, troubles: dict[str, Any]) -> str:
    return str(troubles[name].kind) if name in troubles else name


def together(stream: str, now_ms: int, ready: Sequence[Check], documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The documents of several workers of one machine as one; `ready` are the supervisor's checks."""
    shards: dict[str, Any] = {}
    workers: dict[str, Any] = {}
    hours: dict[int, Any] = {}
    for one in documents:
        for row in one["shards"]:
            if row[0] not in shards or row[2] is not None:
                shards[row[0]] = row
        for row in one["workers"]:
            if row[0] not in workers or row[2] is not None:
                workers[row[0]] = row
        for row in one["hours"]:
            if row[0] not in hours or row[2] is not None:
                hours[row[0]] = row
    known = {name for one in documents for name, *_ in one["troubles"]}
    troubles = [row for one in documents for row in one["troubles"]]
    troubles += [
        [name, detail, None, _TODO.get(name.rpartition(" ")[2], "")]
        for name, ok, detail in ready
        if not ok and not any(name.endswith(f" {other}") for other in known)
    ]
    hidden = any(one["customers"] is None for one in documents)
    return {
        "stream": stream,
        "version": __version__,
        "store": documents[0]["store"] if documents else "",
        "now_ms": now_ms,
        "ready": all(ok for _, ok, _ in ready),
        "troubles": troubles,
        "notices": [notice for one in documents for notice in one["notices"]],
        "history": added([one["history"] for one in documents]),
        "hours": [hours[hour] for hour in sorted(hours)],
        "shards": [shards[shard] for shard in sorted(shards)],
        "workers": [workers[name] for name in sorted(workers)],
        "customers": None if hidden else sum_up(one["customers"] for one in documents)[:10],
        "rejections": sum_up(one["rejections"] for one in documents),
    }


def encoded(document: dict[str, Any]) -> bytes:
    """As JSON."""
    return json.dumps(document, separators=(",", ":")).encode("utf-8", "backslashreplace")


def started(settings: Settings, stream: str, address: tuple[str, int]) -> str:
    """The first line of the log: version, stream, store, address, and the settings that differ from the defaults."""
    host, port = address
    at = host if host.startswith(UNIX) else f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    other = "; ".join(changed(settings)) or "defaults"
    return f"Vortex {__version__} reads stream {stream} into {settings.store.url}; {at}; settings: {other}"


async def beside(*loops: Callable[[], Any]) -> None:
    """Run all, until one ends with an error or this is cancelled."""
    tasks = [asyncio.ensure_future(loop()) for loop in loops]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
