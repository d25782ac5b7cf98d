"""Bad days of one worker, replayed in virtual time: what a user sees of each, in every place.

The program's own service runs over a stream and a store in memory; its metrics are noted every minute, and Prometheus's
own tool says which alerts fire. `python -m tests.stories` prints the table of docs/how-to/bad-days.md.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from prometheus_client.parser import text_string_to_metric_families

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import World
from vortex.adapters.metrics import PrometheusMeter
from vortex.commands.check import lines_of_stream
from vortex.commands.existing_state import existing_state
from vortex.commands.probes import StoreProbe
from vortex.commands.status import gather, problems
from vortex.config.settings import Settings
from vortex.health import Health
from vortex.ports import PortError, Stream, Unavailable
from vortex.runtime.environment import Environment
from vortex.runtime.service import Service

Page = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""The value of each series, by name and labels."""
ROOT = Path(__file__).parents[1]
PROMTOOL = shutil.which("promtool")
CUT_S = 20 * 60
_STEP_S = 60
_TIMES = ("_timestamp_seconds", "last_closed_hour_seconds", "frontier_seconds", "watermark_seconds")


async def _at_once(work: Callable[..., Any], *arguments: Any) -> Any:
    """In the place of a thread, which virtual time does not know."""
    return work(*arguments)


