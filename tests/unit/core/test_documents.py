"""Parsing stored documents: an invalid one gives an error that names the file, never a traceback or a
nonsensical plan.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import World
from vortex.core.documents import done_of, plan_of, range_done_of, state_of
from vortex.core.invariants import Invariant
from vortex.core.log.rules import STATE_VERSION, Damaged
from vortex.core.log.trailer import OtherVersion
from vortex.core.publish.plan import PLAN_VERSION, Plan
from vortex.log.objects import PAUSES_S
from vortex.log.store import LogStore
from vortex.retry import Once
from vortex.verify.store import verify_store

STATE: dict[str, Any] = {
    "version": STATE_VERSION, "stream": "s", "arn": "a", "created": 5, "closed_before": 0, "first_hour": 0, "seed": 1,
    "roots": [{"shard": {"id": "shard"}, "position": {"kind": "TRIM_HORIZON"}}],
}  # fmt: skip
ENTRY = {"from": 0, "to": 1, "digest": "d", "next": 2}
PLAN: dict[str, Any] = {
    "version": PLAN_VERSION,
    "k": 3,
    "after": 0,
    "upto": 60_000,
    "target": 5,
    "shards": {"shard": ENTRY},
}


def changed(document: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(document | changes).encode()


def root(**position: Any) -> list[Any]:
    return [{"shard": {"id": "shard"}, "position": position}]


def test_state_of_and_plan_of_parse_valid_documents() -> None:
    assert state_of(changed(STATE), "stream").seed == 1
    assert plan_of(changed(PLAN), 3, "plan").shards["shard"].next == 2
    plan = plan_of(changed(PLAN), 3, "plan")
    assert plan_of(msgspec.json.encode(plan), 3, "plan") == plan


def test_state_of_names_the_remedy_when_the_version_is_unsupported() -> None:
    for version, message in (
        (1, "stream.json: format version 1; this program reads 2.*Drain"),
        (3, "run the newer one"),
    ):
        with pytest.raises(OtherVersion, match=message):
            state_of(changed(STATE, version=version), "stream.json")


@pytest.mark.parametrize(
    "body", [b"", b"<html>log in</html>", b"[]", b"null", b"{}", b'{"k":3', b"\xff\xfe", b"0" * 9999]
)
def test_document_parsers_raise_value_error_when_the_body_is_not_a_document(body: bytes) -> None:
    reads: list[Callable[[bytes], object]] = [
        lambda body: state_of(body, "stream"),
        lambda body: plan_of(body, 3, "plan"),
        lambda body: done_of(body, 3, "done"),
        lambda body: range_done_of(body, 3, 0, "done-0"),
    ]
    for read in reads:
        with pytest.raises(ValueError):
            read(body)


@pytest.mark.parametrize(
    "changes",
    [
        {"roots": []},
        {"roots": root(kind="TRIM_HORIZON") * 2},
        {"roots": root(kind="AFTER_SEQUENCE_NUMBER", value="x")},
        {"roots": root(kind="AT_TIMESTAMP")},
        {"roots": root(kind="AT_TIMESTAMP", value="9" * 5000)},
        {"roots": root(kind="SOMEWHERE")},
        {"roots": [{"shard": {"id": "../plans"}, "position": {"kind": "TRIM_HORIZON"}}]},
        {"closed_before": 10**18},
        {"closed_before": "yesterday"},
        {"first_hour": -(10**18)},
        {"seed": None},
    ],
    ids=str,
)
def test_state_of_raises_value_error_when_a_field_is_invalid(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        state_of(changed(STATE, **changes), "stream")


@pytest.mark.parametrize(
    "changes",
    [
        {"k": 4},
        {"upto": -1},
        {"after": 10**18, "upto": 10**18},
        {"target": 0},
        {"ranges": 0},
        {"ranges": 3},
        {"retired": {"shard": -2}},
        {"shards": {"shard": ENTRY | {"to": -2}}},
        {"shards": {"shard": ENTRY | {"next": 99}}},
        {"shards": {"shard": ENTRY | {"digest": ""}}},
        {"shards": {"shard": ENTRY | {"to": 1e300}}},
        {"shards": []},
    ],
    ids=str,
)
def test_plan_of_raises_value_error_when_a_field_is_invalid(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        plan_of(changed(PLAN, **changes), 3, "plan")


class GarblingStore(MemoryStore):
    """A store that returns HTML for one key, `garbled` times."""

    garbled = 0
    key = "stream.json"

    async def get(self, key: str) -> bytes:
        if key.endswith(self.key) and self.garbled:
            self.garbled -= 1
            return b"<html>"
        return await super().get(key)


def test_log_store_reads_a_garbled_document_four_times_more_before_it_raises_damaged() -> None:
    async def scenario() -> None:
        store = GarblingStore(vtime.VirtualClock())
        log_store = LogStore(store, "_vortex/s@1", Once())
        await log_store.begin(state_of(changed(STATE), "stream"))
        store.garbled = len(PAUSES_S)
        assert (await log_store.state()) == state_of(changed(STATE), "stream")
        store.garbled = len(PAUSES_S) + 1
        with pytest.raises(Damaged, match=r"_vortex/s@1/stream.json: is damaged.*Restore"):
            await log_store.state()

    vtime.run(scenario())


@pytest.mark.parametrize("name", ["stream.json", "plan.json", "done.json"])
def test_a_damaged_document_is_reported_by_verify_and_stops_the_worker_that_reads_it(name: str) -> None:
    async def scenario() -> None:
        world = World(shards=1)
        for number in range(5):
            world.put(f"id{number}")
            await world.clock.sleep(1)
        await (await world.begin()).kill()
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        key = [key for key in world.store.objects if key.endswith(name)][-1]
        world.store.objects[key] = world.store.objects[key][:-10]
        report = await verify_store(world.store)
        assert report.faults[0].invariant is Invariant.STATE_IS_THERE
        assert key in report.faults[0].what
        if name != "done.json":
            with pytest.raises(Damaged, match=key):
                plan: Plan = await (await world.begin()).log_store.last_plan(worker.state)
                raise AssertionError(plan)

    vtime.run(scenario())
