"""What errors of AWS mean to the caller, and parsing of times in replies."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.loaders import JSONFileLoader, create_loader

from vortex.adapters.aws.client import new_session, translate
from vortex.ports import Denied, IteratorExpired, NotFound, PortError, Unavailable


def reply(code: str, status: int = 400) -> ClientError:
    """An error reply of AWS."""
    return ClientError(
        {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Call",
    )


@pytest.mark.parametrize(
    ("error", "meaning", "cause"),
    [
        (reply("ProvisionedThroughputExceededException"), Unavailable, "throttled"),
        (reply("SlowDown", 503), Unavailable, "throttled"),
        (reply("ConditionalRequestConflict", 409), Unavailable, "conflict"),
        (reply("ExpiredTokenException"), Unavailable, "credentials"),
        (reply("KMSThrottlingException"), Unavailable, "kms"),
        (reply("TransactionConflictException"), Unavailable, "conflict"),
        (reply("RequestLimitExceeded"), Unavailable, "throttled"),
        (reply("InternalServerError", 500), Unavailable, "server"),
        (reply("ValidationException"), Denied, ""),
        (reply("InternalFailure", 500), Unavailable, "server"),
        (reply("SomethingNew", 400), Unavailable, "other"),
        (ReadTimeoutError(endpoint_url="u", error="e"), Unavailable, "timeout"),
        (EndpointConnectionError(endpoint_url="u"), Unavailable, "connection"),
        (ConnectionResetError("reset"), Unavailable, "connection"),
        (reply("AccessDenied", 403), Denied, ""),
        (reply("NoSuchBucket", 404), Denied, ""),
        (reply("ResourceNotFoundException"), Denied, ""),
        (NoCredentialsError(), Unavailable, "credentials"),
        (reply("InvalidClientTokenId", 403), Unavailable, "credentials"),
        (reply("SignatureDoesNotMatch", 403), Unavailable, "credentials"),
        (reply("NoSuchKey", 404), NotFound, ""),
        (reply("NoSuchKey", 500), Unavailable, "server"),
        (reply("ExpiredIteratorException", 502), Unavailable, "server"),
        (reply("AccessDenied", 503), Unavailable, "server"),
        (reply("ExpiredIteratorException"), IteratorExpired, ""),
        (reply("InvalidArgumentException"), Unavailable, "other"),  # for the token of a listing: start over
    ],
)
def test_translate_returns_the_port_error_by_what_the_caller_must_do(
    error: Exception, meaning: type[PortError], cause: str
) -> None:
    """The message names the call."""
    found = translate(error, "read shard-1")
    assert type(found) is meaning
    assert "read shard-1" in str(found)
    assert getattr(found, "cause", "") == cause


@pytest.mark.parametrize("tls", [ssl.create_default_context(), True, False])
def test_translate_names_host_and_cause_without_an_object_of_python_when_a_connection_fails(
    tls: ssl.SSLContext | bool,
) -> None:
    key = ConnectionKey("kinesis.example", 443, True, tls, None, None, None)
    found = translate(aiohttp.ClientConnectorError(key, OSError(111, "refused")), "read shard-1")
    assert str(found) == "read shard-1: Cannot connect to host kinesis.example:443 [refused]"


def test_translate_raises_an_error_that_is_not_of_the_service() -> None:
    with pytest.raises(KeyError):
        translate(KeyError("x"), "read")


@pytest.mark.parametrize(
    "text",
    ["2018-12-18T07:05:09Z", "2018-12-18T07:05:09.000Z", "Tue, 18 Dec 2018 07:05:09 GMT", 1545116709, 1545116709.0],
)
def test_timestamp_parser_reads_every_form_of_botocore(text: object) -> None:
    """In a tenth of botocore's time."""
    parser = new_session().get_component("response_parser_factory").create_parser("rest-xml")
    assert parser._timestamp_parser(text) == datetime(2018, 12, 18, 7, 5, 9, tzinfo=UTC)


def test_session_reads_the_same_models_as_botocore() -> None:
    """Plain and compressed ones; of a file that does not exist, nothing."""
    ours, theirs = new_session().get_component("data_loader"), create_loader()
    assert ours.load_data("endpoints") == theirs.load_data("endpoints")
    for service in ("kinesis", "s3", "dynamodb"):
        for kind in ("service-2", "endpoint-rule-set-1"):
            assert ours.load_service_model(service, kind) == theirs.load_service_model(service, kind)
    assert ours.file_loader.load_file("none") is JSONFileLoader().load_file("none") is None
