"""The front of a benchmark's server: TLS by AWS's order of ciphers, round trips and a rate, and every byte arrives."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.front import Link
from benchmarks.network import Network, chosen
from benchmarks.options import GROUPS, options
from benchmarks.processes import Server, server
from vortex.adapters.s3.store import open_s3_store

BODY = os.urandom(5_000_000)


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    with server("benchmarks.store_server") as running:
        yield running


@pytest.mark.parametrize("workload", sorted(GROUPS))
def test_every_workload_runs_over_tls_unless_an_option_says_otherwise(workload: str, tmp_path: Path) -> None:
    for arguments, way in (
        ([], "TLS"),
        (["--plain"], "plain HTTP"),
        (["--rtt", "20ms", "--rate", "100MB"], "TLS, 20 ms there and back, 100 MB a second"),
        (["--plain", "--rtt", "20ms"], "plain HTTP, 20 ms there and back"),
    ):
        assert str(chosen(options(None, ["--workload", workload, *arguments]), tmp_path)) == way


def test_link_delivers_in_order_after_delay_and_rate() -> None:
    link = Link(delay_s=0.01, rate=1000)
    assert link.arrives_at(5.0, 100) == pytest.approx(5.11)
    assert link.arrives_at(5.0, 100) == pytest.approx(5.21), "it waits for the bytes before it"
    assert link.arrives_at(7.0, 0) == pytest.approx(7.01)
    assert Link().arrives_at(5.0, 10**9) == 5.0


@pytest.mark.parametrize("tls", [True, False])
async def test_front_relays_every_byte(
    store: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    line = Network.made(tmp_path, tls=tls, rtt_ms=4)
    for name, text in line.environment.items():
        monkeypatch.setenv(name, text)
    with line.to(store) as front:
        assert front.url.startswith("https:" if tls else "http:")
        async with open_s3_store(f"s3://relayed-{int(tls)}", region="us-east-1", endpoint_url=front.url) as shelf:
            await shelf.put_if_absent("k", BODY)
            assert await shelf.get("k") == BODY
        assert front.ask("stats")["PUT bytes"] >= len(BODY), "questions take the direct way"


def test_front_prefers_the_ciphers_of_aws(store: Server, tmp_path: Path) -> None:
    line = Network.made(tmp_path)
    context = ssl.create_default_context(cafile=line.environment["AWS_CA_BUNDLE"])
    with line.to(store) as front:
        address = "127.0.0.1", urlsplit(front.url).port
        with (
            socket.create_connection(address) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as wrapped,
        ):
            assert wrapped.cipher() == ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)


def test_front_adds_a_round_trip_to_each_exchange(store: Server, tmp_path: Path) -> None:
    with (
        Network.made(tmp_path, tls=False, rtt_ms=100).to(store) as front,
        socket.create_connection(("127.0.0.1", urlsplit(front.url).port)) as client,
    ):
        begun = time.monotonic()
        client.sendall(b"GET /x/y HTTP/1.1\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 404")
        assert time.monotonic() - begun >= 0.099


def test_front_outlives_clients_that_leave_at_once(store: Server, tmp_path: Path) -> None:
    """Before the front has reached the server, and in the middle of a reply."""
    with Network.made(tmp_path, tls=False, rtt_ms=20).to(store) as front:
        address = "127.0.0.1", urlsplit(front.url).port
        for sent in (b"", b"GET /x/y HTTP/1.1\r\n\r\n") * 10:
            with socket.create_connection(address) as client:
                client.sendall(sent)
        with socket.create_connection(address) as client:
            client.sendall(b"GET /x/y HTTP/1.1\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 404")
