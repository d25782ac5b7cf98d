"""Shared by all clients of AWS: calls and their deadlines, credentials, signatures, the service's time."""

import sys

import vortex.adapters.certificates  # noqa: F401  # before aiobotocore imports aiohttp

_UNUSED = [name for name in ("httpx", "httpx2") if name not in sys.modules]
"""aiobotocore imports them where they are installed: a tenth of a second of CPU, for another kind of session."""

sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]  # None: as if it were not installed
try:
    import aiobotocore.session  # noqa: F401
finally:
    for _name in _UNUSED:
        del sys.modules[_name]
