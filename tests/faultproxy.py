"""One proxy for Kinesis, S3, DynamoDB, STS and the credential endpoints that misbehaves on command.

    async with FaultProxy(moto_url, only("html_200", "GetRecords")) as proxy:
        async with open_kinesis_stream("s", "us-east-1", proxy.url) as stream: ...
    assert proxy.struck["GetRecords", "html_200"] == 1

What can go wrong is the table in `tests.faults`. Who chooses is a function of one request, which names a row or none;
`only`, `script` and `Deck` make such functions. `python -m tests.faultproxy` prints the table.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from email.utils import formatdate
from typing import Any, Self

from tests.faults import FAULTS, Fault
from tests.faults.strikes import HTML, LOGIN
from tests.faults.wire import READ_AHEAD, Exchange, Headers, Origin, Reply, Request, called, read_head, server
from tests.kinesis_wire import is_cbor

Choice = Callable[[Request], str | None]
"""The fault that a request gets, by name, or None."""


def no_fault(request: Request) -> None:
    """No fault."""


def only(name: str, *calls: str, times: int = 1, after: int = 0) -> Choice:
    """That fault, for the first `times` requests of `calls` (of any, by default), after `after` of them."""
    came = 0

    def choose(request: Request) -> str | None:
        nonlocal came
        if calls and request.call not in calls:
            return None
        came += 1
        return name if after < came <= after + times else None

    return choose


def script(*names: str | None, calls: Iterable[str] = ()) -> Choice:
    """One fault after the other, each for one request (of `calls`, if given); then none."""
    rest, wanted = iter(names), frozenset(calls)
    return lambda request: next(rest, None) if not wanted or request.call in wanted else None


_FEW = 8
"""The calls of a fault that is specific to them."""


class Deck:
    """Faults by chance, but so that each of them comes: every call has all that can strike it as a deck of cards.

    `rates`: the share of requests that are struck, by call or service; `rate` for what is not named. What strikes the
    n-th request of a call follows from the seed alone, but for what is rare: its first card strikes, whatever the call,
    and then every so many.
    """

    def __init__(
        self,
        seed: int,
        rate: float,
        rates: Mapping[str, float] | None = None,
        faults: Iterable[Fault] = tuple(FAULTS.values()),
    ) -> None:
        self._seed, self._rate, self._rates, self._faults = seed, rate, rates or {}, list(faults)
        self._chance: dict[str, random.Random] = {}
        self._cards: dict[str, list[Fault]] = {}
        self._drawn: Counter[str] = Counter()

    def __call__(self, request: Request) -> str | None:
        """The next fault, or None."""
        call = request.call
        chance = self._chance.setdefault(call, random.Random(f"{self._seed} {call}"))
        if chance.random() >= self._rates.get(call, self._rates.get(request.service, self._rate)):
            return None
        while True:
            if not self._cards.get(call):
                self._cards[call] = self._deal(call, chance)
            if not self._cards[call]:
                return None  # it has no faults
            fault = self._cards[call].pop()
            self._drawn[fault.name] += 1
            if self._drawn[fault.name] % fault.every == 1 % fault.every:
                return fault.name

    def _deal(self, call: str, chance: random.Random) -> list[Fault]:
        """All that can strike the call, the last one first.

        What few other calls know comes before what all know: a call that is seldom made is struck by the former.
        """
        cards = [fault for fault in self._faults if call in fault.calls]
        chance.shuffle(cards)
        return sorted(cards, key=lambda fault: len(fault.calls) <= _FEW)


class FaultProxy:
    """A proxy on 127.0.0.1, for as long as its context lasts.

    `origin`: who answers in the end, a URL or a function, or either of these by service (`kinesis`, `s3`, `dynamodb`,
    `sts`, `credentials`). `tls`: speak TLS, as `tests.privateca` makes it. `guard` may answer in the place of all,
    before any fault: an AWS that looks at keys and clocks (`tests.issuer`). `cbor`: speak it with clients that ask for
    it; else they are refused, and ask for JSON.
    """

    def __init__(
        self,
        origin: str | Origin | Mapping[str, str | Origin],
        choose: Choice = no_fault,
        *,
        tls: ssl.SSLContext | None = None,
        hang_s: float = 120,
        seed: int = 0,
        guard: Callable[[Request], Reply | None] = lambda request: None,
        cbor: bool = False,
    ) -> None:
        by_service = origin if isinstance(origin, Mapping) else {"": origin}
        self._origins = {name: server(o) if isinstance(o, str) else o for name, o in by_service.items()}
        self.choose = choose
        """Can be replaced at any time."""
        self.calls: Counter[str] = Counter()
        """The number of requests by call."""
        self.struck: Counter[tuple[str, str]] = Counter()
        """The number of injected faults, by call and fault."""
        self.followed = 0
        """The number of requests for the sign-in page that redirects lead to."""
        self.port = 0
        self._tls, self._hang_s, self._rng, self._guard, self._cbor = tls, hang_s, random.Random(seed), guard, cbor
        self._tasks: set[asyncio.Future[Any]] = set()

    @property
    def url(self) -> str:
        """The URL of the proxy."""
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def strikes(self) -> Counter[str]:
        """The number of injected faults, by fault."""
        totals: Counter[str] = Counter()
        for (_, name), times in self.struck.items():
            totals[name] += times
        return totals

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection, and drop delayed requests."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection. After any error the client sees it closed."""
        with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        line, headers = await read_head(reader)
        method, target, _ = line.split(" ", 2)
        request = Request(method, target, headers)
        x = Exchange(request, self._rng, self._hang_s, reader, writer, self._answer, self._keep)
        if not x.expects and int(headers.value("content-length") or 0) <= READ_AHEAD:
            await x.body()
        request.service, request.call = called(method, target, headers, request.body)
        if target.startswith(LOGIN):
            self.followed += 1
            return await x.send(
                Reply(200, headers=Headers([("Content-Type", "text/html"), ("ETag", '"x"')]), body=HTML)
            )
        if is_cbor(headers.value("content-type")) and not self._cbor:
            return await x.send(Reply(415, "Unsupported Media Type"))
        self.calls[request.call] += 1
        if refused := self._guard(request):
            await x.body()
            return await x.send(refused)
        name = self.choose(request)
        if name is None:
            return await x.send(await x.forward())
        self.struck[request.call, name] += 1
        return await FAULTS[name].strike(x)

    async def _answer(self, request: Request) -> Reply:
        origin = self._origins.get(request.service) or self._origins[""]
        reply = await origin(request)
        if not reply.headers.value("date"):
            reply.headers.append(("Date", formatdate(usegmt=True)))
        return reply


@contextlib.contextmanager
def in_thread(*proxies: FaultProxy) -> Iterator[None]:
    """Serve the proxies from a loop in a separate thread, for tests of processes, which wait without a loop."""

    async def serve(up: Future[None], end: asyncio.Event) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for proxy in proxies:
                await stack.enter_async_context(proxy)
            up.set_result(None)
            await end.wait()

    loop, up, end = asyncio.new_event_loop(), Future[None](), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(up, end),), daemon=True)
    thread.start()
    up.result(30)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


if __name__ == "__main__":
    for fault in FAULTS.values():
        print(f"{fault.name:24} {fault.what}; {'legal, ' if fault.legal else ''}{len(fault.calls)} calls")
