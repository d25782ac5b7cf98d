"""Single calls to the lease table: each is made once, and a conditional update shows the row that refused it.

API: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from vortex.adapters.aws.client import calling, code_of, status_of
from vortex.adapters.aws.exchange import Malformed
from vortex.adapters.dynamodb.lease_row import KEY, Value, row_of, same_value, text
from vortex.adapters.dynamodb.update import update_arguments
from vortex.core.fleet.lease import Lease
from vortex.ports import Denied, NotFound, Unavailable

T = TypeVar("T")
METHODS = {
    "CreateTable": "create_table",
    "DeleteItem": "delete_item",
    "DescribeTable": "describe_table",
    "GetItem": "get_item",
    "Scan": "scan",
    "UpdateItem": "update_item",
}
"""The permissions that a worker needs (IAM action to method)."""


class Refused(Exception):
    """A condition failed. `found` is the current row; None if there is none, or only `junk`."""

    def __init__(self, found: Lease | None, junk: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.found, self.junk = found, junk


class ConditionFailed(Exception):
    """A condition failed. `item` is the row as the reply shows it; empty if it shows none."""

    def __init__(self, item: dict[str, Any]) -> None:
        super().__init__()
        self.item = item


class InUse(Exception):
    """The table is being created, or already exists."""


class TableCalls:
    """Calls to one table over an aiobotocore client."""

    def __init__(self, client: Any, table: str, patience_s: float) -> None:
        self.table, self.patience_s = table, patience_s
        self._client = client

    async def call(self, operation: str, read: Callable[[dict[str, Any]], T], /, key: str = "", **arguments: Any) -> T:
        """Make one call and return `read(reply)`; any exception in `read` means a malformed reply."""
        what = f"dynamodb:{operation} on table {self.table} {key}".rstrip()
        async with calling(what, self.patience_s):
            try:
                return read(await getattr(self._client, METHODS[operation])(TableName=self.table, **arguments))
            except ClientError as error:
                code = code_of(error) if status_of(error) < 500 else ""  # an error of the server's own means no more
                if code == "ResourceNotFoundException" and operation == "DescribeTable":
                    raise NotFound(f"{what}: the table does not exist") from error
                if code == "ConditionalCheckFailedException" and "ConditionExpression" in arguments:
                    refused: Exception = ConditionFailed(dict(error.response.get("Item") or {}))
                elif code == "ResourceInUseException" and operation == "CreateTable":
                    refused = InUse()
                else:
                    raise
        raise refused

    async def update(
        self,
        key: str,
        *,
        expect: Mapping[str, Value | None],
        put: Mapping[str, Value] | None = None,
        add: Mapping[str, int] | None = None,
        remove: tuple[str, ...] = (),
        over_junk: bool = False,
    ) -> Lease:
        """One conditional UpdateItem; `expect` maps attributes to their values, None for an absent one.

        Raises Refused with the current row.
        """

        def read(reply: dict[str, Any]) -> Lease | None:
            item = reply["Attributes"]
            row = row_of(item)
            if row is not None and row.key != key:
                raise Malformed(f"the reply is of row {row.key[:100]}")
            for attribute, value in wanted.items():
                if value is not None and not same_value(item.get(attribute), value):
                    raise Malformed(f"{attribute} of the row is not what was just written")
            return row

        wanted = {a: value for a, value in expect.items() if a not in (add or {}) and a not in remove} | dict(put or {})

        try:
            row = await self.call(
                "UpdateItem",
                read,
                key,
                Key={KEY: text(key)},
                **update_arguments(expect=expect, put=put or {}, add=add or {}, remove=remove),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            item = failed.item or await self._item(key)
            if item and item.get(KEY) != text(key):
                what = f"the reply shows row {str(item.get(KEY))[:100]}, not {key}"
                raise Unavailable(f"dynamodb:UpdateItem on table {self.table}: {what}", "malformed") from None
            try:
                raise Refused(row_of(item) if item else None) from None
            except Malformed as problem:
                if over_junk:
                    raise Refused(None, item) from None
                raise Unavailable(f"dynamodb:UpdateItem on table {self.table}: {problem}", "malformed") from problem
        if row is None:
            raise Denied(f"table {self.table}, row {key}: is not a lease")
        return row

    async def _item(self, key: str) -> dict[str, Any]:
        """The row that made a condition fail, for servers that do not return it. Empty if there is none."""

        def read(reply: dict[str, Any]) -> dict[str, Any]:
            return dict(reply.get("Item") or {})

        return await self.call("GetItem", read, key, Key={KEY: text(key)}, ConsistentRead=True)
