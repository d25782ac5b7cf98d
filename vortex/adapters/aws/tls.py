"""The TLS context of the AWS clients.

OpenSSL takes about 20 ms of CPU to load the usual file of root certificates, and every client would load it again.

A private authority is replaced now and then, and `AWS_CA_BUNDLE` is often a file that is mounted and renewed. A process
that runs for longer has to read it again: else no call succeeds any more until a restart.
"""

from __future__ import annotations

import contextlib
import ssl
from functools import lru_cache
from pathlib import Path

from botocore.httpsession import create_urllib3_context

_Version = tuple[int, int, int]


def trusting(bundle: str) -> ssl.SSLContext:
    """A client's context that trusts the certificates in this file or folder. All callers share it: do not change it.

    A bundle is loaded once, and again if it has changed. Raises OSError (ssl.SSLError among them) and ValueError.
    """
    return _trusting(bundle, _version(bundle))


@lru_cache(4)
def _trusting(bundle: str, version: _Version) -> ssl.SSLContext:
    return new_context(bundle)


def new_context(bundle: str) -> ssl.SSLContext:
    """As `trusting`, for one caller, which may change it."""
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True  # urllib3 checks the name itself, aiohttp leaves it to the context
    context.load_verify_locations(**{"capath" if Path(bundle).is_dir() else "cafile": bundle})
    return context


class Renewal:
    """Follows the file of certificates of some contexts, which are in use."""

    def __init__(self, bundle: str) -> None:
        """Raises OSError."""
        self._bundle, self._version = bundle, _version(bundle)
        self.contexts: list[ssl.SSLContext] = []

    def look(self) -> None:
        """Load the file again if it has changed. The certificates that it had before are trusted until a restart.

        A context is shared by all connections, and cannot forget one. A file that is broken or missing changes nothing:
        it may be written just now.
        """
        with contextlib.suppress(OSError, ValueError):
            version = _version(self._bundle)
            if version == self._version or Path(self._bundle).is_dir():  # OpenSSL looks into a folder each time
                return
            for context in self.contexts:
                context.load_verify_locations(cafile=self._bundle)
            self._version = version


def _version(bundle: str) -> _Version:
    status = Path(bundle).stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
