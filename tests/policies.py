"""An AWS that enforces a policy of deploy/iam: the guard of a `FaultProxy`.

It knows what these policies use: actions, resources with `*`, and a condition on `s3:prefix`. What a policy does not
allow gets the 403 of the service, and is noted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import unescape

from tests.faults.wire import Headers, Reply, Request

IAM = Path(__file__).parents[1] / "deploy/iam"
PLACES = ("REGION", "ACCOUNT", "STREAM", "TABLE", "BUCKET", "PREFIX", "KEY", "CATALOG")
"""What stands for a user's own names in the files."""
_S3 = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
}


class Policy:
    """A policy, or several together, for a user's names; callable as a guard.

    `used`: the actions that were asked for and allowed. `denied`: what was refused, as action and resource.
    """

    def __init__(self, name: str, places: Mapping[str, str], *more: str) -> None:
        self._statements = [statement for one in (name, *more) for statement in _statements(one, places)]
        self.places = places
        self.used: set[str] = set()
        self.denied: set[tuple[str, str]] = set()

    @property
    def actions(self) -> set[str]:
        """All that it allows."""
        return {action for statement in self._statements for action in _list(statement["Action"])}

    def __call__(self, request: Request) -> Reply | None:
        """None for an allowed request, else the service's denial."""
        action, resources, prefix = self._asked(request)
        refused = [one for one in resources if not any(_allows(s, action, one, prefix) for s in self._statements)]
        if not refused:
            self.used.add(action)
            return None
        self.denied.update((action, resource) for resource in refused)
        if request.service == "s3":
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            return Reply(403, "Forbidden", Headers([("Content-Type", "application/xml")]), body)
        body = b'{"__type": "AccessDeniedException", "message": "not authorized"}'
        status = 400  # https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html
        return Reply(status, "Bad Request", Headers([("Content-Type", "application/x-amz-json-1.1")]), body)

    def _asked(self, request: Request) -> tuple[str, list[str], str]:
        """The action, what it is for, and the prefix of a listing."""
        places = self.places
        where = f"{places['REGION']}:{places['ACCOUNT']}"
        if request.service == "kinesis":
            return f"kinesis:{request.call}", [f"arn:aws:kinesis:{where}:stream/{places['STREAM']}"], ""
        if request.service == "dynamodb":
            table = json.loads(request.body).get("TableName", "")
            return f"dynamodb:{request.call}", [f"arn:aws:dynamodb:{where}:table/{table.rpartition('/')[2]}"], ""
        parts = urlsplit(request.target)
        path = unquote(parts.path).strip("/")
        prefix = parse_qs(parts.query).get("prefix", [""])[0]
        paths = [path]
        if request.call == "DeleteObjects":  # it needs the permission for each key
            paths = [f"{path}/{unescape(key)}" for key in re.findall(r"<Key>(.*?)</Key>", request.body.decode())]
        return _S3.get(request.call, f"s3:{request.call}"), [f"arn:aws:s3:::{one}" for one in paths], prefix


def _statements(name: str, places: Mapping[str, str]) -> list[Mapping[str, object]]:
    text = (IAM / f"{name}.json").read_text("utf-8")
    for place, value in places.items():
        text = text.replace(place if value else f"{place}/", value)  # at the root of a bucket: docs/how-to/aws.md
    statements: list[Mapping[str, object]] = json.loads(text)["Statement"]
    return statements


def _allows(statement: Mapping[str, object], action: str, resource: str, prefix: str) -> bool:
    if action not in _list(statement["Action"]):
        return False
    if not any(fnmatchcase(resource, pattern) for pattern in _list(statement["Resource"])):
        return False
    condition = statement.get("Condition")
    if not isinstance(condition, Mapping):
        return True
    return any(fnmatchcase(prefix, pattern) for pattern in _list(condition["StringLike"]["s3:prefix"]))


def _list(value: object) -> list[str]:
    return [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]
