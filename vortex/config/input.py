"""Sections of what Vortex reads: the stream, the events in it, and what one record may cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from vortex.config import places
from vortex.config.section import Section, section_region
from vortex.config.units import duration_ms, size_bytes
from vortex.config.values import Duration, Endpoint, Number, Paths, Patterns, PositiveSize, Size, Within, parse_instant
from vortex.core.decode.limits import DEFAULT


class Source(Section):
    """The Kinesis stream to read."""

    stream: str = Field(description="Name or ARN of the stream.", examples=["clickstream"])
    endpoint_url: Endpoint | None = Field(
        default=None,
        description="URL of the Kinesis endpoint: an emulator, or a VPC endpoint. Default: that of AWS.",
        examples=["http://127.0.0.1:4567"],
    )
    region: str | None = Field(
        default=None,
        description="AWS region of the stream. Default: the region in the ARN, else AWS_REGION, else what the AWS "
        "configuration says.",
        examples=["eu-central-1"],
    )
    start: str = Field(
        default="trim_horizon",
        description='Where the first start begins to read: "trim_horizon" (the oldest record), "latest", or a time '
        'such as "2026-01-31T00:00:00Z". Later starts continue where the last one stopped.',
    )
    poll: Annotated[Duration, Within(250, 60_000, 'must be between "250ms" and "1m"')] = Field(
        default=duration_ms("2s"),
        description='How often to ask a shard that has been read to its tip; from "250ms" to "1m". A shard that lags '
        "is read as fast as Kinesis allows.",
    )

    @field_validator("stream")
    @classmethod
    def _named(cls, value: str) -> str:
        places.stream_region(value)
        return value

    @field_validator("region")
    @classmethod
    def _regional(cls, value: str | None, info: ValidationInfo) -> str | None:
        return section_region(value, places.stream_region(info.data.get("stream", "-")), info)

    @field_validator("start")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("trim_horizon", "latest"):
            try:
                parse_instant(value)
            except ValueError as problem:
                raise ValueError(f'{problem}, or "trim_horizon" or "latest"') from None
        return value


class Event(Section):
    """Where an event keeps its customer, type, id and time, and which events are accepted.

    Each path is dotted, such as "context.app.name". Of a list of paths, the first that the event has is used.
    """

    customer: Paths = Field(
        description="Path of the customer, a string or an integer.", examples=["context.app.namespace"]
    )
    type: Paths = Field(
        description="Path of the event type, a string or an integer.", examples=[["event", "type"], "type"]
    )
    id: Paths = Field(description="Path of the id that identifies duplicates.", examples=["messageId"])
    time: Paths = Field(
        description="Path of the time that says to which hour the event belongs. An event without a readable time "
        "belongs to the hour in which it arrived.",
        examples=[["timestamp", "receivedAt"], "timestamp"],
    )
    missing_id: Literal["hash", "reject"] = Field(
        default="hash",
        description='What to do with an event that has no id: "hash" uses a hash of its content as the id, "reject" '
        "rejects the event.",
    )
    lone_surrogates: Literal["keep", "reject"] = Field(
        default="keep",
        description='What to do with an event that has half a character, such as "\\ud83d": "keep" it as it is, or '
        '"reject" it. DuckDB and ClickHouse cannot read such events.',
    )
    max_bytes: Annotated[Size, Within(1024, 2**30, 'must be between "1KiB" and "1GiB"')] = Field(
        default=size_bytes("4MB"),
        description='Largest event that is accepted; from "1KiB" to "1GiB". Redshift reads no JSON object above 4 MB.',
    )
    time_format: Patterns = Field(
        default=(),
        description="Patterns of strptime, one or a list. They are tried before ISO 8601 and numbers since 1970, which "
        "need no pattern.",
        examples=["%d/%b/%Y:%H:%M:%S %z"],
    )


class LimitsSection(Section):
    """What one Kinesis record may cost. A record beyond a limit is rejected as a whole, with its bytes as they came."""

    record: PositiveSize = Field(default=DEFAULT.record, description="Size of a record after decompression.")
    page: PositiveSize = Field(
        default=DEFAULT.page,
        description="Size after decompression of all records of a GetRecords page, beyond 32 times their own size.",
    )
    events: Number = Field(
        default=DEFAULT.events,
        ge=1,
        le=10**9,
        description="Events in a record, and user records in a KPL aggregate; from 1 to 1,000,000,000.",
    )
    rejections: PositiveSize = Field(
        default=DEFAULT.rejections,
        description="Size of the rejection lines of one record, or twice the record's own size if that is more.",
    )
