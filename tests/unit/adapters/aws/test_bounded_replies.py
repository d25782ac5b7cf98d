"""Endless and dripping replies of the services that give credentials: what is read of them is bounded, and so is the
time.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
from botocore.utils import ContainerMetadataFetcher

from tests.privateca import private_ca
from vortex.adapters.aws import bounded_replies
from vortex.adapters.aws.credential_sources import SourceFailed, Sources

_MIB = 2**20
_HEADS = {
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "without a length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    "of a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n",
}


@dataclass
class Flood:
    """A server whose every reply has this head, and then `piece` again and again."""

    head: bytes
    piece: bytes
    pause_s: float = 0.0
    requests: int = 0
    longest: int = 0
    """Bytes of the longest reply that a client took."""
    stopped: threading.Event = field(default_factory=threading.Event)
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.server.getsockname()[1]}"

    def __enter__(self) -> Flood:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(0.05)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()
        self.server.close()

    def serve(self) -> None:
        while not self.stopped.is_set():
            with contextlib.suppress(OSError):
                client, _ = self.server.accept()
                client.settimeout(1)
                with self.tls.wrap_socket(client, server_side=True) if self.tls else client as client:
                    self.answer(client)

    def answer(self, client: socket.socket) -> None:
        client.recv(65536)
        self.requests += 1
        client.sendall(self.head)
        sent = 0
        while sent < 64 * _MIB and not self.stopped.wait(self.pause_s):
            client.sendall(self.piece)
            sent += len(self.piece)
            self.longest = max(self.longest, sent)


@pytest.fixture(autouse=True)
def no_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No source is configured, and container endpoints are not waited for."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)


@pytest.fixture(params=["container endpoint", "instance metadata", "role of a role of an instance", "web identity"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return str(request.param)


def use(source: str, url: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Configure this source at the URL."""
    if source == "container endpoint":
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url + "/credentials")
        return
    if source == "web identity":
        (folder / "token").write_text("token")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        return
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
    if source != "instance metadata":
        (folder / "config").write_text(
            "[default]\nrole_arn = arn:aws:iam::1:role/outer\nsource_profile = inner\n"
            "[profile inner]\nrole_arn = arn:aws:iam::1:role/inner\ncredential_source = Ec2InstanceMetadata\n"
        )


@pytest.mark.parametrize("form", _HEADS)
def test_find_reads_a_bounded_part_of_an_endless_reply(
    source: str, form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n" if form == "chunked" else b" " * 0x10000
    with Flood(_HEADS[form], piece) as flood:
        use(source, flood.url, monkeypatch, tmp_path)
        with pytest.raises(SourceFailed):
            Sources("us-east-1").find()
    assert flood.requests >= 1
    assert flood.longest < bounded_replies.MOST_BYTES + 12 * _MIB, "with what the kernel buffers"


@pytest.mark.parametrize("source", ["container endpoint", "role of a role of an instance"])
@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (_HEADS["of a huge length"], b" "),
        (_HEADS["without a length"], b" "),
        (_HEADS["chunked"], b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nA: ", b"b"),
        (b"", b"H"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "body without a length", "chunks", "header lines", "a header", "status line", "interim replies"],
)
def test_find_gives_up_a_reply_that_drips(
    source: str, head: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each byte comes within the read time-out, in the head and in the body."""
    monkeypatch.setattr(bounded_replies, "CALL_S", 0.3)
    with Flood(head, piece, pause_s=0.02) as flood:
        use(source, flood.url, monkeypatch, tmp_path)
        begun = time.monotonic()
        with pytest.raises(SourceFailed) as failed:
            Sources("us-east-1").find()
        assert time.monotonic() - begun < 8
    assert flood.longest < 100 * len(piece)
    assert source != "container endpoint" or failed.value.reason == "it did not answer in time"


def test_find_gives_up_a_server_that_drips_within_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The connection is shut down below TLS, which knows nothing of it."""
    monkeypatch.setattr(bounded_replies, "CALL_S", 1.0)
    tls, bundle = private_ca(tmp_path)
    with Flood(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", pause_s=0.05, tls=tls) as flood:
        use("web identity", flood.url, monkeypatch, tmp_path)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        begun = time.monotonic()
        with pytest.raises(SourceFailed, match="it did not answer in time"):
            Sources("us-east-1").find()
        assert time.monotonic() - begun < 8
    assert flood.requests == 2, "botocore tries twice"


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Look-ups of names hang until the test ends."""
    ended = threading.Event()

    def hang(*_: object, **__: object) -> NoReturn:
        ended.wait(30)
        raise socket.gaierror("no answer")

    monkeypatch.setattr("urllib3.util.connection.socket.getaddrinfo", hang)
    yield ended
    ended.set()
    for thread in threading.enumerate():
        if thread.name == bounded_replies._THREAD:
            thread.join()


@pytest.mark.usefixtures("stuck")
def test_find_gives_up_a_look_up_of_a_name_that_hangs(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was bounded by the whole search alone: 300 s."""
    monkeypatch.setattr(bounded_replies, "CALL_S", 0.1)
    monkeypatch.setattr(bounded_replies, "_ENDED_S", 0.05)
    use(source, "http://localhost:9", monkeypatch, tmp_path)
    begun = time.monotonic()
    with pytest.raises(SourceFailed) as failed:
        Sources("us-east-1").find()
    assert time.monotonic() - begun < 8
    assert source in ("instance metadata", "role of a role of an instance") or (
        failed.value.reason == "it did not answer in time"
    )


@pytest.mark.usefixtures("stuck")
def test_find_leaves_few_look_ups_behind_that_hang(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bounded_replies, "CALL_S", 0.01)
    monkeypatch.setattr(bounded_replies, "_ENDED_S", 0.0)
    use("container endpoint", "http://localhost:9", monkeypatch, tmp_path)
    for _ in range(10):
        with pytest.raises(SourceFailed, match="it did not answer in time"):
            Sources("us-east-1").find()
    hanging = [thread for thread in threading.enumerate() if thread.name == bounded_replies._THREAD]
    assert len(hanging) == bounded_replies._MOST_THREADS
