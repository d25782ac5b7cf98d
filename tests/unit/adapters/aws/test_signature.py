"""Quick signatures are those of botocore."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from vortex.adapters.aws.signature import SIGNERS

_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
_NAMES = st.sampled_from(
    [
        "Content-Type",
        "x-amz-target",
        "X-Amz-Checksum-CRC32",
        "If-None-Match",
        "Range",
        "Expect",
        "User-Agent",
        "Keep-Alive",
    ]
)
_PATHS = st.sampled_from(["/", "/bucket/a%3Db/%C3%A9.gz", "/a//b/../c", "/k?x=1&a=2&a=1", "/k?flag"])
_BODIES = st.sampled_from([None, b"", b"{}", bytes(range(256))])
_CHECKSUM = {"checksum": {"request_algorithm": {"algorithm": "crc32", "in": "header", "name": "X-Amz-Checksum-CRC32"}}}
_CONTEXTS = st.sampled_from(
    [{}, _CHECKSUM, {**_CHECKSUM, "has_streaming_input": True}, {"payload_signing_enabled": False}]
)


@given(
    st.sampled_from([("v4", SigV4Auth), ("s3v4", S3SigV4Auth)]), st.sampled_from(["GET", "PUT", "POST"]),
    st.sampled_from(["http", "https"]), _PATHS, st.dictionaries(_NAMES, _TEXT), _BODIES, _CONTEXTS,
    st.sampled_from([None, "token"]), st.sampled_from(["secret", "other"]), st.datetimes(datetime(2000, 1, 1)),
)  # fmt: skip
def test_signers_add_the_headers_of_botocore(
    signer: tuple[str, Any],
    method: str,
    scheme: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None,
    context: dict[str, Any],
    token: str | None,
    secret: str,
    at: datetime,
) -> None:
    """For every request, over plain HTTP and TLS, with and without a signed body; and the key is that of its day."""
    version, original = signer
    arguments = ReadOnlyCredentials("AKID", secret, token), "service", "eu-west-1"
    url, headers = f"{scheme}://host.invalid:8000{path}", {**headers, "Host": "host.invalid:8000"}
    expected = AWSRequest(method, url, headers, body)
    found: Any = SimpleNamespace(
        method=method, url=url, headers=dict(headers), body=body, params={}, context=dict(context)
    )
    expected.context.update(context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: at.replace(tzinfo=UTC))
        original(*arguments).add_auth(expected)
        SIGNERS[version](*arguments).add_auth(found)
    assert found.headers == dict(expected.headers.items())
