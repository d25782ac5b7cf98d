"""Cookies of a proxy or load balancer are not kept: requests would grow until a server refuses them, for good."""

from __future__ import annotations

import json
import socket

from tests.faultproxy import FaultProxy
from tests.faults.strikes import error_reply
from tests.faults.wire import Headers, Reply, Request
from tests.tinyaws import TinyAws
from vortex.adapters.kinesis.stream import open_kinesis_stream

_MOST_BYTES = 8192
"""Of the headers of a request; nginx takes as much in one line by default."""
_CALLS = 12
_COOKIES = 10
"""In each reply."""


class Balancer(TinyAws):
    """Sets new cookies with each reply, and refuses requests with large headers."""

    def __init__(self) -> None:
        super().__init__()
        self.cookies: list[str] = []
        """The Cookie header of each request."""

    async def __call__(self, request: Request) -> Reply:
        self.cookies.append(request.headers.value("cookie"))
        if sum(len(name) + len(value) for name, value in request.headers) > _MOST_BYTES:
            return error_reply("s3", 431, "", "the headers are too large")
        number = len(self.cookies)
        headers = Headers([("Set-Cookie", f"c{number}-{each}={'x' * 100}; Path=/") for each in range(_COOKIES)])
        summary = {"StreamName": "s", "StreamARN": "a", "StreamCreationTimestamp": 1.7e9, "RetentionPeriodHours": 24}
        return Reply(200, headers=headers, body=json.dumps({"StreamDescriptionSummary": summary}).encode())


async def test_calls_go_on_behind_a_proxy_that_sets_cookies_under_new_names() -> None:
    balancer = Balancer()
    async with FaultProxy(balancer) as proxy:
        named = proxy.url.replace("127.0.0.1", "localhost")  # no cookies are kept of an address
        assert socket.gethostbyname("localhost") == "127.0.0.1"
        async with open_kinesis_stream("s", "us-east-1", named) as stream:
            for _ in range(_CALLS):
                assert (await stream.describe()).name == "s"
    assert balancer.cookies == [""] * _CALLS
