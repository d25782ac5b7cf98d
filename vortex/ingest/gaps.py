"""Proves that a shard has expired: a reply that does not know it is not enough to record a gap."""

from __future__ import annotations

from vortex.core.model import HOUR_MS, ShardInfo
from vortex.ports import Clock, Denied, Stream


async def listed_without(shard: str, name: str, stream: Stream, clock: Clock, watermark: int) -> list[ShardInfo] | None:
    """The listed shards, if `shard` is not among them; None if it is. `name` is for messages.

    `watermark`: how far it was read, epoch milliseconds. Raises Denied if it cannot have expired since then.
    """
    listed = await stream.list_shards()
    if any(each.id == shard for each in listed):
        return None
    info = await stream.describe()
    if clock.now_ms() < watermark + info.retention_ms:
        raise Denied(
            f"{name} is not listed, but it was read less than {info.retention_ms // HOUR_MS} h ago; "
            "Kinesis lists shards for that long, so no gap is assumed"
        )
    return listed
