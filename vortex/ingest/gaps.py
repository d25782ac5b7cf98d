"""Whether records may have expired unread: one reply is not enough to record a gap, and none may be left out."""

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


async def unread_too_long(read_until: int, stream: Stream, now_ms: int | None = None) -> bool:
    """Whether records that came after `read_until`, epoch milliseconds, may have expired since.

    `now_ms`: the time of a page; None where there is no page, so that the service is asked.
    """
    info = await stream.describe()
    return read_until <= (await stream.server_time() if now_ms is None else now_ms) - info.retention_ms
