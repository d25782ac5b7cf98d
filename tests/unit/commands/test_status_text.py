"""What `vortex status` prints for people: the verdict first, within 80 columns, whatever names there are."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.console import Console

from vortex.commands import status_text
from vortex.commands.status_text import Problem, Shard, View, ago, clock, rendered, short, written

NOW = 1_764_428_400_000  # 2025-11-29T15:00:00Z
MINUTE = 60_000
WELL = View(
    "snow",
    NOW,
    [],
    [("published up to", "14:55, 5 min ago; plan 7 done"), ("open from", "14:55, held by shardId-000000000003")],
    [Shard(f"shardId-{n:012d}", "open", "", NOW - 12_000, NOW - 5 * MINUTE, 11, False) for n in range(4)],
    False,
)


def printed(view: View, width: int = 80) -> list[str]:
    """The lines on a terminal of that width."""
    made = Console(width=width, highlight=False, force_terminal=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(status_text, "console", lambda: made)
        return written(rendered(view)).splitlines()


def test_status_says_first_that_all_is_well() -> None:
    lines = printed(WELL)
    assert lines[0] == "stream snow: well"
    assert "published up to 14:55, 5 min ago; plan 7 done" in [" ".join(line.split()) for line in lines]
    assert [line.split() for line in lines[-4:]] == [
        [f"shardId-{n:012d}", "12", "s", "ago", "14:55", "11"] for n in range(4)
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_status_leaves_no_spaces_at_the_end_of_a_line(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor before the end of a colour."""
    made = Console(width=100, highlight=False, force_terminal=terminal)
    monkeypatch.setattr(status_text, "console", lambda: made)
    late = replace(WELL.shards[0], late=True)
    text = written(rendered(replace(WELL, shards=[late], problems=[Problem("a", "b")], fleet=True)))
    assert ("\x1b[" in text) == terminal
    assert not [line for line in re.sub(r"\x1b\[[\d;]*m", "", text).splitlines() if line != line.rstrip()]


def test_status_says_what_holds_it_and_since_when_and_what_to_do_in_this_order() -> None:
    problem = Problem("shardId-3: keeps every period from 14:30 on open", "look at its log", NOW - 25 * MINUTE)
    lines = printed(replace(WELL, problems=[problem]))
    assert lines[0] == "stream snow: not well"
    assert [line.split("  ")[0] for line in lines[2:5]] == ["what holds it", "since", "what to do"]
    assert lines[3].endswith("14:35, 25 min ago")
    many = printed(replace(WELL, problems=[problem] * 5))
    assert "and 2 more; --json lists all" in many


def test_status_shows_the_worst_shards_first_and_sums_up_the_rest() -> None:
    shards = [
        Shard(f"shardId-{n:012d}", "open", f"w{n % 3}", NOW - 1000 * n, NOW - n * MINUTE, n, n == 7) for n in range(64)
    ]
    lines = printed(replace(WELL, shards=shards, fleet=True))
    assert [line.split()[0] for line in lines[-11:-1]] == [
        f"shardId-{n:012d}" for n in (7, 63, 62, 61, 60, 59, 58, 57, 56, 55)
    ]
    assert lines[-1].split() == ["and", "54", "more", "54", "s", "ago", "14:06", "1,478", "3", "workers"]


@pytest.mark.parametrize("width", [80, 132])
def test_status_fits_80_columns_with_the_longest_names(width: int) -> None:
    """Shards, owners, a stream of 128 letters, a long reason with brackets."""
    shards = [
        Shard("shardId-" + "9" * 20, "open", f"ip-10-0-{n}-1.eu-central-1.compute.internal:123456:{'f' * 16}",
              NOW - 86_400_000 * 9, NOW - 86_400_000 * 9, 123_456, True)
        for n in range(20)
    ]  # fmt: skip
    problem = Problem("x" * 300 + " [bold]not markup[/bold]", "y " * 200, NOW - 86_400_000 * 400)
    lines = printed(replace(WELL, stream="s" * 128, shards=shards, problems=[problem], fleet=True), width)
    assert max(len(line) for line in lines) <= width
    assert "[bold]not markup[/bold]" in "".join(line.strip() for line in lines)
    assert any(line.startswith("shardId-999…99999999 ") for line in lines)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5, "0 s ago"), (12_400, "12 s ago"), (119_000, "119 s ago"), (25 * MINUTE, "25 min ago"),
     (3 * 3_600_000, "3 h ago"), (50 * 3_600_000, "2 d ago")],
)  # fmt: skip
def test_ago_takes_the_greatest_unit_that_leaves_two(ms: int, text: str) -> None:
    assert ago(ms) == text


def test_clock_has_the_date_only_on_other_days() -> None:
    assert clock(NOW - 5 * MINUTE, NOW) == "14:55"
    assert clock(NOW - 24 * 60 * MINUTE, NOW) == "28 Nov 15:00"
    assert short("shardId-000000000000") == "shardId-000000000000"
