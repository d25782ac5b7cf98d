"""aiohttp is imported without the system's certificates."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_PROGRAM = """
import json, ssl
import {first}
from aiohttp import connector
own = ssl.create_default_context()
contexts = connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED
found = [one.cert_store_stats()["x509"] for one in contexts]
print(json.dumps([found, contexts[0].verify_mode, own.cert_store_stats()["x509"] > 0]))
"""


@pytest.mark.parametrize("first", ["vortex.adapters.http.server", "vortex.adapters.aws.client"])
def test_aiohttp_loads_no_certificates_when_it_is_imported_first_by_an_adapter(first: str) -> None:
    """Its contexts then trust nobody; contexts that are created later load the system's certificates as ever."""
    program = [sys.executable, "-c", _PROGRAM.format(first=first)]
    run = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60)
    system = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509'] > 0)"
    usual = subprocess.run([sys.executable, "-c", system], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(run.stdout) == [[0, 0], 2, usual.stdout == "True\n"]
