"""What clients do when AWS refuses credentials or the time of a signature, for each call, prepared or not."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.faultproxy import FaultProxy, in_thread
from tests.faults.strikes import error_reply
from tests.faults.wire import Headers, Reply, Request
from tests.issuer import CONTAINER, Issuer
from vortex.adapters.aws.client import new_session
from vortex.adapters.aws.credential_sources import Sources
from vortex.adapters.dynamodb.table import DynamoTable, open_dynamo_table
from vortex.adapters.kinesis.stream import KinesisStream, open_kinesis_stream
from vortex.adapters.s3.store import S3Store, open_s3_store
from vortex.ports import Denied, Unavailable

SUMMARY = {
    "StreamName": "s", "StreamARN": "a", "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24, "OpenShardCount": 1,
    "StreamCreationTimestamp": 1_700_000_000, "EnhancedMonitoring": [],
}  # fmt: skip
ANSWERS: dict[str, object] = {
    "GetRecords": {"Records": [], "NextShardIterator": "i", "MillisBehindLatest": 0},
    "ListShards": {"Shards": []},
    "DescribeStreamSummary": {"StreamDescriptionSummary": SUMMARY},
    "Scan": {"Items": [], "Count": 0},
}


class FakeAws:
    """Answers each call with success; its guard checks credentials and clocks."""

    def __init__(self) -> None:
        self.issuer = Issuer(life_s=36_000)
        self.signed: list[tuple[str, str]] = []
        """Calls that were answered, and the access key that signed each."""

    async def __call__(self, request: Request) -> Reply:
        if request.service in ("credentials", "sts"):
            return await self.issuer(request)
        self.signed.append((request.call, request.headers.value("authorization").split("Credential=")[1].split("/")[0]))
        date = formatdate(time.time() + self.issuer.skew_s, usegmt=True)
        headers = Headers([("Date", date), ("ETag", '"e"')])
        if request.call == "ListObjectsV2":
            return Reply(
                200, headers=headers, body=b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
            )
        if request.call == "GetObject":
            return Reply(206, headers=Headers([*headers, ("Content-Range", "bytes 0-1/2")]), body=b"ab")
        answer = ANSWERS.get(request.call)
        return Reply(200, headers=headers, body=b"" if answer is None else json.dumps(answer).encode())

    def guard(self, request: Request) -> Reply | None:
        refused = self.issuer.guard(request)
        if refused is None:
            return None
        return refused.having(("Date", formatdate(time.time() + self.issuer.skew_s, usegmt=True)))

    def forget(self) -> None:
        """Make every credential issued so far invalid."""
        for key in self.issuer._ends:
            self.issuer._ends[key] = 0.0


class Clients:
    """One client of each service, with one session."""

    def __init__(
        self, aws: FakeAws, proxy: FaultProxy, stream: KinesisStream, store: S3Store, table: DynamoTable
    ) -> None:
        self.aws, self.proxy, self.stream, self.store, self.table = aws, proxy, stream, store, table

    def call(self, name: str) -> Awaitable[Any]:
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "GetRecords": lambda: self.stream.read("shard", "iterator"),
            "ListShards": self.stream.list_shards,
            "DescribeStreamSummary": self.stream.describe,
            "PutObject": lambda: self.store.put_if_absent("k", b"ab"),
            "GetObject": lambda: self.store.get_range("k", 0, 2),
            "ListObjectsV2": self.listed,
            "Scan": self.table.rows,
        }
        return calls[name]()

    async def listed(self) -> list[str]:
        return [info.key async for info in self.store.list("")]


CALLS = ["GetRecords", "ListShards", "DescribeStreamSummary", "PutObject", "GetObject", "ListObjectsV2", "Scan"]


@pytest_asyncio.fixture
async def clients(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Clients]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    aws = FakeAws()
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FaultProxy(aws, guard=aws.guard))
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", proxy.url + CONTAINER)
        session = new_session("us-east-1")
        stream = await stack.enter_async_context(open_kinesis_stream("s", "us-east-1", proxy.url, session=session))
        store = await stack.enter_async_context(
            open_s3_store("s3://b/p", region="us-east-1", endpoint_url=proxy.url, session=session)
        )
        table = await stack.enter_async_context(
            open_dynamo_table("t", region="us-east-1", endpoint_url=proxy.url, session=session)
        )
        yield Clients(aws, proxy, stream, store, table)


async def test_clients_of_a_session_share_one_set_of_credentials(clients: Clients) -> None:
    """They are requested once."""
    for name in CALLS:
        await clients.call(name)
    assert clients.proxy.calls["ContainerCredentials"] == 1
    assert [call for call, _ in clients.aws.signed] == CALLS
    assert len({key for _, key in clients.aws.signed}) == 1


async def test_a_call_is_repeated_with_new_credentials_when_the_token_has_expired(clients: Clients) -> None:
    """At once, within the call, for every call."""
    for number, name in enumerate(CALLS, 1):
        await clients.call(name)
        clients.aws.forget()
        await clients.call(name)
        assert len({key for _, key in clients.aws.signed}) == clients.proxy.calls["ContainerCredentials"] == number + 1


async def test_a_wrong_local_clock_is_corrected_after_two_refusals(clients: Clients) -> None:
    """Within the call, and for all other calls; a correction that has become wrong is replaced, too."""
    for name in CALLS:
        for skew_s in (3600, -3600, 0):
            clients.aws.issuer.skew_s = skew_s
            await clients.call(name)
            refused = clients.aws.issuer.refused
            for other in CALLS:
                await clients.call(other)
            assert clients.aws.issuer.refused == refused, name


async def test_a_refused_signature_time_is_reported_with_the_clock_offset_when_it_is_a_day_off(
    clients: Clients,
) -> None:
    """Such an offset is not corrected."""
    clients.aws.issuer.skew_s = 3 * 86_400
    for name in ("GetRecords", "PutObject", "Scan"):
        with pytest.raises(Unavailable, match=r"clock: the local clock is 259... s behind the service's") as caught:
            await clients.call(name)
        assert caught.value.cause == "clock"


async def test_refused_credentials_are_reported_as_unavailable_with_source_and_region(clients: Clients) -> None:
    """It is not a denial: new credentials are requested."""
    await clients.call("GetRecords")
    clients.aws.issuer.life_s = -100.0  # the endpoint now returns expired credentials

    for name in ("GetRecords", "ListShards", "PutObject", "Scan"):
        clients.aws.forget()
        with pytest.raises(Unavailable) as caught:
            await clients.call(name)
        assert caught.value.cause == "credentials"
        assert f"container endpoint localhost:{clients.proxy.port}" in str(caught.value)
        assert "us-east-1" in str(caught.value)


@pytest.mark.parametrize("name", ["GetRecords", "ListShards", "PutObject", "Scan"])
async def test_a_denial_names_the_source_of_the_credentials_and_the_region(clients: Clients, name: str) -> None:
    """So a wrong role can be distinguished from a wrong policy."""

    async def origin(request: Request) -> Reply:
        if request.service == "credentials":
            return await clients.aws.issuer(request)
        return error_reply(
            request.service, 403, "AccessDenied" if name == "PutObject" else "AccessDeniedException", "m"
        )

    clients.proxy._origins[""] = origin
    with pytest.raises(Denied, match=f"container endpoint localhost:{clients.proxy.port}.*us-east-1"):
        await clients.call(name)
    assert clients.proxy.calls["ContainerCredentials"] == 1


async def test_error_messages_omit_secrets_that_a_service_repeats(clients: Clients) -> None:
    """The JSON services answer a wrong signature with the whole signed string, including the token."""
    seen: list[str] = []

    async def origin(request: Request) -> Reply:
        if request.service == "credentials":
            return await clients.aws.issuer(request)
        signature = request.headers.value("authorization").rpartition("Signature=")[2]
        token = request.headers.value("x-amz-security-token")
        seen.extend([signature, token])
        message = (
            f"The signature {signature} does not match; token {token}. authorization: Signature={signature}. "
            f"The Canonical String for this request should have been 'x-amz-security-token:{token}'"
        )
        code = "SignatureDoesNotMatch" if request.service == "s3" else "InvalidSignatureException"
        return error_reply(request.service, 403, code, message)

    clients.proxy._origins[""] = origin
    for name in CALLS:
        with pytest.raises(Unavailable) as caught:
            await clients.call(name)
        message = str(caught.value)
        assert "does not match" in message
        assert not any(secret in message for secret in [*seen, *clients.aws.issuer.secrets]), message


def test_assume_role_is_signed_with_the_corrected_time_when_the_local_clock_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """AssumeRole is a signed call, too."""
    issuer, ahead = Issuer(life_s=7200), 3600.0

    def guard(request: Request) -> Reply | None:
        if request.call != "AssumeRole":
            return None
        signed = datetime.strptime(request.headers.value("x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(signed.timestamp() - time.time() - ahead) < 300:
            return None
        reply = error_reply("sts", 403, "SignatureDoesNotMatch", "Signature expired: x is now earlier than y")
        return reply.having(("Date", formatdate(time.time() + ahead, usegmt=True)))

    proxy = FaultProxy(issuer, guard=guard)
    config = tmp_path / "config"
    config.write_text(
        "[profile night]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = day\n"
        "[profile day]\naws_access_key_id = AK\naws_secret_access_key = SK\n"
    )
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "night")
    session = new_session("us-east-1")
    with in_thread(proxy):
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", proxy.url)
        found = Sources("us-east-1", session._hook_source).find()
    assert found.frozen.secret_key in issuer.secrets
    assert session.clock.offset == pytest.approx(ahead, abs=5)
    assert proxy.calls == {"AssumeRole": 3}
