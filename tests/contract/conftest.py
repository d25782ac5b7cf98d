"""A lease table of each kind: memory, and DynamoDB (ministack, whose conditional writes are atomic)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from simulation.memtable import MemoryTable
from tests.contract.leases import FaultyTable, LossyClient
from vortex.adapters.dynamodb.table import DynamoTable, open_dynamo_table
from vortex.ports import LeaseTable


@pytest.fixture(params=["memory", "dynamodb"])
async def faulty(request: pytest.FixtureRequest) -> AsyncIterator[FaultyTable]:
    """A fresh table of each kind."""
    faulty = FaultyTable(request.param)
    if request.param == "memory":

        async def after(operation: str, key: str) -> None:
            if key:
                await faulty.reply()

        faulty.table = MemoryTable(after=after)
        yield faulty
        return
    url = request.getfixturevalue("dynamodb_url")
    async with open_dynamo_table(f"t-{uuid.uuid4().hex}", region="us-east-1", endpoint_url=url) as opened:
        await opened.ensure()
        faulty.table = DynamoTable(LossyClient(opened._calls._client, faulty), opened._table)
        yield faulty


@pytest.fixture
def table(faulty: FaultyTable) -> LeaseTable:
    """The table itself."""
    return faulty.table
