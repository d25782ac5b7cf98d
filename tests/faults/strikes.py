"""What faults do: each handles one `Exchange`, and does it wrong in its own way. `tests.faults` names them.

A strike returns whether the connection can be used again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from tests.faults.wire import Exchange, Headers, Reply

Strike = Callable[[Exchange], Awaitable[bool]]

LOGIN = "/__login"
"""The path of the page that redirects lead to; the proxy serves it and counts the requests."""
HTML = b"<html><head><title>Sign in</title></head><body>Please sign in to use this network.</body></html>"
DAY_S = 86_400
_PAUSE_S = 0.02
_ENDLESS = 96 * 2**20


# Invented replies; the request is not passed on.


def canned(status: int, reason: str, body: bytes = b"", kind: str = "text/html", *headers: tuple[str, str]) -> Strike:
    """This reply to every request."""

    async def strike(x: Exchange) -> bool:
        await x.body()
        fields = Headers([("Content-Type", kind), ("Date", formatdate(usegmt=True)), *headers])
        return await x.send(Reply(status, reason, fields, body))

    return strike


def html(status: int, reason: str, *headers: tuple[str, str]) -> Strike:
    """An HTML page."""
    return canned(status, reason, HTML, "text/html", *headers)


def error(codes: dict[str, tuple[int, str]], message: str = "injected by the fault proxy") -> Strike:
    """An error in the format of the called service; `codes`: status and code by service."""

    async def strike(x: Exchange) -> bool:
        await x.body()
        return await x.send(error_reply(x.request.service, *codes[x.request.service], message))

    return strike


def error_reply(service: str, status: int, code: str, message: str) -> Reply:
    """An error in the format of that service."""
    date = ("Date", formatdate(usegmt=True))
    if service in ("kinesis", "dynamodb"):
        prefix = "com.amazonaws.dynamodb.v20120810#" if service == "dynamodb" else ""
        body = json.dumps({"__type": prefix + code, "message": message}).encode()
        return Reply(status, "Error", Headers([("Content-Type", "application/x-amz-json-1.1"), date]), body)
    if service == "credentials":
        body = json.dumps({"Code": code, "Message": message}).encode()
        return Reply(status, "Error", Headers([("Content-Type", "application/json"), date]), body)
    inner = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    if service == "sts":
        inner = f"<ErrorResponse>{inner}<RequestId>1</RequestId></ErrorResponse>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{inner}'.encode()
    return Reply(status, "Error", Headers([("Content-Type", "application/xml"), date]), body)


def raw(data: bytes) -> Strike:
    """These bytes instead of a reply, then the end."""

    async def strike(x: Exchange) -> bool:
        await x.body()
        await x.write(data)
        return False

    return strike


# Connections.


async def refuse(x: Exchange) -> bool:
    return False


async def reset(x: Exchange) -> bool:
    return x.reset()


async def drop_request(x: Exchange) -> bool:
    await x.body()
    return False


async def lose_reply(x: Exchange) -> bool:
    await x.forward()
    return False


async def lose_reply_rst(x: Exchange) -> bool:
    await x.forward()
    return x.reset()


async def silence(x: Exchange) -> bool:
    await x.body()
    return await x.hang()


async def silence_after(x: Exchange) -> bool:
    await x.forward()
    return await x.hang()


async def ignore_expect(x: Exchange) -> bool:
    """Like a server that does not know `Expect`: it waits for the body."""
    async with asyncio.timeout(x.hang_s):
        await x.body(go_on=False)
    return await x.send(await x.forward())


async def continue_twice(x: Exchange) -> bool:
    if x.expects:
        await x.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return await x.send(await x.forward())


async def refuse_body(x: Exchange) -> bool:
    """Answers before the body has arrived, and closes."""
    await x.send(error_reply(x.request.service, 503, "SlowDown", "not now").having(("Connection", "close")))
    return False


async def redirect_early(x: Exchange) -> bool:
    """Redirects before the body has arrived."""
    await x.send(Reply(307, "Temporary Redirect", Headers([("Location", LOGIN), ("Connection", "close")])))
    return False


async def stop_reading(x: Exchange) -> bool:
    """Reads a little of the request's body, and then nothing."""
    if x.expects:
        await x.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if x.unread:
        await x.reader.read(1000)
    x.writer.transport.pause_reading()  # type: ignore[attr-defined]  # every transport of a stream can
    await asyncio.sleep(x.hang_s)
    return x.reset()


