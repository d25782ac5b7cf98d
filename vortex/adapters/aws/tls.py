"""The TLS context of the AWS clients.

OpenSSL takes about 20 ms of CPU to load the usual file of root certificates, and every client would load it again.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from botocore.httpsession import create_urllib3_context


@lru_cache(4)
def trusting(bundle: str) -> ssl.SSLContext:
    """A client's context that trusts the certificates in this file or folder. All callers share it: do not change it.

    A bundle is loaded once: a client keeps its context until the process ends, too. Raises OSError (ssl.SSLError among
    them) and ValueError.
    """
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True  # urllib3 checks the name itself, aiohttp leaves it to the context
    context.load_verify_locations(**{"capath" if Path(bundle).is_dir() else "cafile": bundle})
    return context
