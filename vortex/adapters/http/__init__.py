"""Metrics and health over HTTP."""

import vortex.adapters.certificates  # noqa: F401  # before the server imports aiohttp
