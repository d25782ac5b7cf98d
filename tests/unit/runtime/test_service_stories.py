"""Bad days, replayed in virtual time: what status, readiness, the page, metrics and alerts say of each."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests import stories
from tests.stories import PROMTOOL, STORIES, Seen

_STANDS = ["VortexNotReady", "VortexServiceSilent", "VortexDoesNotCommit"]
EXPECTED: dict[str, tuple[str, str, list[str], str]] = {
    "wrong path": (
        r"shardId-0+: 27 of 27 recent events are rejected; and 1 more like it",
        "ready",
        ["VortexRejects"],
        "ready",
    ),
    "unreadable time": (
        r"shardId-0+: 27 of 27 recent events have no readable time.*",
        "ready",
        ["VortexUntimed"],
        "ready",
    ),
    "Kinesis cut for 20 minutes": (
        r"read: connection refused; exit code 4",
        r"kinesis: no call has succeeded for 20 min; .*; reading: no page of .* for 20 min",
        _STANDS,
        "ready",
    ),
    "store cut for 20 minutes": (
        r"put: connection refused; exit code 4",
        r"reading: no page of .* for 19 min; store: no call has succeeded for 20 min; .*",
        _STANDS,
        "ready",
    ),
    "credentials gone for 20 minutes": (
        r"no valid credentials: the token has expired; exit code 4",
        r"kinesis: no call .* no valid credentials: the token has expired; reading: .*; store: no call .*",
        _STANDS,
        "ready",
    ),
    "gap at the start": ("well", "ready", ["VortexGap"], "ready"),
}
"""Of each story what status and readiness say, which alerts fire, and readiness five minutes after the end."""


CHECKED = {
    "wrong path": r"event.customer: custmer: in 0 % .* nearest paths in the data: c .*; rejections: .*_customer.*",
    "unreadable time": r"event.time: created: in 0 % .* nearest paths in the data: at .*",
    "Kinesis cut for 20 minutes": r"(kinesis:\w+: read: connection refused(; )?)+",
    "store cut for 20 minutes": r"store put: put: connection refused; .*",
    "credentials gone for 20 minutes": r"kinesis:\w+: no valid credentials: .*; store put: no valid credentials: .*",
    "gap at the start": "ok",
}
"""The lines of `vortex check` that fail."""


@cache
def seen(name: str) -> Seen:
    """Each story is replayed once."""
    return stories.replayed(name)


@pytest.mark.parametrize("name", STORIES)
def test_check_fails_for_what_stands_in_the_way_in_every_story(name: str) -> None:
    """A gap lies in the past: nothing is to be mended."""
    assert re.fullmatch(CHECKED[name], seen(name).check), seen(name).check


@pytest.mark.parametrize("name", STORIES)
def test_status_and_readiness_and_alerts_tell_the_truth_in_every_story(name: str) -> None:
    one = seen(name)
    status, ready, alerts, after = EXPECTED[name]
    assert re.fullmatch(status, one.status), one.status
    assert re.fullmatch(ready, one.ready), one.ready
    assert one.after == after
    if PROMTOOL is not None:
        assert one.alerts == alerts


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("wrong path", ["rejections: 172 of 172 events"]),
        ("unreadable time", ["times: 172 of 172 events"]),
        ("gap at the start", ["gap: "]),
        ("store cut for 20 minutes", ["reading: ", "store: "]),
    ],
)
def test_page_names_what_is_wrong_also_where_the_worker_is_ready(name: str, shown: list[str]) -> None:
    page = seen(name).page
    assert len(page) == len(shown), page
    assert all(line.startswith(wanted) for line, wanted in zip(page, shown, strict=True)), page


def test_documents_list_every_story_with_its_alerts() -> None:
    text = (stories.ROOT / "docs/how-to/bad-days.md").read_text("utf-8")
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in text.splitlines() if row.startswith("| ")}
    for name, (_, _, alerts, _) in EXPECTED.items():
        assert re.findall(r"Vortex[A-Z]\w+", rows[name]) == alerts, name


def test_a_gap_is_counted_once_a_shard() -> None:
    """Though the pages after it are empty, too."""
    last = seen("gap at the start").pages[-1]
    assert [value for (metric, _), value in last.items() if metric == "vortex_gaps_total"] == [2]


@pytest.mark.parametrize("name", [name for name in STORIES if "20 minutes" in name])
def test_lag_and_age_grow_while_services_are_cut(name: str) -> None:
    """And the metrics name what is in trouble."""
    last = seen(name).pages[-1]
    lags = [value for (metric, _), value in last.items() if metric == "vortex_shard_lag_seconds"]
    assert len(lags) == 2 and min(lags) > 1100
    troubles = {
        dict(labels)["name"] for (metric, labels), value in last.items() if metric == "vortex_trouble" and value
    }
    assert troubles >= {"store" if "store" in name else "kinesis", "reading"}
