"""Imports aiohttp without the system's root certificates, which cost 40 ms of CPU at each start.

aiohttp loads them twice when it is imported, for contexts that no client of this package uses: those of AWS have a
context of their own (`aws.tls`), the others use no TLS. A client that used aiohttp's contexts would trust nobody.
"""

from __future__ import annotations

import ssl

# Hides the method of the base class; the module is imported before any other thread starts.
ssl.SSLContext.set_default_verify_paths = lambda self: None  # type: ignore[method-assign]
try:
    import aiohttp  # noqa: F401
finally:
    del ssl.SSLContext.set_default_verify_paths