@dataclass
class Story(World):
    """A stream of two shards with an event every five seconds; services can be cut."""

    service: str = "kinesis"
    meter: PrometheusMeter = field(default_factory=lambda: PrometheusMeter("snow"))
    path: str = "c"
    """Of the customer, in the settings."""
    time: str = "at"
    down: dict[str, Exception] = field(default_factory=dict)
    """What the calls of a service end with, by `kinesis` and `store`."""
    pages: list[Page] = field(default_factory=list)
    """The metrics of each minute."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store = MemoryStore(self.clock, self._of("store"))
        self.health = Health(self.clock.now_ms)
        self.t0 = self.clock.now_ms() / 1000

    def _of(self, service: str) -> Callable[[str, str], Awaitable[None]]:
        async def before(operation: str, key: str) -> None:
            if (problem := self.down.get(service)) is not None:
                await asyncio.sleep(0.5)
                raise problem

        return before

    def settings(self) -> Settings:
        found = super().settings()
        return found.model_copy(
            update={"event": found.event.model_copy(update={"customer": (self.path,), "time": (self.time,)})}
        )

    def seen_by(self, owner: str) -> Stream:
        return self.stream.seen_by(owner, self._of("kinesis"))

    async def traffic(self) -> None:
        """An event of now every five seconds, to either shard."""
        number = 0
        while True:
            number += 1
            at = datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC).isoformat()
            event = {"c": f"c{number % 3}", "t": "view", "id": f"e{number}", "at": at}
            self.stream.put(f"k{number}", json.dumps(event).encode())
            await self.clock.sleep(5)

    async def noted(self) -> None:
        """Prometheus, which scrapes every minute."""
        while True:
            self.note()
            await self.clock.sleep(_STEP_S)

    def note(self) -> None:
        page = self.meter.page().decode()
        self.pages.append(
            {
                (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in text_string_to_metric_families(page)
                for sample in family.samples
                if not sample.name.endswith("_created")
            }
        )

    def open(self) -> tuple[Service, list[asyncio.Future[Any]]]:
        """Start the service, traffic and scraping."""
        env: Environment = self.environment()
        env.table = None
        service = Service(env, self.meter)
        tasks: list[Coroutine[Any, Any, Any]] = [service.run(drain=False), self.traffic(), self.noted()]
        return service, [asyncio.ensure_future(task) for task in tasks]

    async def status(self) -> str:
        """The first problem that `vortex status` prints, or that it is well, or its error."""
        try:
            stream: Any = self.seen_by("status")
            log_store, state = await existing_state(self.store, await stream.describe())
            found = problems(await gather(log_store, state, stream, self.settings(), None))
        except PortError as problem:
            return f"{problem}; exit code 4"
        return "; ".join(one.what for one in found) or "well"

    async def checked(self) -> str:
        """The lines of `vortex check` that fail."""
        with patch("asyncio.to_thread", _at_once):
            lines = [line async for line in lines_of_stream(self.seen_by("check"), self.settings())]
            lines += [line async for line in StoreProbe(self.store).lines()]
        return "; ".join(f"{line.what}: {line.detail}" for line in lines if not line.ok) or "ok"


@dataclass(frozen=True)
class Seen:
    """What a user sees at the worst moment of a story."""

    name: str
    check: str
    status: str
    ready: str
    page: list[str]
    metrics: list[str]
    alerts: list[str]
    after: str
    """Readiness at the end, when the trouble is over."""
    pages: list[Page] = field(repr=False)
    t0: float = field(repr=False)


async def _ended(tasks: list[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _seen(story: Story, service: Service, name: str, *shown: str) -> Seen:
    story.note()
    pages = story.pages[:]  # until now: what follows takes its time
    failed = [f"{check}: {detail}" for check, ok, detail in await service.ready() if not ok]
    document = json.loads(await service.status())
    series = [
        f"{metric}{''.join(f'{{{k}={v}}}' for k, v in labels if k != 'stream')} = {value:.0f}"
        for (metric, labels), value in sorted(pages[-1].items())
        if any(re.fullmatch(wanted, metric) for wanted in shown) and (value or metric == "vortex_ready")
    ]
    status = await story.status()
    return Seen(
        name,
        await story.checked(),
        status,
        "; ".join(failed) or "ready",
        [f"{one[0]}: {one[1]}" for one in (*document["troubles"], *document["notices"])],
        series,
        [],
        "",
        pages,
        story.t0,
    )


async def cut(name: str, problem: Exception, *services: str, seconds: float = CUT_S) -> Seen:
    """Services that do not answer for a while."""
    story = Story()
    service, tasks = story.open()
    await asyncio.sleep(30 * 60)
    assert [ok for _, ok, _ in await service.ready()] == [True]
    story.down = dict.fromkeys(services, problem)
    await asyncio.sleep(seconds - 1)
    seen = await _seen(story, service, name, "vortex_ready", "vortex_trouble", "vortex_shard_lag_seconds",
                       "vortex_oldest_uncommitted_age_seconds")  # fmt: skip
    story.down = {}
    await asyncio.sleep(300)
    after = "; ".join(check for check, ok, _ in await service.ready() if not ok) or "ready"
    await _ended(tasks)
    return replace(seen, after=after)


async def settings(name: str, **wrong: str) -> Seen:
    """A path in the settings that is in no event, from the start."""
    story = Story(**wrong)  # type: ignore[arg-type]
    service, tasks = story.open()
    await asyncio.sleep(40 * 60)
    seen = await _seen(story, service, name, "vortex_ready", "vortex_events_total")
    await _ended(tasks)
    return replace(seen, after=seen.ready)


async def gap(name: str) -> Seen:
    """A worker that was away for longer than the retention, and finds the gap at its start."""
    story = Story()
    _, tasks = story.open()
    await asyncio.sleep(600)
    await _ended(tasks)
    story.pages.clear()
    traffic = asyncio.ensure_future(story.traffic())
    await asyncio.sleep(25 * 3600)
    await _ended([traffic])
    story.health, story.meter, story.t0 = (
        Health(story.clock.now_ms),
        PrometheusMeter("snow"),
        story.clock.now_ms() / 1000,
    )
    service, tasks = story.open()
    await asyncio.sleep(90)
    seen = await _seen(story, service, name, "vortex_ready", "vortex_gaps_total", "vortex_last_gap.*")
    await _ended(tasks)
    return replace(seen, after=seen.ready)


STORIES: dict[str, Callable[[str], Coroutine[Any, Any, Seen]]] = {
    "wrong path": lambda name: settings(name, path="custmer"),
    "unreadable time": lambda name: settings(name, time="created"),
    "Kinesis cut for 20 minutes": lambda name: cut(
        name, Unavailable("read: connection refused", "connection"), "kinesis"
    ),
    "store cut for 20 minutes": lambda name: cut(name, Unavailable("put: connection refused", "connection"), "store"),
    "credentials gone for 20 minutes": lambda name: cut(
        name, Unavailable("no valid credentials: the token has expired", "credentials"), "kinesis", "store"
    ),
    "gap at the start": gap,
}


def replayed(name: str) -> Seen:
    """A story, with the alerts that fire at its worst moment."""
    seen = vtime.run(STORIES[name](name))
    return replace(seen, alerts=alerts(seen)) if PROMTOOL else seen


def alerts(seen: Seen) -> list[str]:
    """Which alerts fire at the last of the pages, by `promtool test rules`."""
    assert PROMTOOL is not None
    groups = yaml.safe_load((ROOT / "deploy/prometheus-alerts.yml").read_text("utf-8"))["groups"]
    names = [rule["alert"] for group in groups for rule in group["rules"]]
    used = {name for group in groups for rule in group["rules"] for name in re.findall(r"vortex_\w+", rule["expr"])}
    keys = sorted({key for page in seen.pages for key in page if key[0] in used})
    series = []
    for name, labels in keys:
        shift = seen.t0 if name.endswith(_TIMES) else 0.0
        values = [page.get((name, labels)) for page in seen.pages]
        text = " ".join("_" if value is None else f"{value - shift:.3f}" for value in values)
        of = ",".join(f'{label}="{value}"' for label, value in (("instance", "a"), *labels))
        series.append({"series": f"{name}{{{of}}}", "values": text})
    at = f"{len(seen.pages) - 1}m"
    rows = [{"eval_time": at, "alertname": alert, "exp_alerts": []} for alert in names]
    case = {"interval": "1m", "input_series": series, "alert_rule_test": rows}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "alerts.yml").write_text(yaml.safe_dump({"groups": groups}))
        cases = {"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": [case]}
        (Path(folder) / "cases.yml").write_text(yaml.safe_dump(cases))
        done = subprocess.run([PROMTOOL, "test", "rules", "cases.yml"], cwd=folder, capture_output=True, text=True)
    return re.findall(r"alertname: (\w+), time", done.stdout + done.stderr)


def table(several: list[Seen]) -> str:
    """The stories as a table."""
    heads = (
        "story",
        "`vortex check`",
        "`vortex status`",
        "readiness and the page",
        "metrics",
        "alerts",
        "five minutes later",
    )
    rows = [
        (one.name, one.check, one.status, one.ready, ", ".join(f"`{text}`" for text in one.metrics),
         ", ".join(f"`{alert}`" for alert in one.alerts) or "none", one.after)
        for one in several
    ]  # fmt: skip
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, tuple("---" for _ in heads), *rows))


if __name__ == "__main__":
    print(table([replayed(name) for name in STORIES]))
