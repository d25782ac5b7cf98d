"""Every fault of the table in the reply to every call of every client: the right answer or a PortError, in time."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from tests.calls import CASES, MEANINGS_OF_KINESIS, NOBODY_CAN_TELL, SLOW, WAIT_S, Case, World, as_new, opened, suffer
from tests.faultproxy import FaultProxy
from tests.faults import FAULTS, network, services
from tests.faults.row import KINESIS
from tests.privateca import private_ca
from tests.tinyaws import TinyAws

pytestmark = pytest.mark.asyncio(loop_scope="module")

ON_THE_WAY = {
    "refused", "reset", "silence_midway", "expect_ignored", "continue_twice", "body_refused", "stops_reading",
    "reset_in_request", "half_head", "half_body", "half_body_rst", "length_too_long", "chunked", "chunked_cut", "gzip",
    "header_huge", "junk", "status_text", "html_200", "html_403", "html_407", "html_502", "redirect_307", "json_list",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_every_call_gives_the_right_answer_or_a_port_error_for_every_fault(world: World, case: Case) -> None:
    """The next call is not affected. Unusual but legal replies are accepted."""
    faults = {
        fault.name
        for fault in FAULTS.values()
        if fault.name not in (SLOW if not case.alone else ()) and (fault.name != "part_flipped" or case.name == "get")
    }
    if case.name == "iterator":
        faults.remove("json_object")  # its meaning depends on the stream
    await suffer(world, case, faults - MEANINGS_OF_KINESIS - NOBODY_CAN_TELL)


BELIEVED = {
    "shards_none",
    "shards_one_missing",
    "iterator_missing",
    "iterator_null",
    "iterator_empty",
    "iterator_junk",
    "next_junk",
    "false_end",
    "sequence_junk",
    "nothing_yet",
    "same_again",
}
"""What the Kinesis client passes on: the reader of a shard asks again before it believes it."""


@pytest.mark.parametrize("case", [case for case in CASES if case.call in KINESIS], ids=lambda case: case.name)
async def test_kinesis_replies_with_missing_or_mistyped_fields_raise_a_port_error(world: World, case: Case) -> None:
    """They end no shard."""
    await suffer(world, case, set(MEANINGS_OF_KINESIS) - BELIEVED)


async def test_get_records_in_cbor_handles_the_faults_of_every_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that is not readable in CBOR is asked for again in JSON, where it may come right."""
    proxy = FaultProxy(TinyAws(), hang_s=3 * WAIT_S, cbor=True)
    async with proxy, opened(nullcontext(proxy), proxy.url) as world:
        as_new(world, monkeypatch)
        (case,) = (case for case in CASES if case.name == "read")
        faults = {fault.name for fault in FAULTS.values()} - set(SLOW) - {"part_flipped"}
        await suffer(world, case, faults - NOBODY_CAN_TELL - BELIEVED)


@pytest.mark.parametrize("name", ["put", "put_large", "put_again", "get", "get_unsummed", "get_range", "get_missing"])
async def test_calls_of_botocore_handle_the_faults_of_s3(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """For a bucket in another region, or an access point."""
    monkeypatch.setattr(world.store, "_put_call", None)
    monkeypatch.setattr(world.store, "_get_call", None)
    (case,) = (case for case in CASES if case.name == name)
    faults = {fault.name for fault in services.s3()} | {fault.name for fault in network.statuses()}
    await suffer(world, case, (faults | ON_THE_WAY) - {"part_flipped"})


WAYS = ["by a proxy", "over TLS", "over TLS by a proxy"]


@pytest.mark.parametrize("way", WAYS)
async def test_calls_handle_network_faults_through_proxies_and_tls(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As set in the environment: HTTP_PROXY, HTTPS_PROXY, AWS_CA_BUNDLE."""
    context, bundle = private_ca(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    proxy = FaultProxy(TinyAws(), hang_s=3 * WAIT_S, tls=context if "TLS" in way else None)
    tunnel = await asyncio.start_server(lambda r, w: through(r, w, proxy.port), "127.0.0.1", 0)
    port = tunnel.sockets[0].getsockname()[1]
    if way == WAYS[2]:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    async with tunnel, proxy:
        if way == WAYS[0]:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with opened(nullcontext(proxy), "http://aws.invalid" if way == WAYS[0] else proxy.url) as world:
            as_new(world, monkeypatch)
            for case in CASES:
                if case.name in ("put_large", "get", "renew", "read"):
                    await suffer(world, case, ON_THE_WAY)


async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """A tunnel for CONNECT that always connects to `port`."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT ")
    there, back = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await asyncio.gather(pump(reader, back), pump(there, writer))
