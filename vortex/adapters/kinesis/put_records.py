"""Puts records on a stream, and tells apart what was put, what was not, and what is unknown.

API: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html. botocore makes each call once: a
repeated call could put a record twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from vortex.adapters.aws.client import Session, calling, client_config, patience_of
from vortex.adapters.aws.exchange import Malformed
from vortex.ports import Denied, NotFound, PortError, PutOutcome, PutResult, Unavailable

_BUSY = {"ProvisionedThroughputExceededException"}
_NOT_PUT = {"throttled", "credentials", "kms", "clock", "conflict"}
"""Causes of `Unavailable` that the service gives before it puts anything."""


class KinesisSink:
    """A `ports.Sink`."""

    def __init__(self, client: Any, name_or_arn: str) -> None:
        self._client, self._stream = client, name_or_arn
        self._which = {"StreamARN" if name_or_arn.startswith("arn:") else "StreamName": name_or_arn}

    async def put(self, records: Sequence[tuple[str, bytes]]) -> list[PutResult]:
        """See the port."""
        rows = [{"PartitionKey": key, "Data": data} for key, data in records]
        meanings: dict[str, type[PortError]] = {"InvalidArgumentException": Denied, "ValidationException": Denied}
        try:
            async with calling(f"put_records {self._stream}", patience_of(self._client), meanings=meanings):
                reply = await self._client.put_records(Records=rows, **self._which)
                results = reply.get("Records")
                if not isinstance(results, list) or len(results) != len(rows):
                    raise Malformed(f"a reply without a result for each of {len(rows)} records")
                return [_result(row) for row in results]
        except (Denied, NotFound) as problem:
            return [PutResult(PutOutcome.REFUSED, str(problem))] * len(rows)
        except Unavailable as problem:
            outcome = PutOutcome.UNKNOWN
            if problem.cause in _NOT_PUT:
                outcome = PutOutcome.BUSY if problem.cause == "throttled" else PutOutcome.REFUSED
            return [PutResult(outcome, str(problem))] * len(rows)


def _result(row: dict[str, Any]) -> PutResult:
    """InternalFailure does not say whether the record was put."""
    code = row.get("ErrorCode")
    if not code:
        return PutResult(PutOutcome.SENT, str(row["SequenceNumber"]))
    return PutResult(PutOutcome.BUSY if code in _BUSY else PutOutcome.UNKNOWN, f"{code}: {row.get('ErrorMessage')}")


@asynccontextmanager
async def open_kinesis_sink(
    stream: str, region: str | None, endpoint_url: str | None, session: Session
) -> AsyncIterator[KinesisSink]:
    """A sink for the stream, by name or ARN."""
    config = client_config(session, connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1})
    async with session.create_client("kinesis", region_name=region, endpoint_url=endpoint_url, config=config) as client:
        yield KinesisSink(client, stream)
