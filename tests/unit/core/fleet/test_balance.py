"""Lease balancing: from any start the fleet reaches equal shares, and then nothing moves."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.core.fleet.balance import (
    MAX_WEIGHT,
    STANDS,
    Decision,
    Seen,
    beat_alone,
    begin_at,
    decide,
    look_again,
    look_every,
    reported_throughput,
    roster,
    shown_life,
    weights,
)
from vortex.core.fleet.lease import TRIM_HORIZON, Checkpoint, Lease, shared_token, taken

FAILOVER = 10.0


def lease(key: str, owner: str | None = None, throughput: float | None = None) -> Lease:
    return Lease(key, owner, 1, Checkpoint(TRIM_HORIZON), throughput=throughput)


class Table:
    """A fleet that acts in turn on one table; workers not in `alive` have died."""

    def __init__(self, rows: list[Lease], alive: list[str]) -> None:
        self.rows, self.alive = {row.key: row for row in rows}, alive

    def look(self, me: str) -> Decision:
        seen = [Seen(row, 0.0 if row.owner in self.alive else 99.0) for row in self.rows.values()]
        return decide(seen, me, {row.key for row in self.rows.values() if row.owner == me}, FAILOVER)

    def turn(self, me: str) -> int:
        decision = self.look(me)
        assert not (decision.take and decision.steal)
        for one in [*decision.take, *([decision.steal] if decision.steal else [])]:
            self.rows[one.key] = taken(one, me, "token")
        return len(decision.take) + (decision.steal is not None)

    def loads(self) -> dict[str, int]:
        loads = dict.fromkeys(self.alive, 0)
        for key, weight in weights(self.rows.values()).items():
            owner = self.rows[key].owner
            assert owner is not None
            loads[owner] += weight
        return loads


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 9), st.booleans())
def test_decide_balances_the_fleet_from_any_start_and_then_moves_nothing(
    seed: int, shards: int, workers: int, differ: bool
) -> None:
    """Free leases, owned ones, leases of dead workers, hot and cold shards: all are owned in the end, and no move
    helps.
    """
    rng = Random(seed)
    alive = [f"w{n}" for n in range(workers)]
    owners = [None, "dead", *alive[: rng.randint(1, workers)]]
    rates = [None, 1.0, 5.0, 5.0, 100.0] if differ else [None]
    rows = [lease(f"s{n:03d}", rng.choice(owners), rng.choice(rates)) for n in range(shards)]
    table = Table(rows, alive)
    for _ in range(200):
        if not sum(table.turn(me) for me in rng.sample(alive, workers)):
            break
    else:
        raise AssertionError("still moving after 200 rounds")
    loads, weight = table.loads(), weights(rows)
    for row in table.rows.values():
        assert row.owner is not None
        assert loads[row.owner] - min(loads.values()) <= weight[row.key], "a move would have helped"
    if not differ:
        assert max(loads.values()) - min(loads.values()) <= 1


def test_decide_takes_few_leases_before_the_other_workers_are_visible() -> None:
    """In the first round each worker takes little, then up to four times more: hardly any lease has to be stolen."""
    rows = [lease(f"s{n:04d}") for n in range(1000)]
    everyone = [f"w{n}" for n in range(50)]
    table = Table(rows, everyone)
    rounds = 0
    while any(row.owner is None for row in table.rows.values()):
        decisions = [table.look(me) for me in everyone]  # all look at the same state, then act
        for me, decision in zip(everyone, decisions, strict=True):
            for one in decision.take:
                if table.rows[one.key].counter == one.counter:
                    table.rows[one.key] = taken(one, me, "token")
        rounds += 1
    assert rounds <= 12
    assert max(table.loads().values()) == 20


def test_weights_count_a_hot_shard_as_several() -> None:
    """Sixteen shards of which one gets most traffic: its owner has no other."""
    rows = [lease("hot", throughput=900.0), *(lease(f"s{n:02d}", throughput=10.0) for n in range(15))]
    assert weights(rows) == {"hot": 14, **{f"s{n:02d}": 1 for n in range(15)}}
    table = Table(rows, ["a", "b", "c"])
    for _ in range(30):
        for me in ("a", "b", "c"):
            table.turn(me)
    its = [row.key for row in table.rows.values() if row.owner == table.rows["hot"].owner]
    assert len(its) == 1
    assert sorted(table.loads().values()) == [7, 8, 14]
    assert weights([lease("one", throughput=10.0**9), *(lease(f"s{n}") for n in range(50))])["one"] == 1
    most = [lease("hot", throughput=10.0**9), *(lease(f"s{n}", throughput=1.0) for n in range(50))]
    assert weights(most)["hot"] == MAX_WEIGHT


def test_decide_takes_a_lease_when_its_counter_was_unchanged_for_the_failover_time() -> None:
    """A worker never takes a lease that it holds itself."""
    row = lease("s", "other")
    assert decide([Seen(row, FAILOVER - 0.1)], "me", set(), FAILOVER) == Decision()
    assert decide([Seen(row, FAILOVER)], "me", set(), FAILOVER) == Decision(take=(row,))
    mine = lease("s", "me")
    assert decide([Seen(mine, 99.0)], "me", {"s"}, FAILOVER) == Decision()
    # In this worker's name but not held: the reply to the acquisition was lost.
    assert decide([Seen(mine, 0.0)], "me", set(), FAILOVER) == Decision(take=(mine,))


def test_decide_takes_nothing_for_a_standby_when_there_are_too_few_shards() -> None:
    """A move would gain nothing."""
    seen = [Seen(lease(f"s{n}", f"w{n}"), 0.0) for n in range(4)]
    assert decide(seen, "standby", set(), FAILOVER) == Decision()


def test_roster_begins_with_the_owner_of_the_least_shard() -> None:
    """Workers without leases come last."""
    seen = [Seen(lease("s3", "a"), 0.0), Seen(lease("s1", "b"), 0.0), Seen(lease("s0", "gone"), 99.0)]
    assert roster(seen, "a", {"s3"}, FAILOVER) == roster(seen[::-1], "a", {"s3"}, FAILOVER)
    assert roster(seen, "a", {"s3"}, FAILOVER).workers == ("b", "a")
    mine = {"b": {"s1"}, "a": {"s3"}, "standby": set[str]()}
    assert [roster(seen, me, held, FAILOVER).rank for me, held in mine.items()] == [0, 1, 2]


def test_throughput_is_reported_only_when_it_changed_much() -> None:
    """Small variations are not written to the table."""
    assert reported_throughput(None, 0.0) == reported_throughput(1.0, 0.0) == 1.0
    assert reported_throughput(100.0, 140.0) == 100.0
    assert reported_throughput(100.0, 160.0) == 160.0
    assert reported_throughput(100.0, 60.0) == 60.0


def test_look_every_grows_with_the_number_of_rows() -> None:
    """From four times per failover time to once per two."""
    assert [look_every(rows, 10.0) for rows in (0, 125, 500, 1000, 9000)] == [2.5, 2.5, 10.0, 20.0, 20.0]


def test_look_again_returns_the_time_until_the_next_lease_expires() -> None:
    """So a death is noticed at once. Own leases and free leases do not count."""
    still = [Seen(lease("s1", "a"), 8.0), Seen(lease("s2", "b"), 2.0)]
    assert look_again(still, set(), FAILOVER) == 2.0
    assert look_again(still, {"s1"}, FAILOVER) == 2.5
    assert look_again([Seen(lease("s1", "a"), 9.9)], set(), FAILOVER) == 1.0
    assert look_again([Seen(lease("s1"), 9.0), Seen(lease("s2", "a"), 99.0)], set(), FAILOVER) == 2.5


def test_begin_at_gives_each_worker_a_place_in_the_list() -> None:
    """Always the same one, so that those who work through one list together seldom meet."""
    places = {begin_at(f"w{number}", 100) for number in range(50)}
    assert places <= set(range(100))
    assert len(places) > 25
    assert begin_at("w1", 100) == begin_at("w1", 100)
    assert begin_at("w1", 0) == 0


def beating(key: str, owner: str, unchanged_for_s: float) -> Seen:
    """A lease that lives with the others of its owner."""
    return Seen(taken(lease(key), owner, shared_token(owner, "9f")), unchanged_for_s)


def test_shown_life_is_that_of_the_owners_youngest_heartbeat() -> None:
    """Leases of a dead owner, free leases, and those of programs that renew each lease, keep their own times."""
    rows = [
        beating("s1", "a", 40.0),
        beating("s2", "a", 3.0),
        beating("s3", "dead", 40.0),
        beating("s4", "dead", 30.0),
        Seen(lease("s5", "kcl"), 40.0),
        Seen(lease("s6", "kcl"), 1.0),
        Seen(lease("s7"), 40.0),
    ]
    assert [one.unchanged_for_s for one in shown_life(rows, FAILOVER)] == [3.0, 3.0, 30.0, 30.0, 40.0, 1.0, 40.0]
    assert [one.lease for one in shown_life(rows, FAILOVER)] == [one.lease for one in rows]


def test_shown_life_leaves_a_lease_alone_that_its_owner_has_not_renewed_for_three_rounds() -> None:
    """The owner does not know of it."""
    stands = STANDS * FAILOVER
    rows = [beating("s1", "a", stands), beating("s2", "a", stands - 1), beating("s3", "a", 0.0)]
    assert [one.unchanged_for_s for one in shown_life(rows, FAILOVER)] == [stands, 0.0, 0.0]


def test_shown_life_does_not_believe_a_row_that_another_program_has_taken() -> None:
    """The KCL keeps the token of the earlier owner, an older version writes one without an owner."""
    kept = Seen(Lease("s1", "kcl", 4, Checkpoint(TRIM_HORIZON), token=shared_token("a", "9f")), 40.0)
    assert shown_life([kept, beating("s2", "a", 1.0), Seen(lease("s3", "kcl"), 1.0)], FAILOVER)[0] == kept


def test_beat_alone_tells_of_live_workers_that_judge_each_lease_by_its_own_counter() -> None:
    """Not of the dead, of free leases, or of the own rows that a restored table may have."""
    quiet = [
        beating("s1", "a", 0.0),
        Seen(lease("s2"), 0.0),
        Seen(lease("s3", "me"), 0.0),
        Seen(lease("s4", "b"), 10.0),
    ]
    assert not beat_alone(quiet, "me", FAILOVER)
    assert beat_alone([*quiet, Seen(lease("s5", "b"), 9.9)], "me", FAILOVER)
