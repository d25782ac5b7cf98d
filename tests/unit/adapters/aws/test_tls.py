"""TLS contexts are loaded once, and shared."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from botocore.httpsession import get_cert_path

from tests.faultproxy import FaultProxy
from tests.faults.wire import Reply, Request
from tests.privateca import private_ca
from tests.tinyaws import TinyAws
from vortex.adapters.aws.exchange import HttpSession
from vortex.adapters.aws.tls import trusting
from vortex.adapters.kinesis.stream import open_kinesis_stream
from vortex.ports import Unavailable


def test_trusting_checks_names_and_certificates() -> None:
    """By the certificates that botocore brings along."""
    context = trusting(get_cert_path(True))
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
    assert len(context.get_ca_certs()) > 50


def test_trusting_takes_a_file_or_a_folder_and_refuses_anything_else(tmp_path: Path) -> None:
    """A folder has certificates by hash (`openssl rehash`), which OpenSSL looks up when it needs them."""
    _, bundle = private_ca(tmp_path)
    subjects: list[Any] = [one["subject"] for one in trusting(str(bundle)).get_ca_certs()]
    assert subjects == [((("commonName", "Vortex test authority"),),)]
    assert trusting(str(tmp_path)).verify_mode is ssl.CERT_REQUIRED
    (tmp_path / "empty.pem").write_text("")
    for name in ("empty.pem", "none.pem"):
        for _ in range(2):
            with pytest.raises(OSError):
                trusting(str(tmp_path / name))


def test_clients_share_a_context_unless_it_has_a_certificate_or_a_proxy(tmp_path: Path) -> None:
    """A proxy's context gets settings of its own; one without verification trusts anybody."""
    context, _ = HttpSession()._build_ssl_contexts(None)
    assert HttpSession()._build_ssl_contexts(None) == (context, None)
    _, bundle = private_ca(tmp_path)
    own, _ = HttpSession(verify=str(bundle))._build_ssl_contexts(None)
    assert own is trusting(str(bundle)) is not context
    by_proxy, of_proxy = HttpSession()._build_ssl_contexts("http://127.0.0.1:9")
    assert len({id(one) for one in (context, own, by_proxy, of_proxy)}) == 4
    chain = str(tmp_path / "server.pem")
    assert HttpSession(client_cert=chain)._build_ssl_contexts(None)[0] is not context
    assert HttpSession(verify=False)._build_ssl_contexts(None)[0].verify_mode is ssl.CERT_NONE


def test_certificates_may_be_in_a_folder_where_there_is_a_proxy(tmp_path: Path) -> None:
    """`vortex check` accepted it, and each call ended with "Is a directory"."""
    for context in HttpSession(verify=str(tmp_path))._build_ssl_contexts("https://localhost:9"):
        assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname


async def test_a_new_authority_is_trusted_once_its_certificate_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a restart. A file that is just being written changes nothing."""
    (tmp_path / "next").mkdir()
    server, bundle = private_ca(tmp_path)
    _, another = private_ca(tmp_path / "next")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    aws = TinyAws()

    async def once(request: Request) -> Reply:
        return (await aws(request)).having(("Connection", "close"))

    async with FaultProxy(once, tls=server) as proxy, open_kinesis_stream("s", "us-east-1", proxy.url) as stream:
        assert await stream.list_shards()
        server.load_cert_chain(tmp_path / "next" / "server.pem")
        for content in (bundle.read_bytes(), b"-----BEGIN CERT", another.read_bytes()):
            bundle.write_bytes(content)
            with pytest.raises(Unavailable, match="certificate verify failed"):
                await stream.list_shards()
        assert await stream.list_shards()
