"""What a reply of PutRecords says about each record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from vortex.adapters.kinesis.put_records import KinesisSink
from vortex.ports import PutOutcome

META = SimpleNamespace(config=SimpleNamespace(connect_timeout=1, read_timeout=1))


class Client:
    """A client with one answer."""

    meta = META

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, list[Any]()

    async def put_records(self, **arguments: Any) -> Any:
        """The answer, or its exception."""
        self.asked.append(arguments)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def refused(code: str, status: int = 400) -> ClientError:
    """An error reply."""
    reply: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(reply, "PutRecords")


async def outcomes(answer: Any) -> list[PutOutcome]:
    """Of two records."""
    return [one.outcome for one in await KinesisSink(Client(answer), "s").put([("k", b"1"), ("k", b"2")])]


async def test_put_tells_each_record_apart() -> None:
    rows = [{"SequenceNumber": "1"}, {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "m"}]
    assert await outcomes({"Records": rows}) == [PutOutcome.SENT, PutOutcome.BUSY]
    rows[1] = {"ErrorCode": "InternalFailure", "ErrorMessage": "m"}
    assert await outcomes({"Records": rows}) == [PutOutcome.SENT, PutOutcome.UNKNOWN]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (refused("ProvisionedThroughputExceededException"), PutOutcome.BUSY),
        (refused("AccessDeniedException"), PutOutcome.REFUSED),
        (refused("ValidationException"), PutOutcome.REFUSED),
        (refused("ResourceNotFoundException"), PutOutcome.REFUSED),
        (refused("KMSDisabledException"), PutOutcome.REFUSED),
        (refused("InternalFailure", 500), PutOutcome.UNKNOWN),
        (ReadTimeoutError(endpoint_url="x"), PutOutcome.UNKNOWN),
        (ConnectionResetError(), PutOutcome.UNKNOWN),
        ({"Records": [{"SequenceNumber": "1"}]}, PutOutcome.UNKNOWN),
        ({}, PutOutcome.UNKNOWN),
    ],
)
async def test_put_is_unknown_unless_the_service_says_that_it_put_nothing(answer: Any, outcome: PutOutcome) -> None:
    assert await outcomes(answer) == [outcome] * 2


async def test_put_names_the_stream_by_name_or_arn() -> None:
    for name, key in (("s", "StreamName"), ("arn:aws:kinesis:eu-west-1:1:stream/s", "StreamARN")):
        client = Client({"Records": [{"SequenceNumber": "1"}]})
        await KinesisSink(client, name).put([("k", b"1")])
        assert client.asked == [{"Records": [{"PartitionKey": "k", "Data": b"1"}], key: name}]
