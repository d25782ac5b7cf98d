"""TLS contexts are loaded once, and shared."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from botocore.httpsession import get_cert_path

from tests.privateca import private_ca
from vortex.adapters.aws.exchange import HttpSession
from vortex.adapters.aws.tls import trusting


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
