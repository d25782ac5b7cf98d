"""The settings: every section and key with its type, its default and its description.

This is where they are described, once. `config.example.toml`, `vortex.schema.json`, docs/reference/settings.md and
`vortex init` are made from it: see `vortex.config.example` and `make generated`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from vortex.config import places
from vortex.config.input import Event, LimitsSection, Source
from vortex.config.output import FAST, Commit, Hours, LayoutSection, Publish, Store
from vortex.config.section import Section, section_region
from vortex.config.units import duration_ms, size_bytes
from vortex.config.values import Duration, Endpoint, Number, Size, SizeOrAuto, Within


class Dedup(Section):
    """Deduplication of events with the same customer and id, over all shards."""

    window: Duration = Field(
        default=duration_ms("1h"),
        description='Two events with the same id that arrive within this time are one event. "0s" turns deduplication '
        "off.",
    )
    reach: Duration = Field(
        default=duration_ms("24h"),
        description="An event that arrived more than this before the end of the last published period, as of a shard "
        "that lags by days, is not compared with what was published before it.",
    )


class Coordination(Section):
    """How several workers share the shards."""

    mode: Literal["local", "dynamodb"] = Field(
        default="local",
        description='"local": one process reads all shards. "dynamodb": many workers share them by leases in a table.',
    )
    table: Annotated[str, AfterValidator(places.table)] | None = Field(
        default=None,
        description="DynamoDB table of the leases, created at the first start. Default: vortex- and the stream's name. "
        "Each store needs its own: Vortex refuses the table of another store. "
        "With the table of a Kinesis Client Library application, Vortex starts at its checkpoints.",
        examples=["vortex-clickstream"],
    )
    endpoint_url: Endpoint | None = Field(
        default=None,
        description="URL of the DynamoDB endpoint: an emulator, or a VPC endpoint. Default: that of AWS.",
        examples=["http://127.0.0.1:8000"],
    )
    region: str | None = Field(
        default=None, description="AWS region of the table. Default: that of the stream.", examples=["eu-central-1"]
    )
    failover: Annotated[Duration, Within(1000, None, 'must be at least "1s": heartbeats are sent at a third of it')] = (
        Field(
            default=duration_ms("10s"),
            description='A worker that sends no heartbeat for this long loses its shards to others; at least "1s". '
            "Heartbeats are sent at a third of it.",
        )
    )

    @field_validator("region")
    @classmethod
    def _regional(cls, value: str | None, info: ValidationInfo) -> str | None:
        return section_region(value, None, info)


LEAST_MEMORY = 2**20
"""Bytes."""
_ENOUGH = Within(LEAST_MEMORY, None, 'must be at least "1MiB"')


class Memory(Section):
    """Limits of memory."""

    limit: Annotated[SizeOrAuto, _ENOUGH] = Field(
        default="auto",
        description="For events that are not committed yet, over all shards. `vortex run --processes` shares it out. "
        'At least "1MiB". "auto": what the shards of a worker gather in commit.every at their full rate, as far as the '
        'memory of the container or of the machine goes; at least "256MiB".',
    )
    keys: Annotated[Size, _ENOUGH] = Field(
        default=size_bytes("512MiB"),
        description="For ids that were published within dedup.window, 20 bytes each. If they do not fit, fingerprints "
        "of the older ones are kept, 3.3 bytes each. What does not fit even so is read from the store again. "
        'Each of `vortex run --processes` has as much. At least "1MiB".',
    )


class Http(Section):
    """The endpoint of the status page (/), metrics (/metrics) and health (/livez, /readyz)."""

    host: Annotated[str, AfterValidator(places.listening_host)] = Field(
        default="127.0.0.1", description='Address to listen on, or "unix:/path" for a socket.'
    )
    port: Number = Field(default=9400, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    customers: bool = Field(
        default=True, description="Whether the page at / lists the customers with the most bytes of the last hour."
    )


class Log(Section):
    """The log, on standard error."""

    format: Literal["auto", "json", "text"] = Field(
        default="auto", description='"json", "text", or "auto": text on a terminal, JSON elsewhere.'
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe lines to write."
    )


class Shutdown(Section):
    """What happens at SIGTERM."""

    grace: Duration = Field(
        default=duration_ms("25s"),
        description="Time to commit and publish before the process exits. The rest is read again.",
    )


class Settings(Section):
    """All settings. Durations are milliseconds, sizes bytes."""

    source: Source
    event: Event
    store: Store
    dedup: Dedup = Dedup()
    layout: LayoutSection = LayoutSection()
    commit: Commit = Commit()
    publish: Publish = Publish()
    hours: Hours = Hours()
    coordination: Coordination = Coordination()
    memory: Memory = Memory()
    limits: LimitsSection = LimitsSection()
    http: Http = Http()
    log: Log = Log()
    shutdown: Shutdown = Shutdown()

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, document: Any) -> Any:
        """With a preset, other defaults."""
        publish = document.get("publish") if isinstance(document, dict) else None
        if not isinstance(publish, dict) or publish.get("preset") != "fast":
            return document
        changed = dict(document)
        for name, keys in FAST.items():
            if isinstance(table := document.get(name, {}), dict):
                changed[name] = table | {
                    key: fast for key, (usual, fast) in keys.items() if table.get(key, usual) == usual
                }
        return changed


def sections() -> dict[str, type[Section]]:
    """Every section by its name, in the order in which they are shown."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def known_keys() -> dict[str, list[str]]:
    """Every section and its keys."""
    return {name: sorted(section.model_fields) for name, section in sections().items()}
