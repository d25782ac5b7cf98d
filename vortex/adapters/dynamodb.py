"""The lease table in DynamoDB, attribute by attribute that of the Kinesis Client Library 2.x (and 3.x).

API: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html. Attributes, conditions and
increments: DynamoDBLeaseSerializer and DynamoDBLeaseRefresher of https://github.com/awslabs/amazon-kinesis-client.

Only UpdateItem writes, so attributes that others keep on a row survive. The conditions hold the owner and the token
besides the KCL's counter: after a table was restored to an earlier moment, a counter alone may come round again.
Nothing is retried in here; what failed with an outcome unknown may be called again by the caller, at its own pace.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from vortex.adapters.aws import client_config, new_session, translate
from vortex.core.lease import Checkpoint, Lease, outlived, renewed, same_acquisition
from vortex.ports import Denied, NotFound, Unavailable

KEY = "leaseKey"
COUNTER = "leaseCounter"
OWNER = "leaseOwner"
SWITCHES = "ownerSwitchesSinceCheckpoint"
CHECKPOINT = "checkpoint"
SUB = "checkpointSubSequenceNumber"
PENDING = ("pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState")
PARENTS = "parentShardId"
CHILDREN = "childShardIds"
START_HASH = "startingHashKey"
END_HASH = "endingHashKey"
THROUGHPUT = "throughputKBps"  # from here on 3.x
GIVER = "checkpointOwner"
ENTITY = "entityType"
TOKEN = "vortexToken"  # this and the next are not the KCL's
STREAM = "vortexStreamCreated"

_ATTRIBUTES = (OWNER, *PENDING, PARENTS, CHILDREN, START_HASH, END_HASH, THROUGHPUT, GIVER, TOKEN, STREAM)
"""What a row need not have."""
_ACTIVE_S = 60
_TRIES = 5

_Value = dict[str, Any]


class _Refused(Exception):
    """A condition did not hold. `found` is the row as it is; None where there is none."""

    def __init__(self, found: Lease | None) -> None:
        super().__init__()
        self.found = found


class DynamoTable:
    """LeaseTable over an aiobotocore client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    async def ensure(self) -> None:
        """See the port. Denied, too, where a table of that name has another key."""
        waited, pause = 0.0, 0.05
        while waited < _ACTIVE_S:
            if await self.active():
                return
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, 2.0)
        raise Unavailable(f"table {self._table}: not active after {_ACTIVE_S} s", "creating")

    async def active(self, *, create: bool = True) -> bool:
        """Whether the table is there and ready; where it is missing it is created, unless told not to: NotFound."""
        try:
            described = (await self._call("DescribeTable"))["Table"]
        except NotFound:
            if not create:
                raise
            await self._create_table()
            return False
        key = [(part["AttributeName"], part["KeyType"]) for part in described["KeySchema"]]
        if key != [(KEY, "HASH")]:
            raise Denied(f"table {self._table}: its key is {key}, not {KEY} alone: it is no lease table; name another")
        return bool(described["TableStatus"] in ("ACTIVE", "UPDATING"))

    async def probe(self) -> None:
        """Prove that conditions are honoured, by an update that must be refused and leaves nothing behind.

        Raises Denied where the table let it pass: two workers could then both take a lease.
        """
        key = "vortex-check"
        try:
            await self._update(key, put={COUNTER: _number(0), CHECKPOINT: _text("none")}, expect={KEY: _text(key)})
        except _Refused:
            return
        raise Denied(f"table {self._table} does not honour conditional writes: it took an update that it must refuse")

    async def rows(self) -> list[Lease]:
        """See the port."""
        found: list[Lease] = []
        start: dict[str, Any] = {}
        while True:
            page = await self._call("Scan", ConsistentRead=True, **start)
            found += [lease for item in page["Items"] if (lease := read_row(item)) is not None]
            if not page.get("LastEvaluatedKey"):
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def create(self, lease: Lease) -> bool:
        """See the port."""
        row = write_row(lease)
        del row[KEY]
        try:
            await self._update(lease.key, put=row, expect={KEY: None})
        except _Refused as refused:
            found = refused.found
        else:
            return True
        if found is None or not outlived(found, lease.stream):
            return found is not None and bool(lease.token) and same_acquisition(lease, found)
        rest = tuple(attribute for attribute in _ATTRIBUTES if attribute not in row)
        expect = {COUNTER: _number(found.counter), STREAM: _number(found.stream)}
        try:
            await self._update(lease.key, put=row, remove=rest, expect=expect)
        except _Refused:
            return False
        return True

    async def renew(self, lease: Lease) -> Lease | None:
        """See the port."""
        put = {COUNTER: _number(renewed(lease).counter)}
        if lease.throughput is not None:
            put[THROUGHPUT] = _number(round(lease.throughput, 3))
        try:
            return await self._update(lease.key, put=put, expect=_held(lease))
        except _Refused as refused:
            return _still_mine(lease, refused.found)

    async def take(self, lease: Lease, owner: str, token: str) -> Lease | None:
        """See the port."""
        put = {COUNTER: _number(lease.counter + 1), OWNER: _text(owner), TOKEN: _text(token)}
        switched = lease.owner is not None and lease.owner != owner
        if switched:
            put[GIVER] = _text(str(lease.owner))
        if lease.stream:
            put[STREAM] = _number(lease.stream)
        try:
            return await self._update(
                lease.key,
                put=put,
                add={SWITCHES: 1} if switched else {},
                remove=() if switched else (GIVER,),
                expect={COUNTER: _number(lease.counter), OWNER: _text(lease.owner) if lease.owner else None},
            )
        except _Refused as refused:
            return _still_mine(msgspec.structs.replace(lease, owner=owner, token=token), refused.found)

    async def checkpoint(self, lease: Lease, checkpoint: Checkpoint, *, children: tuple[str, ...] = ()) -> Lease | None:
        """See the port. Tried again at once where only one's own heartbeat was faster."""
        put = {CHECKPOINT: _text(checkpoint.sequence), SUB: _number(checkpoint.sub), SWITCHES: _number(0)}
        if children:
            put[CHILDREN] = _set(children)
        held: Lease | None = lease
        for _ in range(_TRIES):
            assert held is not None
            counter = {COUNTER: _number(held.counter + 1)}
            try:
                return await self._update(lease.key, put=put | counter, remove=PENDING, expect=_held(held))
            except _Refused as refused:
                held = _still_mine(lease, refused.found)
            if held is None or (held.checkpoint == checkpoint and set(children) <= set(held.children)):
                return held
        raise Unavailable(f"checkpoint {lease.key} in {self._table}: overtaken {_TRIES} times", "conflict")

    async def release(self, lease: Lease) -> Lease | None:
        """See the port."""
        expect = _held(lease)
        del expect[COUNTER]
        try:
            return await self._update(lease.key, add={COUNTER: 1}, remove=(OWNER, TOKEN, GIVER), expect=expect)
        except _Refused as refused:
            found = refused.found
        if found is None or found.owner is None:
            return found
        if found.giver is not None and found.giver == lease.owner:
            await self._hand_over(lease.key, found.giver)
        return None

    async def _hand_over(self, key: str, giver: str) -> None:
        """Tell the one who took the lease not to wait any longer; no heartbeat of anybody's, so the counter stays."""
        with contextlib.suppress(_Refused):  # it was taken on meanwhile, or waits no longer
            await self._update(key, remove=(GIVER,), expect={GIVER: _text(giver)})

    async def _create_table(self) -> None:
        try:
            await self._call(
                "CreateTable",
                KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except _InUse:
            return  # another worker was faster

    async def _update(
        self,
        key: str,
        *,
        expect: Mapping[str, _Value | None],
        put: Mapping[str, _Value] | None = None,
        add: Mapping[str, int] | None = None,
        remove: tuple[str, ...] = (),
    ) -> Lease:
        """One conditional UpdateItem; `expect` maps attributes to their values, None where one must be absent.

        Raises _Refused, with the row that stood in the way.
        """
        names: dict[str, str] = {}
        values: dict[str, _Value] = {}

        def name(attribute: str) -> str:
            # Through a placeholder: some names are words of the expression language.
            names[f"#{attribute}"] = attribute
            return f"#{attribute}"

        def value(kind: str, attribute: str, given: _Value) -> str:
            values[f":{kind}{attribute}"] = given
            return f":{kind}{attribute}"

        clauses = []
        if put:
            clauses.append("SET " + ", ".join(f"{name(a)} = {value('put', a, v)}" for a, v in put.items()))
        if add:
            clauses.append("ADD " + ", ".join(f"{name(a)} {value('add', a, _number(n))}" for a, n in add.items()))
        if remove:
            clauses.append("REMOVE " + ", ".join(map(name, remove)))
        conditions = [
            f"attribute_not_exists({name(a)})" if v is None else f"{name(a)} = {value('is', a, v)}"
            for a, v in expect.items()
        ]
        try:
            reply = await self._call(
                "UpdateItem",
                key,
                Key={KEY: _text(key)},
                UpdateExpression=" ".join(clauses),
                ConditionExpression=" AND ".join(conditions),
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except _ConditionFailed as failed:
            raise _Refused(await self._found(key, failed.item)) from None
        row = read_row(reply["Attributes"])
        if row is None:
            raise Denied(f"table {self._table}, row {key}: is no lease")
        return row

    async def _found(self, key: str, item: dict[str, Any]) -> Lease | None:
        """The row that made a condition fail; some servers do not send it along."""
        if not item:
            item = (await self._call("GetItem", key, Key={KEY: _text(key)}, ConsistentRead=True)).get("Item", {})
        return read_row(item) if item else None

    async def _call(self, operation: str, /, key: str = "", **arguments: Any) -> dict[str, Any]:
        what = f"dynamodb:{operation} on table {self._table} {key}".rstrip()
        try:
            reply: dict[str, Any] = await getattr(self._client, METHODS[operation])(TableName=self._table, **arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ConditionalCheckFailedException":
                raise _ConditionFailed(error.response.get("Item") or {}) from error
            if code == "ResourceNotFoundException" and operation == "DescribeTable":
                raise NotFound(f"{what}: there is no such table") from error
            if code == "ResourceInUseException" and operation == "CreateTable":
                raise _InUse from error
            raise translate(error, what) from error
        except (BotoCoreError, OSError, TimeoutError) as error:
            raise translate(error, what) from error
        return reply


METHODS = {
    "CreateTable": "create_table",
    "DescribeTable": "describe_table",
    "GetItem": "get_item",
    "Scan": "scan",
    "UpdateItem": "update_item",
}
"""What a worker must be allowed to do (IAM action to method)."""


class _ConditionFailed(Exception):
    def __init__(self, item: dict[str, Any]) -> None:
        super().__init__()
        self.item = item


class _InUse(Exception):
    """The table is being created, or is there already."""


def read_row(item: Mapping[str, _Value]) -> Lease | None:
    """A lease of a row in DynamoDB's JSON; None for a row of another entity (3.x), or without counter or checkpoint."""
    if item.get(ENTITY, {"S": "LEASE"}).get("S") != "LEASE" or COUNTER not in item or CHECKPOINT not in item:
        return None
    return Lease(
        key=item[KEY]["S"],
        owner=item[OWNER]["S"] if OWNER in item else None,
        counter=int(item[COUNTER]["N"]),
        checkpoint=Checkpoint(item[CHECKPOINT]["S"], int(item[SUB]["N"]) if SUB in item else 0),
        switches=int(item[SWITCHES]["N"]) if SWITCHES in item else 0,
        parents=tuple(sorted(item[PARENTS]["SS"])) if PARENTS in item else (),
        children=tuple(sorted(item[CHILDREN]["SS"])) if CHILDREN in item else (),
        start_hash=int(item[START_HASH]["S"]) if START_HASH in item else None,
        end_hash=int(item[END_HASH]["S"]) if END_HASH in item else None,
        token=item[TOKEN]["S"] if TOKEN in item else "",
        throughput=float(item[THROUGHPUT]["N"]) if THROUGHPUT in item else None,
        giver=item[GIVER]["S"] if GIVER in item else None,
        stream=int(item[STREAM]["N"]) if STREAM in item else 0,
    )


def write_row(lease: Lease) -> dict[str, _Value]:
    """The row of a lease in DynamoDB's JSON, as the KCL would put it; what is not known is left out."""
    row = {
        KEY: _text(lease.key),
        COUNTER: _number(lease.counter),
        CHECKPOINT: _text(lease.checkpoint.sequence),
        SUB: _number(lease.checkpoint.sub),
        SWITCHES: _number(lease.switches),
    }
    if lease.owner:
        row[OWNER] = _text(lease.owner)
    if lease.token:
        row[TOKEN] = _text(lease.token)
    if lease.parents:
        row[PARENTS] = _set(lease.parents)
    if lease.children:
        row[CHILDREN] = _set(lease.children)
    if lease.start_hash is not None and lease.end_hash is not None:
        row |= {START_HASH: _text(str(lease.start_hash)), END_HASH: _text(str(lease.end_hash))}
    if lease.throughput is not None:
        row[THROUGHPUT] = _number(round(lease.throughput, 3))
    if lease.giver:
        row[GIVER] = _text(lease.giver)
    if lease.stream:
        row[STREAM] = _number(lease.stream)
    return row


def _held(lease: Lease) -> dict[str, _Value | None]:
    """The condition that the row is as its owner knows it."""
    return {
        COUNTER: _number(lease.counter),
        OWNER: _text(lease.owner) if lease.owner else None,
        TOKEN: _text(lease.token) if lease.token else None,
    }


def _still_mine(lease: Lease, found: Lease | None) -> Lease | None:
    """What to go on from after a condition failed: the row, where the acquisition is still the same."""
    return found if found is not None and same_acquisition(lease, found) else None


def _text(value: str) -> _Value:
    return {"S": value}


def _number(value: float) -> _Value:
    return {"N": str(value)}


def _set(values: tuple[str, ...]) -> _Value:
    return {"SS": sorted(values)}


@asynccontextmanager
async def open_dynamo_table(
    table: str, *, region: str | None = None, endpoint_url: str | None = None
) -> AsyncIterator[DynamoTable]:
    """The table of that name; credentials come from where botocore looks for them.

    Time-outs are short: a heartbeat that takes longer than a lease lives is worth nothing.
    """
    session = new_session()
    config = client_config(
        session, max_pool_connections=16, connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1}
    )
    async with session.create_client(
        "dynamodb", region_name=region, endpoint_url=endpoint_url, config=config
    ) as client:
        yield DynamoTable(client, table)
