"""Searches for credentials, and the sources that they find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faultproxy import FaultProxy
from tests.faults import FAULTS
from tests.faults.wire import Request
from tests.issuer import CONTAINER
from vortex.adapters.aws.credential_sources import Found, SourceFailed, Sources

SECRET = "hunter2-hunter2-hunter2"


def found(**kept: Any) -> Found:
    return Sources("us-east-1").find(**kept)


def failure() -> SourceFailed:
    with pytest.raises(SourceFailed) as caught:
        found()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, (
        "a traceback would print the quoted text"
    )
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def write(path: Path, profile: str = "default", **settings: str) -> None:
    heading = f"profile {profile}" if path.name == "config" and profile != "default" else profile
    path.write_text(f"[{heading}]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))


def keys(key: str) -> dict[str, str]:
    return {"aws_access_key_id": key, "aws_secret_access_key": SECRET}


def of_container(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", proxy.url + CONTAINER)


def of_instance(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", proxy.url)


def of_identity(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, token: Path) -> None:
    token.write_text(SECRET)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", proxy.url)


def always(name: str) -> Any:
    def choose(request: Request) -> str | None:
        return name if request.call in FAULTS[name].calls else None

    return choose
