"""The state of a fleet that was killed while it published, as a release stores it: later versions must read it.

    PYTHONPATH=. python -P tests/released_state.py tests/fixtures/states/VERSION.tar.xz

writes the file with the program in PYTHONPATH, in memory and in virtual time: before a release with the release's own,
later with a checkout of its tag. It holds each kind of file: logs with a
split, decisions, plans of two ranges, manifests, and a last plan whose ranges are done and which is not. The member
`puts.json` is what the stream had got, so that a test can go on where the release stopped.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

from simulation import vtime
from tests.leased_fleet import FleetWorld
from tests.loops import MINUTE

SECONDS = 5400
STUCK_FROM_S = 4300
"""From then on no plan gets done, as if the planner hung."""
_EVERY_S = 40
PUTS = "puts.json"


def world_of_a_release() -> FleetWorld:
    """The stream and the settings."""
    return FleetWorld(shards=2, period_ms=15 * MINUTE, range_bytes=1, every_s=450)


async def produce(world: FleetWorld) -> None:
    """Puts for SECONDS: each sixth event comes twice, some are broken, and the first shard splits."""
    for number in range(SECONDS // _EVERY_S):
        world.put(f"id{number}")
        if number % 6 == 5:
            world.put(f"id{number - 5}", key=f"again{number}")
        if number % 40 == 20:
            world.stream.put(f"broken{number}", b'{"id": "cut')
            world.broken += 1
        if number == 40:
            first = world.stream.shards()[0]
            world.stream.split(first.id, first.end_hash // 2)
        await world.clock.sleep(_EVERY_S)


async def made() -> dict[str, bytes]:
    """The files of the store, and PUTS."""
    world = world_of_a_release()
    members = [await world.join(), await world.join()]

    async def hang(operation: str, key: str) -> None:
        late = operation == "put" and key.endswith("/done.json") and world.clock.monotonic() > STUCK_FROM_S
        await world.clock.sleep(1e9 if late else 0)

    world.store.before = hang
    await produce(world)
    for member in members:
        await member.kill()
    return {**world.store.objects, PUTS: puts_of(world)}


def puts_of(world: FleetWorld) -> bytes:
    """Where each record lies."""
    return json.dumps([[put.shard, put.sequence, put.data.decode()] for put in world.stream.puts]).encode()


def main(path: Path) -> None:
    """Write the file: equal states give equal bytes. Raises FileExistsError: that of a released version stays."""
    with tarfile.open(path, "x:xz") as archive:
        for key, body in sorted(vtime.run(made()).items()):
            entry = tarfile.TarInfo(key)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
