"""The history of throughput and lag by minute, and the customers with the most bytes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from vortex.core.log.segment import MEMBER, Folder
from vortex.runtime.history import STEP_MS, Customers, History, Totals, added, sum_up

NOW = 1_764_428_400_000


def test_history_adds_up_each_minute_and_keeps_the_greatest_lag() -> None:
    history = History()
    for second, events, lag in ((0, 10, None), (30, 15, 4.0), (59, 15, 2.0), (60, 40, 1.0)):
        history.sample(NOW + 1000 * second, Totals(events, 100 * events, 1, 0, lag))
    assert history.rows() == [[NOW, 15.0, 1500.0, 1.0, 0.0, 4.0], [NOW + STEP_MS, 25.0, 2500.0, 0.0, 0.0, 1.0]]


def test_history_keeps_six_hours_and_never_goes_below_zero() -> None:
    history = History()
    for minute in range(500):
        history.sample(NOW + minute * STEP_MS, Totals(100 - minute, 0, 0, 0, None))
    assert len(history.points) == 360
    assert min(point.events for point in history.points) == 0
    assert history.points[-1].at_ms == NOW + 499 * STEP_MS


def test_histories_of_several_workers_add_up_by_minute() -> None:
    one: list[list[float | None]] = [[NOW, 1.0, 10.0, 0.0, 0.0, 3.0], [NOW + STEP_MS, 2.0, 20.0, 0.0, 0.0, None]]
    other: list[list[float | None]] = [[NOW + STEP_MS, 5.0, 50.0, 1.0, 0.0, 7.0]]
    assert added([one, other]) == [[NOW, 1.0, 10.0, 0.0, 0.0, 3.0], [NOW + STEP_MS, 7.0, 70.0, 1.0, 0.0, 7.0]]


def footer(*sizes: tuple[str, int, bool]) -> Any:
    """A segment with a member for each customer, of so many bytes; whether it holds rejections."""
    rows = np.zeros(len(sizes), dtype=MEMBER)
    rows["folder"], rows["raw"] = range(len(sizes)), [size for _, size, _ in sizes]
    folders = [Folder(name, 0, name, "t", rejected) for name, _, rejected in sizes]
    return cast(Any, SimpleNamespace(member_rows=rows, folders=folders))


def test_customers_of_the_last_hour_are_listed_by_bytes_without_rejections() -> None:
    customers = Customers()
    customers.committed(NOW, footer(("small", 5, False), ("big", 100, False), ("", 1000, True)))
    customers.committed(NOW + 600_000, footer(("small", 7, False), ("<script>", 50, False)))
    assert customers.top(NOW + 600_000) == [("big", 100), ("<script>", 50), ("small", 12)]
    assert customers.top(NOW + 3_600_000) == [("<script>", 50), ("small", 7)]
    assert customers.top(NOW + 7_200_000) == []


def test_customers_are_bounded_whatever_their_number() -> None:
    customers = Customers()
    for batch in range(5):
        customers.committed(NOW, footer(*((f"c{n}", n + 1, False) for n in range(3000 * batch, 3000 * batch + 3000))))
    assert sum(map(len, customers._buckets.values())) <= 6000
    assert customers.top(NOW, 2) == [("c14999", 15000), ("c14998", 14999)]


def test_sum_up_adds_by_name_the_greatest_first() -> None:
    assert sum_up([[("a", 1), ("b", 5)], [("a", 7)]]) == [("a", 8), ("b", 5)]
