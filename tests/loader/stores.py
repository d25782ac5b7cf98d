"""Stores as Vortex writes them, made by hand: objects, manifests, and their content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from vortex.core.compression import Compression
from vortex.core.layout import Layout, bundle_key, hour_manifest_key, object_key, partition_manifest_key
from vortex.core.log.segment import compress
from vortex.core.model import HOUR_MS

H9 = datetime(2026, 11, 29, 9, tzinfo=UTC)
LAYOUT = Layout(
    "customer={customer}/event_type={event_type}/date={date}/hour={hour}", "_rejected/date={date}/hour={hour}"
)


def hour(n: int) -> datetime:
    """The hour n hours after nine o'clock."""
    return H9 + timedelta(hours=n)


def line(event: Any) -> bytes:
    """An event as a line; bytes are used as they are."""
    return (event if isinstance(event, bytes) else json.dumps(event, ensure_ascii=False).encode()) + b"\n"


def publish(
    root: Path,
    at: datetime,
    partitions: Mapping[tuple[str, str], Iterable[Any]],
    *,
    rejected: int = 0,
    objects: int = 2,
    url: str = "s3://bucket/prefix",
    layout: Layout = LAYOUT,
    compression: Compression = Compression.GZIP,
    bundled: bool = False,
) -> None:
    """Close the hour `at` with these events by customer and type, in `objects` objects each.

    Where they are `bundled`, all partitions share the objects, except for the last part of each.
    """
    start = int(at.timestamp()) * 1000
    rows, totals = [], 0
    bundles: dict[str, bytes] = {}
    for (customer, event_type), events in partitions.items():
        folder = layout.folder(customer, event_type, start)
        lines = [line(event) for event in events]
        entries, files = [], []
        step = -(-len(lines) // objects)
        for part, first in enumerate(range(0, len(lines), step)):
            key = object_key(folder, start + part * HOUR_MS // 12, 0, compression)
            some = lines[first : first + step]
            if bundled and (part < objects - 1 or objects == 1):
                bundle = bundle_key(start + part * HOUR_MS // 12, 0, 0, compression)
                body, before = compress(b"".join(some), compression), bundles.get(bundle, b"")
                files.append({"key": bundle, "offset": len(before), "bytes": len(body), "rows": len(some)})
                bundles[bundle] = before + body
                continue
            middle = len(some) // 2  # two members
            body = compress(b"".join(some[:middle]), compression) + compress(b"".join(some[middle:]), compression)
            write(root / key, body)
            entries.append({"url": f"{url}/{key}", "mandatory": True, "meta": {"content_length": len(body)}})
            files.append({"key": key, "offset": 0, "bytes": len(body), "rows": len(some)})
        row: dict[str, Any] = {"customer": customer, "event_type": event_type, "folder": folder}
        if bundled:
            row["files"] = files
        else:
            row["manifest"] = partition_manifest_key(folder)
            write(root / row["manifest"], json.dumps({"entries": entries}).encode())
        rows.append({**row, "objects": len(files), "rows": len(lines), "bytes": 0, "raw_bytes": 0})
        totals += len(lines)
    for key, body in bundles.items():
        write(root / key, body)
    document = {
        "version": 3 if bundled else 1 if compression is Compression.GZIP else 2,
        "stream": "clickstream",
        "hour": f"{at:%Y-%m-%dT%H}:00:00Z",
        "totals": {"rows": totals},
        "counts": {"published": totals, "dropped": 0, "filtered": 0, "rejected": rejected},
        "partitions": rows,
        "rejected": [{"folder": "_rejected", "manifest": "m", "rows": rejected}] if rejected else [],
    }
    if compression is not Compression.GZIP:
        document["compression"] = compression
    write(root / hour_manifest_key(start), json.dumps(document, indent=1).encode())


def write(path: Path, body: bytes) -> None:
    """Write a file and create its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)


def page(n: int, **more: Any) -> dict[str, Any]:
    """A plain event."""
    return {
        "messageId": f"m-{n}",
        "userId": f"u-{n % 7}",
        "timestamp": "2026-11-29T09:00:01.5Z",
        "context": {"ip": "203.0.113.7"},
        "properties": {"price": n / 4, "currency": "EUR"},
        **more,
    }
