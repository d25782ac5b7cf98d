"""The fault proxy injects the faults of its table, and otherwise passes requests and replies through unchanged."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.faultproxy import Deck, FaultProxy, only, script
from tests.faults import FAULTS
from tests.faults.row import ANY
from tests.faults.wire import Headers, Reply, Request
from tests.issuer import Issuer
from tests.privateca import private_ca

TARGETS = {
    "GetRecords": ("POST", "/", {"X-Amz-Target": "Kinesis_20131202.GetRecords"}),
    "GetShardIterator": ("POST", "/", {"X-Amz-Target": "Kinesis_20131202.GetShardIterator"}),
    "ListShards": ("POST", "/", {"X-Amz-Target": "Kinesis_20131202.ListShards"}),
    "DescribeStreamSummary": ("POST", "/", {"X-Amz-Target": "Kinesis_20131202.DescribeStreamSummary"}),
    "UpdateItem": ("POST", "/", {"X-Amz-Target": "DynamoDB_20120810.UpdateItem"}),
    "Scan": ("POST", "/", {"X-Amz-Target": "DynamoDB_20120810.Scan"}),
    "PutObject": ("PUT", "/bucket/some/key", {}),
    "GetObject": ("GET", "/bucket/some/key", {}),
    "ListObjectsV2": ("GET", "/bucket?list-type=2", {}),
    "DeleteObjects": ("POST", "/bucket?delete", {}),
    "AssumeRole": ("POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}),
    "ContainerCredentials": ("GET", "/credentials", {}),
}
RECORD = {"Data": "e30=", "SequenceNumber": "1", "PartitionKey": "k", "ApproximateArrivalTimestamp": 1.5}
LISTING = (
    b"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>3</Size>"
    b"<LastModified>2026-11-29T16:00:00.000Z</LastModified></Contents></ListBucketResult>"
)
TRUE: dict[str, object] = {
    "GetRecords": {"Records": [RECORD], "NextShardIterator": "i", "MillisBehindLatest": 0},
    "GetShardIterator": {"ShardIterator": "i"},
    "ListShards": {"Shards": [{"ShardId": "s"}]},
    "DescribeStreamSummary": {"StreamDescriptionSummary": {"StreamName": "s"}},
    "UpdateItem": {"Attributes": {}},
    "Scan": {"Items": [{"leaseKey": {"S": "s"}}], "Count": 1},
    "ContainerCredentials": {"AccessKeyId": "a", "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01"},
}
NOT_SEEN = {"carried_out_twice", "reply_after", "bare_newlines", "endless"}
"""Faults that a lenient client with one request per connection does not notice, and one that takes a second."""


async def origin(request: Request) -> Reply:
    """Answers every request."""
    body = LISTING if request.call == "ListObjectsV2" else json.dumps(TRUE.get(request.call, {"x": "y"})).encode()
    if request.call == "GetObject":
        return Reply(206, headers=Headers([("Content-Range", f"bytes 0-{len(body) - 1}/99")]), body=body)
    return Reply(200, headers=Headers([("ETag", '"e"')]), body=body)


Seen = tuple[int, bytes, dict[str, str]]


async def ask(proxy: FaultProxy, call: str, **options: Any) -> Seen:
    """Status, body and headers of the reply to one call over a connection of its own."""
    method, path, headers = TARGETS[call]
    body = {"POST": b"{}", "PUT": b"x" * 100_000}.get(method)
    if call == "AssumeRole":
        body = b"Action=AssumeRole&Version=2011-06-15"
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5), auto_decompress=False)
    session._retry_connection = False  # else it repeats a GET or a PUT by itself when the connection ends
    request = session.request(method, proxy.url + path, data=body, headers=headers, allow_redirects=False, **options)
    async with session, request as reply:
        return reply.status, await reply.read(), dict(reply.headers)


async def seen(proxy: FaultProxy, call: str, **options: Any) -> Seen | None:
    """The same, or None if there is no reply."""
    try:
        return await asyncio.wait_for(ask(proxy, call, **options), 5)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None


def without_date(reply: Seen | None) -> Seen | None:
    """A reply that can be compared."""
    return reply and (reply[0], reply[1], {name: text for name, text in reply[2].items() if name != "Date"})


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in NOT_SEEN])
async def test_proxy_injects_each_fault_once(name: str) -> None:
    """The true reply comes before and after it. A legal fault still gives a reply."""
    fault = FAULTS[name]
    call = next(call for call in TARGETS if call in fault.calls)
    options = {"expect100": True} if name.startswith("continue") else {}
    async with FaultProxy(origin, script(None, name), hang_s=0.05) as proxy:
        before, struck, after = [await seen(proxy, call, **options) for _ in range(3)]
        assert proxy.struck == {(call, name): 1}
    assert before is not None
    assert without_date(before) == without_date(after)
    if name.startswith("date"):
        assert struck is not None
        assert struck[1] == before[1]
        assert struck[2].get("Date") != before[2]["Date"]
    elif fault.legal:
        assert struck is not None
        assert struck[0] == before[0]
    else:
        assert without_date(struck) != without_date(before)


async def test_proxy_names_a_request_by_service_and_call() -> None:
    """Faults are chosen by these names."""
    came: list[tuple[str, str]] = []

    async def note(request: Request) -> Reply:
        came.append((request.service, request.call))
        return await origin(request)

    async with FaultProxy(note) as proxy:
        for call in TARGETS:
            await ask(proxy, call)
    services = ["kinesis"] * 4 + ["dynamodb"] * 2 + ["s3"] * 4 + ["sts", "credentials"]
    assert came == list(zip(services, TARGETS, strict=True))


async def test_proxy_passes_a_request_on_once_or_twice_or_never_by_fault() -> None:
    """As after a lost reply, a retrying proxy, or a drop."""
    came = 0

    async def count(request: Request) -> Reply:
        nonlocal came
        came += 1
        return await origin(request)

    async with FaultProxy(count, script("lost_reply", "carried_out_twice", "dropped", None)) as proxy:
        counts = []
        for _ in range(4):
            await seen(proxy, "PutObject")
            counts.append(came)
    assert counts == [1, 3, 3, 4]


async def test_proxy_counts_redirects_that_are_followed() -> None:
    """The sign-in page answers every request with 200."""
    async with FaultProxy(origin, only("redirect_302")) as proxy, aiohttp.ClientSession() as session:
        async with session.get(proxy.url + "/credentials") as reply:
            assert b"sign in" in (await reply.read()).lower()
        assert proxy.followed == 1


def test_deck_draws_every_fault_of_a_call_in_an_order_that_depends_on_its_seed() -> None:
    """Rare faults included."""

    def drawn(seed: int) -> list[str | None]:
        deck = Deck(seed, 0.5, {"GetRecords": 1.0})
        return [deck(Request("POST", "/", Headers(), service="kinesis", call="GetRecords")) for _ in range(5000)]

    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    counts = Counter(first)
    assert set(counts) == {fault.name for fault in FAULTS.values() if "GetRecords" in fault.calls}
    assert counts["silence"] < counts["html_200"]


def test_every_fault_names_known_calls() -> None:
    for fault in FAULTS.values():
        assert fault.calls
        assert fault.calls <= ANY


async def test_proxy_certificate_is_trusted_only_through_the_private_authority(tmp_path: Path) -> None:
    """TLS as behind a company's own authority."""
    context, bundle = private_ca(tmp_path)
    async with FaultProxy(origin, tls=context) as proxy:
        trusting = ssl.create_default_context(cafile=str(bundle))
        assert (await ask(proxy, "PutObject", ssl=trusting))[0] == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(proxy, "PutObject")


async def test_guard_refuses_unknown_credentials_in_the_error_format_of_each_service() -> None:
    issuer = Issuer(life_s=100)
    async with FaultProxy({"credentials": issuer, "": origin}, guard=issuer.guard) as proxy:
        status, body, _ = await ask(proxy, "ContainerCredentials")
        given = json.loads(body)
        assert {given["SecretAccessKey"], given["Token"]} == set(issuer.secrets)
        for call, code in [("GetRecords", b"ExpiredTokenException"), ("GetObject", b"<Code>ExpiredToken</Code>")]:
            status, body, _ = await ask(proxy, call)
            assert (status, code in body) == (400, True)
    assert issuer.refused == 2
