"""Sections of what Vortex writes: where, how often, in which files, and when hours close."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from vortex.config import places
from vortex.config.section import Section, section_region
from vortex.config.units import duration_ms, duration_text, size_bytes
from vortex.config.values import Duration, Endpoint, ObjectSize, PositiveDuration, Size, Within
from vortex.core.layout import Layout, check_path
from vortex.core.model import HOUR_MS

_DIVIDE = 'must divide an hour; write for example "1m", "5m", "15m" or "1h"'
_DIVISORS = frozenset(value for value in range(1000, HOUR_MS + 1, 1000) if HOUR_MS % value == 0)
_KEEPING_UP_MS = 120_000
"""How far a shard that keeps up may be behind, with its lateness: the slowest poll, a commit, clocks that differ."""


class Store(Section):
    """Where Vortex writes: objects, manifests, and its own state."""

    url: str = Field(
        description='"s3://bucket/prefix" or "file:///absolute/folder". An access point may replace the bucket, by '
        "alias or by ARN.",
        examples=["file:///var/lib/vortex", "s3://bucket/prefix"],
    )
    endpoint_url: Endpoint | None = Field(
        default=None,
        description="URL of the S3 endpoint: another server that speaks S3, or a VPC endpoint. Default: that of AWS.",
        examples=["http://127.0.0.1:9000"],
    )
    region: str | None = Field(
        default=None, description="AWS region of the bucket. Default: that of the stream.", examples=["eu-central-1"]
    )
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = Field(
        default=None, description="How S3 encrypts objects. Default: as the bucket says.", examples=["aws:kms"]
    )
    kms_key_id: Annotated[str, AfterValidator(places.kms_key)] | None = Field(
        default=None,
        description='KMS key: its id, alias or ARN. Needs server_side_encryption "aws:kms" or "aws:kms:dsse".',
        examples=["alias/clickstream"],
    )
    expected_bucket_owner: Annotated[str, AfterValidator(places.account)] | None = Field(
        default=None,
        description="AWS account that must own the bucket; requests fail otherwise.",
        examples=["123456789012"],
    )
    request_checksum_calculation: Literal["when_required", "when_supported"] = Field(
        default="when_supported",
        description='"when_required" is for servers that refuse the checksums that newer AWS clients send.',
    )

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        places.store_place(value)
        return value

    @field_validator("region")
    @classmethod
    def _regional(cls, value: str | None, info: ValidationInfo) -> str | None:
        place = places.store_place(info.data["url"]) if "url" in info.data else None
        return section_region(value, place.region if isinstance(place, places.Bucket) else None, info)

    @field_validator("kms_key_id")
    @classmethod
    def _used(cls, value: str | None, info: ValidationInfo) -> str | None:
        way = info.data.get("server_side_encryption", "aws:kms")
        if value is not None and not str(way).startswith("aws:kms"):
            raise ValueError('needs store.server_side_encryption = "aws:kms" or "aws:kms:dsse"')
        return value


class LayoutSection(Section):
    """Folders of objects, as templates. Each placeholder needs a path segment of its own."""

    path: str = Field(
        default="customer={customer}/event_type={event_type}/date={date}/hour={hour}",
        description="Folder of accepted events. It has {customer}, {event_type}, {date} and {hour}, each once.",
    )
    rejected: str = Field(
        default="_rejected/date={date}/hour={hour}",
        validate_default=True,
        description="Folder of rejections. It has {date} and {hour}, each once, and begins with a segment that no "
        "event's folder can begin with.",
    )
    compression: Literal["gzip", "zstd"] = Field(
        default="gzip",
        description='"zstd" (Zstandard) makes smaller objects at the same CPU, for readers that know it. A change '
        "takes effect with the next hour.",
    )
    small: Size = Field(
        default=0,
        description="Partitions with fewer compressed bytes than this in a period share objects (bundles), so that "
        "many small ones cost few requests. Readers find their lines by the hour's manifest. 0: no bundles.",
        examples=["64KiB"],
    )

    @field_validator("path")
    @classmethod
    def _whole(cls, value: str) -> str:
        check_path(value)
        return value

    @field_validator("rejected")
    @classmethod
    def _apart(cls, value: str, info: ValidationInfo) -> str:
        if "path" in info.data:
            Layout(info.data["path"], value)
        return value


class Commit(Section):
    """When a shard's events are made durable, as a segment of its log, and how long published segments are kept."""

    every: PositiveDuration = Field(
        default=duration_ms("60s"),
        description="Longest time between two commits of a shard: what a crash makes Vortex read again at most. It "
        "is looked at after each page, so a shard makes no commit while Kinesis does not answer.",
    )
    max_bytes: ObjectSize = Field(
        default=size_bytes("64MiB"),
        description='Commit earlier when this many bytes of events have gathered; at most "5GiB".',
    )
    keep: Duration = Field(
        default=duration_ms("12h"), description="How long to keep a segment after it is published; 20 minutes at least."
    )


FAST: dict[str, dict[str, tuple[str, str]]] = {
    "source": {"poll": ("2s", "500ms")},
    "publish": {"period": ("5m", "4s")},
    "hours": {"allowed_lateness": ("1m", "500ms")},
}
"""The defaults that `publish.preset = "fast"` changes, and to what. A file of `vortex init` has them all, so a default
that is written gives way to the preset, too.
"""


class Publish(Section):
    """How events become objects."""

    preset: Literal["fast"] | None = Field(
        default=None,
        description='"fast" makes events visible within seconds, by other defaults: source.poll "500ms", '
        'publish.period "4s", hours.allowed_lateness "500ms". More files, more requests, more late events.',
        examples=["fast"],
    )
    period: Annotated[Duration, Within(1000, HOUR_MS, _DIVIDE, values=_DIVISORS)] = Field(
        default=duration_ms("5m"),
        description='Time that one object covers. It must divide an hour; "1h" gives one file an hour.',
    )
    target_object_size: ObjectSize = Field(
        default=size_bytes("64MiB"),
        description='Compressed size at which a period is cut into several objects; at most "5GiB".',
    )
    scratch: Size = Field(
        default=size_bytes("4GiB"),
        description="Disk space of a process for copies of segments, while it publishes a plan of more than 24 MiB: in "
        "the folder for temporary files (TMPDIR). With less, segments are read several times.",
    )


class Hours(Section):
    """When hours close."""

    allowed_lateness: Duration = Field(
        default=duration_ms("1m"), description="How late an event may be. A later one goes to the current period."
    )
    max_delay: Annotated[Duration, Within(_KEEPING_UP_MS, None)] | None = Field(
        default=None,
        description="Hours close without a shard that lags longer than this; its older events then count as late. At "
        "least allowed_lateness and two minutes. Default: hours wait for every shard.",
        examples=["6h"],
    )

    @field_validator("max_delay")
    @classmethod
    def _spares_who_keeps_up(cls, value: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("allowed_lateness", 0) + _KEEPING_UP_MS
        if value is not None and value < least:
            raise ValueError(
                f'must be at least "{duration_text(least)}" (hours.allowed_lateness and two minutes); with less, '
                "shards that keep up would count as lagging"
            )
        return value