async def reset_in_request(x: Exchange) -> bool:
    """RST in the middle of the request's body."""
    if x.expects:
        await x.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if x.unread:
        await x.reader.read(1000)
    return x.reset()


async def twice(x: Exchange) -> bool:
    """Passed on twice, as by a proxy that retries; the second reply is sent."""
    await x.forward()
    return await x.send(await x.forward())


async def later(x: Exchange) -> bool:
    """Passed on some seconds after the connection has ended."""
    await x.body()
    wait_s = x.rng.uniform(0.5, 4)

    async def carry_out() -> None:
        await asyncio.sleep(wait_s)
        await x.origin(x.request)

    x.late(carry_out())
    return x.reset()


# Other ways to send the true reply.


def half(end: Callable[[Exchange], Awaitable[bool]], *, of_head: bool = False) -> Strike:
    """Half of the body (or of the head), then `end`."""

    async def strike(x: Exchange) -> bool:
        reply = await x.forward()
        head = reply.head(f"Content-Length: {len(reply.body)}")
        await x.write(head[: len(head) // 2] if of_head else head + reply.body[: len(reply.body) // 2])
        return await end(x)

    return strike


def lengths(*lines: str, off: int = 0, more: bytes = b"", stays: bool = False) -> Strike:
    """A length that is `off`, or other `lines` in its place; `more` bytes at the end."""

    async def strike(x: Exchange) -> bool:
        reply = await x.forward()
        length = lines or (f"Content-Length: {max(0, len(reply.body) + off)}",)
        await x.write(reply.head(*(line.format(n=len(reply.body)) for line in length)) + reply.body + more)
        return stays

    return strike


def chunks(last: bytes, *, share: float = 1, stays: bool = False) -> Strike:
    """In seven chunks, with this share of the body, then `last`."""

    async def strike(x: Exchange) -> bool:
        reply = await x.forward()
        body = reply.body[: int(len(reply.body) * share)]
        step = max(1, len(body) // 7)
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        await x.write(reply.head("Transfer-Encoding: chunked"))
        await x.write(b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + last)
        return stays

    return strike


async def endless(x: Exchange) -> bool:
    """A body of 96 MiB without a length."""
    await x.body()
    await x.write(Reply(200, headers=Headers([("Transfer-Encoding", "chunked")])).head())
    for _ in range(_ENDLESS // 2**20):
        await x.write(b"100000\r\n" + b" " * 2**20 + b"\r\n")
    return False


async def trickle(x: Exchange) -> bool:
    reply = await x.forward()
    step = max(1, len(reply.body) // 40)
    await x.write(reply.head(f"Content-Length: {len(reply.body)}"))
    return await x.trickle((reply.body[at : at + step] for at in range(0, len(reply.body), step)), _PAUSE_S)


async def split_head(x: Exchange) -> bool:
    reply = await x.forward()
    whole = reply.head(f"Content-Length: {len(reply.body)}") + reply.body
    return await x.trickle((whole[:20], whole[20:60], whole[60:61], whole[61:]), _PAUSE_S)


async def slow(x: Exchange) -> bool:
    reply = await x.forward()
    await asyncio.sleep(min(3, x.hang_s / 2))
    return await x.send(reply)


async def hints_first(x: Exchange) -> bool:
    reply = await x.forward()
    await x.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    return await x.send(reply)


async def until_the_end(x: Exchange) -> bool:
    """No length: the body ends with the connection, as in HTTP/1.0."""
    reply = await x.forward()
    await x.write(reply.having(("Connection", "close"), version="HTTP/1.0").head() + reply.body)
    return False


async def keeps_and_closes(x: Exchange) -> bool:
    """Announces that the connection stays open, and closes it."""
    await x.send((await x.forward()).having(("Connection", "keep-alive")))
    return False


async def bare_newlines(x: Exchange) -> bool:
    reply = await x.forward()
    head = reply.head(f"Content-Length: {len(reply.body)}").replace(b"\r\n", b"\n")
    await x.write(head + reply.body)
    return False
