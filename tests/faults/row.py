"""A row of the table of faults, and the calls that it can name."""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.strikes import Strike

KINESIS = frozenset({"GetRecords", "GetShardIterator", "ListShards", "DescribeStreamSummary"})
S3 = frozenset({"PutObject", "GetObject", "HeadObject", "ListObjectsV2", "DeleteObject", "DeleteObjects", "HeadBucket"})
DYNAMODB = frozenset(
    {"DescribeTable", "CreateTable", "Scan", "Query", "GetItem", "PutItem", "UpdateItem", "DeleteItem"}
    | {"TransactWriteItems", "BatchGetItem"}
)
STS = frozenset({"AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity"})
CREDENTIALS = frozenset({"ContainerCredentials", "ImdsToken", "ImdsRole", "ImdsCredentials"})
JSON = KINESIS | DYNAMODB
ANY = JSON | S3 | STS | CREDENTIALS
WRITES = frozenset({"PutObject", "PutItem", "UpdateItem"})
BODIES = ANY - {"HeadObject", "HeadBucket"}
SENT = frozenset({"PutObject"})
"""Calls with a large body."""
ISSUED = frozenset({"ContainerCredentials", "ImdsCredentials"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One row."""

    name: str
    what: str
    calls: frozenset[str]
    strike: Strike
    every: int = 1
    """Chosen once where others are chosen this many times: faults that make a caller wait are rarer."""
    legal: bool = False
    """Unusual but legal: a client must accept it without a retry."""
