"""The lease table in DynamoDB, with the attributes of the Kinesis Client Library 2.x (and 3.x).

Attributes, conditions and increments: DynamoDBLeaseSerializer and DynamoDBLeaseRefresher of
https://github.com/awslabs/amazon-kinesis-client.

All writes but the removal of a row are UpdateItem, so foreign attributes of a row are kept. Conditions contain owner
and token as well as the KCL's counter: after a restore of the table a counter value may occur again. Nothing is retried
here; after an unknown outcome the caller may repeat the call at its own pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from vortex.adapters.aws.client import Session, client_config, new_session, patience_of
from vortex.adapters.aws.exchange import Malformed
from vortex.adapters.aws.pages import Pages
from vortex.adapters.dynamodb.calls import ConditionFailed, InUse, Refused, TableCalls
from vortex.adapters.dynamodb.lease_row import (
    ATTRIBUTES,
    CHECKPOINT,
    CHILDREN,
    COUNTER,
    KEY,
    OWNER,
    PENDING,
    PREVIOUS_OWNER,
    STORE,
    STREAM,
    SUB,
    SWITCHES,
    THROUGHPUT,
    TOKEN,
    Value,
    number,
    row_of,
    same_value,
    text,
    texts,
    write_row,
)
from vortex.adapters.dynamodb.update import update_arguments
from vortex.core.fleet.lease import Checkpoint, Lease, of_earlier_stream, renewed, same_acquisition
from vortex.ports import Denied, NotFound, Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")
_ACTIVE_S = 60
_TRIES = 5
_PATIENCE_S = 8.0


class DynamoTable:
    """LeaseTable over an aiobotocore client."""

    def __init__(self, client: Any, table: str, patience_s: float = _PATIENCE_S) -> None:
        self._table, self._calls = table, TableCalls(client, table, patience_s)
        self._junk: dict[str, int] = {}
        """By key, how many times in a row the row was invalid."""

    async def ensure(self) -> None:
        """See the port. Raises Denied, too, if a table of that name has another key."""
        waited, pause = 0.0, 0.05
        while waited < _ACTIVE_S:
            if await self.active():
                return
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, 2.0)
        raise Unavailable(f"table {self._table}: not active after {_ACTIVE_S} s", "creating")

    async def active(self, *, create: bool = True) -> bool:
        """Whether the table exists and is ready. Creates a missing table, or raises NotFound if not `create`."""

        def read(reply: dict[str, Any]) -> tuple[list[tuple[str, str]], str]:
            table = reply["Table"]
            return [(part["AttributeName"], part["KeyType"]) for part in table["KeySchema"]], table["TableStatus"]

        try:
            key, status = await self._calls.call("DescribeTable", read)
        except NotFound:
            if not create:
                raise
            await self._create_table()
            return False
        if key != [(KEY, "HASH")]:
            raise Denied(
                f"table {self._table}: its key is {str(key)[:200]}, not {KEY} alone: it is not a lease table; set "
                "coordination.table to another one"
            )
        return status in ("ACTIVE", "UPDATING")

    async def probe(self) -> None:
        """Check that conditions are honoured, with an update that must be refused and so changes nothing.

        Raises Denied if the table accepts it: two workers could then both take a lease.
        """
        key = "vortex-check"
        try:
            await self._calls.update(key, put={COUNTER: number(0), CHECKPOINT: text("none")}, expect={KEY: text(key)})
        except Refused:
            return
        raise Denied(
            f"table {self._table} does not honour conditional writes: it accepted an update that it must refuse"
        )

    async def rows(self) -> list[Lease]:
        """See the port."""
        found: dict[str, Lease] = {}
        pages, start = Pages(), dict[str, Any]()

        def read(page: dict[str, Any]) -> dict[str, Any]:
            before = len(found)
            for item in page["Items"]:
                if (lease := self._readable(item)) is not None:
                    found[lease.key] = lease
            following = page.get("LastEvaluatedKey")
            if following is not None:
                pages.check(following[KEY]["S"], new=len(found) > before)
            return {"ExclusiveStartKey": following} if following is not None else {}

        while True:
            start = await self._calls.call("Scan", read, ConsistentRead=True, **start)
            if not start:
                return list(found.values())

    def _readable(self, item: dict[str, Any]) -> Lease | None:
        """`row_of`. A row that is invalid several times in a row is invalid in the table, not only in a reply: it
        counts as missing, and `create` overwrites it.
        """
        try:
            lease = row_of(item)
        except Malformed as problem:
            key = str(item.get(KEY))
            self._junk[key] = self._junk.get(key, 0) + 1
            if self._junk[key] < _TRIES:
                raise
            log.warning("lease table %s: %s: treated as missing", self._table, problem)
            return None
        self._junk.pop(str(item.get(KEY)), None)
        return lease

    async def create(self, lease: Lease) -> bool:
        """See the port."""
        row = write_row(lease)
        del row[KEY]
        try:
            await self._calls.update(lease.key, put=row, expect={KEY: None}, over_junk=True)
        except Refused as refused:
            found, junk = refused.found, refused.junk
        else:
            return True
        if junk is not None:
            expect = {attribute: junk.get(attribute) for attribute in (COUNTER, OWNER, CHECKPOINT)}
        elif found is not None and of_earlier_stream(found, lease.stream):
            expect = {COUNTER: number(found.counter), STREAM: number(found.stream)}
        else:
            return found is not None and bool(lease.token) and same_acquisition(lease, found)
        rest = tuple(attribute for attribute in ATTRIBUTES if attribute not in row)
        try:
            await self._calls.update(lease.key, put=row, remove=rest, expect=expect)
        except Refused:
            return False
        return True

    async def renew(self, lease: Lease) -> Lease | None:
        """See the port."""
        put = {COUNTER: number(renewed(lease).counter)}
        if lease.throughput is not None:
            put[THROUGHPUT] = number(round(lease.throughput, 3))
        try:
            return await self._calls.update(lease.key, put=put, expect=_held(lease))
        except Refused as refused:
            return _still_mine(lease, refused.found)

    async def take(self, lease: Lease, owner: str, token: str) -> Lease | None:
        """See the port."""
        put = {COUNTER: number(lease.counter + 1), OWNER: text(owner), TOKEN: text(token)}
        switched = lease.owner is not None and lease.owner != owner
        if switched:
            put[PREVIOUS_OWNER] = text(str(lease.owner))
        if lease.stream:
            put[STREAM] = number(lease.stream)
        if lease.store:
            put[STORE] = text(lease.store)
        try:
            return await self._calls.update(
                lease.key,
                put=put,
                add={SWITCHES: 1} if switched else {},
                remove=() if switched else (PREVIOUS_OWNER,),
                expect={COUNTER: number(lease.counter), OWNER: _owner(lease)},
            )
        except Refused as refused:
            return _still_mine(msgspec.structs.replace(lease, owner=owner, token=token), refused.found)

    async def checkpoint(self, lease: Lease, checkpoint: Checkpoint, *, children: tuple[str, ...] = ()) -> Lease | None:
        """See the port. Retried at once if only the own heartbeat came first."""
        put = {CHECKPOINT: text(checkpoint.sequence), SUB: number(checkpoint.sub), SWITCHES: number(0)}
        if children:
            put[CHILDREN] = texts(children)
        held: Lease | None = lease
        for _ in range(_TRIES):
            assert held is not None
            counter = {COUNTER: number(held.counter + 1)}
            try:
                return await self._calls.update(lease.key, put=put | counter, remove=PENDING, expect=_held(held))
            except Refused as refused:
                held = _still_mine(lease, refused.found)
            if held is None or (held.checkpoint == checkpoint and set(children) <= set(held.children)):
                return held
        raise Unavailable(
            f"checkpoint {lease.key} in {self._table}: another write came first, {_TRIES} times in a row", "conflict"
        )

    async def release(self, lease: Lease) -> Lease | None:
        """See the port."""
        expect = _held(lease)
        del expect[COUNTER]
        try:
            return await self._calls.update(
                lease.key, add={COUNTER: 1}, remove=(OWNER, TOKEN, PREVIOUS_OWNER), expect=expect
            )
        except Refused as refused:
            found = refused.found
        if found is None or found.owner is None:
            return found
        if found.previous_owner is not None and found.previous_owner == lease.owner:
            await self._hand_over(lease.key, found.previous_owner)
        return None

    async def remove(self, lease: Lease) -> bool:
        """See the port."""
        expect = {
            COUNTER: number(lease.counter),
            CHECKPOINT: text(lease.checkpoint.sequence),
            OWNER: _owner(lease),
        }
        arguments = update_arguments(expect=expect, put={}, add={}, remove=())
        del arguments["UpdateExpression"]

        def read(reply: dict[str, Any]) -> None:
            if not same_value(reply["Attributes"].get(KEY), text(lease.key)):
                raise Malformed("the reply does not show the row that was removed")

        key = {KEY: text(lease.key)}
        try:
            await self._calls.call("DeleteItem", read, lease.key, Key=key, ReturnValues="ALL_OLD", **arguments)
        except ConditionFailed:
            return False
        return True

    async def _hand_over(self, key: str, previous_owner: str) -> None:
        """Tell the new owner of the lease to stop waiting. Not a heartbeat, so the counter stays."""
        with contextlib.suppress(Refused):  # the lease was taken again, or the new owner does not wait any more
            await self._calls.update(key, remove=(PREVIOUS_OWNER,), expect={PREVIOUS_OWNER: text(previous_owner)})

    async def _create_table(self) -> None:
        try:
            await self._calls.call(
                "CreateTable",
                dict,
                KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except InUse:
            return  # another worker was faster


def _owner(lease: Lease) -> Value | None:
    """The owner in a condition. An empty name is not a missing one: an operator may have cleared it by hand."""
    return None if lease.owner is None else text(lease.owner)


def _held(lease: Lease) -> dict[str, Value | None]:
    """The condition that the row is unchanged since its owner read or wrote it."""
    return {
        COUNTER: number(lease.counter),
        OWNER: _owner(lease),
        TOKEN: text(lease.token) if lease.token else None,
    }


def _still_mine(lease: Lease, found: Lease | None) -> Lease | None:
    """The row to continue from after a failed condition, if the acquisition is still the same."""
    return found if found is not None and same_acquisition(lease, found) else None


@asynccontextmanager
async def open_dynamo_table(
    table: str,
    *,
    session: Session | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
    connect_timeout_s: float = 3,
    read_timeout_s: float = 5,
) -> AsyncIterator[DynamoTable]:
    """Open the table of that name, with the credentials of the session.

    Time-outs are short: a heartbeat that takes longer than the failover time is useless.
    """
    session = session or new_session(region)
    config = client_config(
        session,
        max_pool_connections=16,
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        retries={"total_max_attempts": 1},
    )
    async with session.create_client(
        "dynamodb", region_name=region, endpoint_url=endpoint_url, config=config
    ) as client:
        yield DynamoTable(client, table, patience_of(client))
