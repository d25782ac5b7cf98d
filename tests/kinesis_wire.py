"""Kinesis's requests and replies in the encoding of the client, for servers of tests that think in JSON."""

from __future__ import annotations

import contextlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.wire import CBOR, JSON, Time, cbor, uncbor


def is_cbor(kind: str) -> bool:
    """Whether that content type is Kinesis's CBOR."""
    return kind == CBOR.content


def asked(kind: str, body: bytes) -> dict[str, Any]:
    """The arguments of a request of this content type."""
    return CBOR.loads(body) if is_cbor(kind) else dict(json.loads(body))


def written(kind: str, document: Any) -> bytes:
    """A reply of this content type. `document` is as in JSON: data in base64, times in seconds."""
    return cbor(_rows(document, _packed)) if is_cbor(kind) else json.dumps(document).encode()


def said(kind: str, body: bytes) -> Any:
    """What a reply of this content type says, as in JSON. Raises ValueError for none."""
    if not is_cbor(kind):
        return json.loads(body)
    try:
        return _rows(uncbor(body), _unpacked)
    except Exception as error:  # whatever the parser meets
        raise ValueError(f"no CBOR: {error}") from error


def reply(kind: str, document: Any) -> tuple[str, bytes]:
    """Content type and body of a reply to a request of this content type."""
    return (CBOR if is_cbor(kind) else JSON).content, written(kind, document)


def _rows(document: Any, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:
    rows = document.get("Records") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        return document
    return {**document, "Records": [change(row) if isinstance(row, dict) else row for row in rows]}


def _packed(row: Mapping[str, Any]) -> dict[str, Any]:
    """The record with bytes and milliseconds, where it has data and a time that can be such."""
    made = dict(row)
    if isinstance(data := row.get("Data"), str):
        with contextlib.suppress(ValueError):  # a fault that is no base64 stays a text
            made["Data"] = b64decode(data, validate=True)
    if isinstance(time := row.get("ApproximateArrivalTimestamp"), int | float) and time >= 0:
        made["ApproximateArrivalTimestamp"] = Time(round(time * 1000))
    return made


def _unpacked(row: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(row)
    if isinstance(data := row.get("Data"), bytes):
        made["Data"] = b64encode(data).decode()
    if isinstance(time := row.get("ApproximateArrivalTimestamp"), int | float):
        made["ApproximateArrivalTimestamp"] = time / 1000
    return made
