"""Signatures by botocore's signers, without the work that they repeat for each request.

botocore derives the signing key, four HMACs, for every signature, though it changes once a day; and it collects the
headers twice, into an e-mail message. That is half the CPU of a small call. What is signed, and how, stays botocore's.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from botocore.auth import SIGNED_HEADERS_BLACKLIST, S3SigV4Auth, SigV4Auth

_LEFT_OUT = frozenset(SIGNED_HEADERS_BLACKLIST)


@lru_cache(16)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, step 4."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class _Quick(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """A signer for one request, whose headers are a plain dict that contains Host."""

    _found: Mapping[str, str] | None = None

    def headers_to_sign(self, request: Any) -> Mapping[str, str]:
        """The headers to sign by lower-case name. botocore asks twice, before it adds the signature."""
        if self._found is None:
            named = ((name.lower(), text) for name, text in request.headers.items())
            self._found = dict(sorted(row for row in named if row[0] not in _LEFT_OUT))
        return self._found

    def canonical_headers(self, headers_to_sign: Mapping[str, str]) -> str:
        """The headers as they are signed."""
        return "\n".join([f"{name}:{' '.join(text.split())}" for name, text in headers_to_sign.items()])

    def signed_headers(self, headers_to_sign: Mapping[str, str]) -> str:
        """The names of the headers."""
        return ";".join(headers_to_sign)

    def signature(self, string_to_sign: str, request: Any) -> str:
        """In hexadecimal digits."""
        date = request.context["timestamp"][:8]
        key = _signing_key(self.credentials.secret_key, date, self._region_name, self._service_name)
        return hmac.digest(key, string_to_sign.encode(), "sha256").hex()


class _QuickS3(_Quick, S3SigV4Auth):  # type: ignore[misc]
    """The same for S3, which normalizes no paths and may leave the body unsigned."""


SIGNERS: Mapping[str, type[Any]] = {"v4": _Quick, "s3v4": _QuickS3}
"""By botocore's name of the signature version; created with credentials, signing name and region."""
