"""State that a release has stored is read by this version, or refused by a sentence that says what to do.

tests/fixtures/states has a state of each release, which tests/released_state.py made with the release's own program.
"""

from __future__ import annotations

import asyncio
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from simulation import vtime
from tests.leased_fleet import FleetWorld, all_leave
from tests.released_state import PUTS, main, produce, puts_of, world_of_a_release
from vortex.commands.existing_state import newest_life
from vortex.core.dedup.decided import DECISION_TRAILER
from vortex.core.log.segment import SEGMENT_TRAILER, VERSION
from vortex.core.log.trailer import OtherVersion, Trailer
from vortex.core.publish.contents import DONE_VERSION
from vortex.core.publish.plan import PLAN_VERSION
from vortex.core.publish.ranges import RANGE_VERSION
from vortex.exits import Exit
from vortex.lookup.explain import Explainer, Scope
from vortex.lookup.identity import by_id
from vortex.runtime.app import App
from vortex.runtime.assembly import assemble, loaded_state, policy_of
from vortex.verify.store import verify_store

ROOT = Path(__file__).parents[2]
STATES = {path.name.removesuffix(".tar.xz"): path for path in sorted((ROOT / "tests/fixtures/states").glob("*.tar.xz"))}
FIRST = (0, 2, 0)
"""The first release."""


def files_of(path: Path) -> dict[str, bytes]:
    """The members of a state's archive."""
    with tarfile.open(path) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]


async def world_after(path: Path) -> FleetWorld:
    """Where the release stopped: the stream with all its records, and the store."""
    files, world = files_of(path), world_of_a_release()
    await produce(world)
    assert puts_of(world) == files.pop(PUTS), "the stream in memory numbers records otherwise than when this was made"
    for key, body in files.items():
        world.store.put_now(key, body)
    return world


def test_state_of_a_released_version_is_never_written_again() -> None:
    before = STATES["0.2.0"].read_bytes()
    with pytest.raises(FileExistsError):
        main(STATES["0.2.0"])
    assert STATES["0.2.0"].read_bytes() == before


def test_each_release_has_a_state_that_later_versions_must_read() -> None:
    """tests/released_state.py says how it is made."""
    headings = re.findall(r"^## \[(\d+)\.(\d+)\.(\d+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    released = {version for heading in headings if (version := tuple(map(int, heading))) >= FIRST}
    assert released | {FIRST} <= {tuple(map(int, name.split("."))) for name in STATES}


@pytest.mark.parametrize("release", STATES)
def test_fleet_goes_on_exactly_once_where_a_release_stopped(release: str) -> None:
    """From a log with a split and a plan that is half published; repeats of what the release accepted are dropped."""

    async def scenario() -> None:
        world = await world_after(STATES[release])
        logs, decided = ([key for key in world.store.objects if part in key] for part in ("/shards/", "/dedup/"))
        members = [await world.join(), await world.join()]
        for number in range(40):
            world.put(f"id{len(world.sent) - 25}", key=f"later{number}")
            world.put(f"new{number}")
            await world.clock.sleep(30)
        await world.clock.sleep(7200)
        assert all(member.env.health.report() == {} for member in members)
        await all_leave(members)
        await world.verified()
        hours = [key for key in world.store.objects if key.startswith("_hours/")]
        assert [key.split("hour=")[1][:2] for key in hours] == ["22", "23", "00", "01"]
        assert logs and decided

    vtime.run(scenario())


RANGE = "0000000005/done-1.json"
KINDS: dict[str, Callable[[bytes, int], bytes]] = {}


def _json(body: bytes, version: int) -> bytes:
    return json.dumps(json.loads(body) | {"version": version}).encode()


def _with(trailer: Trailer) -> Callable[[bytes, int], bytes]:
    def changed(body: bytes, version: int) -> bytes:
        part, _ = trailer.body(body, "x")
        return body[: -trailer.size] + trailer.of(part, version)

    return changed


KINDS |= {
    "stream.json": _json,
    "0000000005/plan.json": _json,
    "0000000004/done.json": _json,
    RANGE: _json,
    "000000000009.seg": _with(SEGMENT_TRAILER),
    "dedup/0000000005-0": _with(DECISION_TRAILER),
}
NEWEST = {
    "0000000005/plan.json": PLAN_VERSION,
    "0000000004/done.json": DONE_VERSION,
    RANGE: RANGE_VERSION,
    "000000000009.seg": VERSION,
}
"""Of the files whose newest version the release did not write."""


def version_of(body: bytes) -> int:
    """The format version of a file."""
    return int(json.loads(body)["version"]) if body.startswith(b"{") else SEGMENT_TRAILER.version(body)


@pytest.mark.parametrize("step", [-1, 1], ids=["older", "newer"])
@pytest.mark.parametrize("kind", KINDS)
def test_worker_and_verify_and_explain_say_what_to_do_when_a_file_has_another_version(kind: str, step: int) -> None:
    """And nothing is written that the version of the file would not expect."""

    async def scenario() -> None:
        world = await world_after(STATES["0.2.0"])
        (key,) = [key for key in world.store.objects if key.endswith(kind)]
        known = version_of(world.store.objects[key])
        version = (NEWEST.get(kind, known) if step > 0 else known) + step
        world.store.objects[key] = KINDS[kind](world.store.objects[key], version)
        remedy = "run the newer one" if step > 0 else "Drain the stream with the version that wrote it"
        sentence = re.compile(re.escape(f"{key}: format version {version}; this program ") + f".*{remedy}")
        for name, run in READERS.items():
            if kind == RANGE and name != "worker":
                continue  # nobody else reads it
            said = await run(world)
            assert sentence.search(said), (name, said)

    vtime.run(scenario())


async def working(world: FleetWorld) -> str:
    """What a worker says that runs for two hours; its exit code must say that the state needs a person."""
    env = world.environment()
    env.table = None
    try:
        state, log_store = await loaded_state(env)
    except OtherVersion as problem:
        return str(problem)  # with the exit code LOST_STATE, by vortex.runtime.service
    app = App(assemble(env, state, log_store, drain=False))
    running = asyncio.ensure_future(app.run())
    for _ in range(120):
        if not env.health.report():
            await world.clock.sleep(60)
    said = " ".join(env.health.report().values())
    app.stop()
    assert await running is Exit.LOST_STATE
    return said


async def verifying(world: FleetWorld) -> str:
    """What `vortex verify` says."""
    with pytest.raises(OtherVersion) as refusal:
        await verify_store(world.store)
    return str(refusal.value)


async def explaining(world: FleetWorld) -> str:
    """What `vortex explain` says of an event in each period."""
    said = []
    try:
        log_store, state = await newest_life(world.store, world.stream.name)
        explainer = Explainer(log_store, state, policy_of(world.settings(), state), Scope(world.stream))
        for number in range(0, len(world.sent), 10):
            answer = await explainer.explain(by_id("c1", f"id{number}", state.seed))
            said += answer.notes
    except OtherVersion as problem:
        said.append(str(problem))
    return " ".join(said)


READERS = {"worker": working, "verify": verifying, "explain": explaining}
