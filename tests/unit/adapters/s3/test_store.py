"""The S3 store."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vortex.adapters.s3.store import S3Store
from vortex.ports import Denied, PortError, Unavailable


@pytest.mark.parametrize(
    ("code", "meaning", "cause"), [("AccessDenied", Denied, ""), ("InternalError", Unavailable, "delete")]
)
async def test_delete_names_the_key_that_was_not_deleted(code: str, meaning: type[PortError], cause: str) -> None:
    """DeleteObjects answers 200, with a result for each key."""

    class Client:
        meta = SimpleNamespace(region_name="eu-west-1", config=SimpleNamespace(connect_timeout=1, read_timeout=1))

        async def delete_objects(self, **_: object) -> dict[str, object]:
            return {"Errors": [{"Key": "pre/fix/a", "Code": code, "Message": "m"}]}

    with pytest.raises(PortError, match=rf"delete s3://bucket/pre/fix/a \(region eu-west-1\): {code}") as caught:
        await S3Store(Client(), "bucket", "pre/fix").delete(["a"])
    assert type(caught.value) is meaning
    assert getattr(caught.value, "cause", "") == cause
