"""Secrets in texts."""

from __future__ import annotations

from vortex.adapters import secrecy


def test_hidden_removes_known_secrets_and_what_looks_like_one() -> None:
    secrecy.keep("wJalrXUtnFEMI/K7MDENG", None, "", "short")
    for text in (
        "a wJalrXUtnFEMI/K7MDENG b",
        "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/2026/us-east-1/s3/aws4_request, Signature=0a1b2c",
        "x-amz-security-token:FwoGZXIvYXdzEJr",
        '{"SecretAccessKey": "abc", "SessionToken": "def"}',
    ):
        shown = secrecy.hidden(text)
        for secret in ("wJalr", "AKIA", "0a1b2c", "FwoGZ", "abc", "def"):
            assert secret not in shown, shown
    assert secrecy.hidden("a short and ordinary text: nothing is hidden in it") == (
        "a short and ordinary text: nothing is hidden in it"
    )
