"""How consumers reach the servers of a benchmark: over TLS or plain HTTP, how far, and how fast.

TLS is the default, as AWS has nothing else. Certificates are made on the spot; consumers trust them by `AWS_CA_BUNDLE`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.arguments import rate
from benchmarks.front import CIPHERS
from benchmarks.processes import Server, server
from tests.privateca import private_ca
from vortex.config.units import duration_ms


@dataclass(frozen=True, slots=True)
class Network:
    """The way to the servers. `certificate` without a value: plain HTTP. `rate`: bytes a second, 0 for no limit."""

    certificate: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """What a consumer's environment needs."""
    ciphers: Path | None = None
    rtt_ms: int = 0
    rate: int = 0

    @classmethod
    def made(cls, folder: Path, *, tls: bool = True, rtt_ms: int = 0, rate: int = 0) -> Network:
        """With new certificates in `folder`."""
        if not tls:
            return cls(rtt_ms=rtt_ms, rate=rate)
        _, bundle = private_ca(folder)
        ciphers = folder / "ciphers.cnf"
        ciphers.write_text(CIPHERS)
        return cls(folder / "server.pem", {"AWS_CA_BUNDLE": str(bundle)}, ciphers, rtt_ms, rate)

    @contextmanager
    def to(self, origin: Server) -> Iterator[Server]:
        """The server as consumers see it, until the block ends. Questions outside the protocol take the direct way."""
        if self.certificate is None and not self.rtt_ms and not self.rate:
            yield origin
            return
        arguments = [f"--to={urlsplit(origin.url).port}", f"--rtt-ms={self.rtt_ms}", f"--rate={self.rate}"]
        extra = {} if self.ciphers is None else {"OPENSSL_CONF": str(self.ciphers)}
        if self.certificate is not None:
            arguments.append(f"--certificate={self.certificate}")
        with server("benchmarks.front", *arguments, extra=extra) as front:
            scheme = "http" if self.certificate is None else "https"
            yield replace(origin, url=f"{scheme}://127.0.0.1:{front.facts['port']}", control=origin.url)

    def __str__(self) -> str:
        parts = ["plain HTTP" if self.certificate is None else "TLS"]
        parts += [f"{self.rtt_ms} ms there and back"] if self.rtt_ms else []
        parts += [f"{self.rate / 1e6:g} MB a second"] if self.rate else []
        return ", ".join(parts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--tls`, `--plain`, `--rtt` and `--rate`."""
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--tls", dest="tls", action="store_true", default=True, help="over TLS, as to AWS; the default")
    way.add_argument("--plain", dest="tls", action="store_false", help="over plain HTTP instead of TLS")
    parser.add_argument(
        "--rtt", type=duration_ms, default=0, metavar="20ms", help="a round trip to a server takes so long more"
    )
    parser.add_argument(
        "--rate", type=rate, default=0, metavar="100MB", help="most bytes a second to, and from, a server"
    )


def chosen(options: argparse.Namespace, folder: Path) -> Network:
    """The network of the command line."""
    return Network.made(folder, tls=options.tls, rtt_ms=options.rtt, rate=options.rate)
