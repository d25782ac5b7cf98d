"""Records whose events are decoded in several slices."""

from __future__ import annotations

import json

from tests.loops import World


def put_events(world: World, record: int, count: int) -> None:
    """Put a record of `count` events, which are decoded in several slices."""
    ids = [f"{record}.{number}" for number in range(count)]
    data = [json.dumps({"c": "c", "t": "v", "id": name, "x": "x" * 300}) for name in ids]
    world.stream.put(str(record), "\n".join(data).encode())
    world.sent.update(ids)
