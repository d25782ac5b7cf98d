"""Plans."""

from __future__ import annotations

import msgspec
import pytest

from vortex.core.log.segment import OtherVersion
from vortex.core.publish.plan import Plan, read_plan


def test_read_plan_refuses_a_plan_of_another_version() -> None:
    """An older plan would publish all copies; what a newer one means is unknown."""
    plan = Plan(k=7, after=0, upto=5, shards={}, target=1)
    assert read_plan(msgspec.json.encode(plan), "plan.json") == plan
    for version, remedy in ((2, "reads 3 and later. Drain"), (4, "run the newer one")):
        plan.version = version
        with pytest.raises(OtherVersion, match=f"plan.json: format version {version};.*{remedy}"):
            read_plan(msgspec.json.encode(plan), "plan.json")
