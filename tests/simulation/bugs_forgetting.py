"""Bugs to plant in forgetting shards: each function is a context that has the bug."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import msgspec

import vortex.publish.forgetting
from vortex.core.publish.forgetting import forgetting
from vortex.log.store import LogStore
from vortex.publish.forgetting import Forgetter


def when_published() -> Any:
    def early(self: Forgetter, plan: Any, views: Any) -> Any:
        self.saw(views)
        return forgetting(plan, views, self._ends, set(plan.retired), 0)

    return patch.object(Forgetter, "without_forgotten", early)


def although_a_child_is_live() -> Any:
    def careless(plan: Any, views: Any, ends: Any, absent: Any, age_ms: int) -> Any:
        orphans = {shard: msgspec.structs.replace(entry, parents=()) for shard, entry in plan.shards.items()}
        made = forgetting(msgspec.structs.replace(plan, shards=orphans), views, ends, absent, age_ms)
        return msgspec.structs.replace(plan, retired=made.retired)

    return patch.object(vortex.publish.forgetting, "forgetting", careless)


def although_a_log_names_it() -> Any:
    """The children that the logs name are not minded."""

    def careless(plan: Any, views: Any, ends: Any, absent: Any, age_ms: int) -> Any:
        childless = {shard: end._replace(children=()) for shard, end in ends.items()}
        return forgetting(plan, {}, childless, absent, age_ms)

    return patch.object(vortex.publish.forgetting, "forgetting", careless)


def only_whole_logs_are_read() -> Any:
    async def none(self: LogStore, shard: str) -> None:
        return None

    return patch.object(LogStore, "_last", none)
