"""Short-lived credentials: the container endpoint, IMDS, STS, and a guard that refuses expired ones."""

from __future__ import annotations

import json
import random
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs

from tests.faults.strikes import error_reply
from tests.faults.wire import Headers, Reply, Request

CONTAINER = "/credentials"
"""The path for `AWS_CONTAINER_CREDENTIALS_FULL_URI`."""
_SKEW_S = 300
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class Issuer:
    """Issues credentials; an origin of `FaultProxy`, and its guard.

    `skew_s`: how far AWS's clock is ahead of this machine's, for `guard`. The signature itself is not checked.
    """

    life_s: float = 20
    skew_s: float = 0
    seed: int = 0
    secrets: list[str] = field(default_factory=list)
    """Every secret and token that was issued: none may be in a log."""
    refused: int = 0
    """The number of requests with an expired or unknown key, or with a wrong clock."""

    def __post_init__(self) -> None:
        self._ends: dict[str, float] = {}
        self._rng = random.Random(self.seed)

    async def __call__(self, request: Request) -> Reply:
        """Answers the calls of `credentials` and `sts`."""
        if request.call == "ImdsToken":
            return Reply(
                200, body=b"imds-session", headers=Headers([("X-aws-ec2-metadata-token-ttl-seconds", "21600")])
            )
        if request.call == "ImdsRole":
            return Reply(200, body=b"role")
        if request.call in ("ContainerCredentials", "ImdsCredentials"):
            document = {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": self._time(0), **self._issue()}
            return Reply(
                200, headers=Headers([("Content-Type", "application/json")]), body=json.dumps(document).encode()
            )
        if request.call in ("AssumeRole", "AssumeRoleWithWebIdentity"):
            return self._assumed(request.call)
        action = parse_qs(request.body.decode("latin-1")).get("Action", [""])[0]
        return error_reply("sts", 400, "InvalidAction", f"{action} is not played here")

    def guard(self, request: Request) -> Reply | None:
        """The error of AWS for a request with an unknown or expired key, or with a wrong clock."""
        if request.service not in ("kinesis", "s3", "dynamodb"):
            return None
        key = re.search(r"Credential=([^/]+)/", request.headers.value("authorization"))
        now = time.time()
        s3 = request.service == "s3"
        if key is None or self._ends.get(key[1], 0) < now:
            self.refused += 1
            code = "ExpiredToken" if s3 else "ExpiredTokenException"
            return error_reply(request.service, 400, code, "The security token included in the request is expired")
        signed = datetime.strptime(request.headers.value("x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(signed.timestamp() - now - self.skew_s) <= _SKEW_S:
            return None
        self.refused += 1
        said = f"Signature expired: {signed:%Y%m%dT%H%M%SZ} is now earlier than {self._time(self.skew_s)}"
        code, status = ("RequestTimeTooSkewed", 403) if s3 else ("InvalidSignatureException", 400)
        return error_reply(request.service, status, code, said)

    def _issue(self) -> dict[str, str]:
        number = len(self._ends) + 1
        key = f"ASIACHAOS{number:011d}"
        secret, token = f"secret-{self._rng.getrandbits(120):x}", f"token-{self._rng.getrandbits(480):x}"
        self.secrets += [secret, token]
        self._ends[key] = time.time() + self.life_s
        # Whole seconds, as AWS returns them; rounded down, so that credentials do not end early.
        return {"AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": self._time(self.life_s)}

    def _time(self, ahead_s: float) -> str:
        return datetime.fromtimestamp(time.time() + ahead_s, UTC).strftime(_FORMAT)

    def _assumed(self, call: str) -> Reply:
        given = self._issue()
        fields = {"SessionToken": given.pop("Token"), **given}
        inner = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items())
        user = "<Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn><AssumedRoleId>A:s</AssumedRoleId>"
        body = (
            f'<{call}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{call}Result>'
            f"<Credentials>{inner}</Credentials><AssumedRoleUser>{user}</AssumedRoleUser></{call}Result>"
            f"<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{call}Response>"
        )
        return Reply(200, headers=Headers([("Content-Type", "text/xml")]), body=body.encode())
