"""The settings: a TOML file, each key overridable by `VORTEX_SECTION__KEY`; whatever is not known is refused."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from vortex.config import places
from vortex.config.environment import overrides, variable
from vortex.config.units import duration_ms, size_bytes
from vortex.core.decode.limits import DEFAULT
from vortex.core.decode.time_formats import time_format
from vortex.core.layout import Layout
from vortex.core.model import HOUR_MS

_LARGEST_PUT = 5 * 2**30
_KEEPING_UP_MS = 120_000
"""How far a shard that keeps up may be behind, with its lateness: the slowest poll, a commit, clocks that differ."""


class ConfigError(Exception):
    """The settings cannot be used; one line a fault, each naming the key, its variable and what to do."""


def _paths(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                raise ValueError(f'{text!r} is no JSON list; write for example ["a.b", "c"]') from None
        else:
            value = [part.strip() for part in text.split(",")]
    if not isinstance(value, list | tuple) or not value:
        raise ValueError('write a dotted path such as "context.app.name", or a list of them')
    for path in value:
        if not isinstance(path, str) or not all(path.split(".")):
            raise ValueError(f"{path!r} is no dotted path")
    return tuple(value)


def _more_than_nothing(value: int) -> int:
    if value <= 0:
        raise ValueError("must be more than nothing")
    return value


def _one_put(value: int) -> int:
    if value > _LARGEST_PUT:
        raise ValueError('must be "5GiB" at most: S3 takes no more in one put')
    return value


def _patterns(value: object) -> object:
    if isinstance(value, str):
        try:
            value = json.loads(value)  # the environment has lists as JSON; a pattern may begin with a bracket, too
        except (ValueError, RecursionError):
            value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(pattern, str) for pattern in value):
        raise ValueError('write a pattern such as "%d/%b/%Y:%H:%M:%S %z", or a list of them')
    for pattern in value:
        time_format(pattern)
    return tuple(value)


Duration = Annotated[int, BeforeValidator(duration_ms)]
"""Milliseconds."""
Size = Annotated[int, BeforeValidator(size_bytes)]
"""Bytes."""
Positive = Annotated[Duration, AfterValidator(_more_than_nothing)]
ObjectSize = Annotated[Size, AfterValidator(_more_than_nothing), AfterValidator(_one_put)]
"""Bytes of what becomes one object."""
Patterns = Annotated[tuple[str, ...], BeforeValidator(_patterns)]
Paths = Annotated[tuple[str, ...], BeforeValidator(_paths)]


Endpoint = Annotated[str, AfterValidator(places.endpoint)]
"""A service's URL."""


def _region(value: str | None, of_arn: str | None, info: ValidationInfo) -> str | None:
    if value is not None:
        places.region(value, of_aws=not info.data.get("endpoint_url"))
        if of_arn not in (None, value):
            raise ValueError(f"{value!r} is not the region of the ARN, {of_arn!r}: leave it out")
    return value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Section):
    """`[source]`: the Kinesis stream, where a first start begins, and how often a shard read to its tip is asked."""

    stream: str
    endpoint_url: Endpoint | None = None
    region: str | None = None
    start: str = "trim_horizon"
    poll: Duration = 2000

    @field_validator("stream")
    @classmethod
    def _named(cls, value: str) -> str:
        places.stream_region(value)
        return value

    @field_validator("region")
    @classmethod
    def _regional(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _region(value, places.stream_region(info.data.get("stream", "-")), info)

    @field_validator("poll")
    @classmethod
    def _bounded(cls, value: int) -> int:
        if not 250 <= value <= 60_000:
            raise ValueError('must be between "250ms" and "1m"')
        return value

    @field_validator("start")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("trim_horizon", "latest"):
            try:
                parse_instant(value)
            except ValueError as problem:
                raise ValueError(f'{problem}, or "trim_horizon" or "latest"') from None
        return value


class Event(_Section):
    """`[event]`: where an event keeps its customer, type, id and time, and which events are taken.

    `max_bytes` is below what Redshift, the narrowest of the readers, takes of one JSON object (4 MB).
    """

    customer: Paths
    type: Paths
    id: Paths
    time: Paths
    missing_id: Literal["hash", "reject"] = "hash"
    lone_surrogates: Literal["keep", "reject"] = "keep"
    max_bytes: Size = 4_000_000
    time_format: Patterns = ()

    @field_validator("max_bytes")
    @classmethod
    def _sensible(cls, value: int) -> int:
        if not 1024 <= value <= 2**30:
            raise ValueError('must be between "1KiB" and "1GiB"')
        return value


class Dedup(_Section):
    """`[dedup]`: how far apart two events of one id may come and count as one, in stream time; 0 turns it off.

    `reach`: an event that comes more than this behind the newest is not held against what was published before.
    """

    window: Duration = HOUR_MS
    reach: Duration = 24 * HOUR_MS


class Store(_Section):
    """`[store]`: where segments, objects and manifests lie."""

    url: str
    endpoint_url: Endpoint | None = None
    region: str | None = None
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    kms_key_id: Annotated[str, AfterValidator(places.kms_key)] | None = None
    expected_bucket_owner: Annotated[str, AfterValidator(places.account)] | None = None
    request_checksum_calculation: Literal["when_required", "when_supported"] = "when_supported"

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        places.store_place(value)
        return value

    @field_validator("region")
    @classmethod
    def _regional(cls, value: str | None, info: ValidationInfo) -> str | None:
        place = places.store_place(info.data["url"]) if "url" in info.data else None
        return _region(value, place.region if isinstance(place, places.Bucket) else None, info)

    @field_validator("kms_key_id")
    @classmethod
    def _used(cls, value: str | None, info: ValidationInfo) -> str | None:
        way = info.data.get("server_side_encryption", "aws:kms")
        if value is not None and not str(way).startswith("aws:kms"):
            raise ValueError('is used with store.server_side_encryption = "aws:kms" or "aws:kms:dsse" alone')
        return value


class LayoutSection(_Section):
    """`[layout]`: the folders, as templates."""

    path: str = "customer={customer}/event_type={event_type}/date={date}/hour={hour}"
    rejected: str = Field(default="_rejected/date={date}/hour={hour}", validate_default=True)

    @field_validator("path")
    @classmethod
    def _whole(cls, value: str) -> str:
        Layout(value, "-/date={date}/hour={hour}")
        return value

    @field_validator("rejected")
    @classmethod
    def _apart(cls, value: str, info: ValidationInfo) -> str:
        if "path" in info.data:
            Layout(info.data["path"], value)
        return value


class Commit(_Section):
    """`[commit]`: how often a shard's segment is put, and how long a published one is kept."""

    every: Positive = 30_000
    max_bytes: ObjectSize = 64 * 2**20
    keep: Duration = 86_400_000


class Publish(_Section):
    """`[publish]`: the period, and the size at which an object is cut (compressed)."""

    period: Duration = 300_000
    target_object_size: ObjectSize = 64 * 2**20

    @field_validator("period")
    @classmethod
    def _divides(cls, value: int) -> int:
        if value < 1000 or value % 1000 or HOUR_MS % value:
            raise ValueError('must divide an hour: for example "1m", "5m", "15m" or "1h"')
        return value


class Hours(_Section):
    """`[hours]`: how late an event may be, and how long a lagging shard may hold everybody."""

    allowed_lateness: Duration = 60_000
    max_delay: Duration | None = None

    @field_validator("max_delay")
    @classmethod
    def _spares_who_keeps_up(cls, value: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("allowed_lateness", 0) + _KEEPING_UP_MS
        if value is not None and value < least:
            raise ValueError(
                f'must be at least "{least // 1000}s", hours.allowed_lateness and two minutes: '
                "shards that keep up would count as lagging"
            )
        return value


class Coordination(_Section):
    """`[coordination]`: `local` is one process for all shards; `dynamodb` shares them out by leases in a table.

    `table` None stands for `vortex-<stream>`; `failover` is how long a lease outlives its owner's last heartbeat.
    """

    mode: Literal["local", "dynamodb"] = "local"
    table: Annotated[str, AfterValidator(places.table)] | None = None
    endpoint_url: Endpoint | None = None
    region: str | None = None
    failover: Duration = 10_000

    @field_validator("region")
    @classmethod
    def _regional(cls, value: str | None, info: ValidationInfo) -> str | None:
        return _region(value, None, info)

    @field_validator("failover")
    @classmethod
    def _beats(cls, value: int) -> int:
        if value < 1000:
            raise ValueError('must be at least "1s": heartbeats come at a third of it')
        return value


class Memory(_Section):
    """`[memory]`: the limit for lines that are not committed yet, over all shards, and that for published keys."""

    limit: Size = 512 * 2**20
    keys: Size = 512 * 2**20

    @field_validator("limit", "keys")
    @classmethod
    def _enough(cls, value: int) -> int:
        if value < 2**20:
            raise ValueError('must be at least "1MiB"')
        return value


class LimitsSection(_Section):
    """`[limits]`: what one record may cost; one that goes beyond is rejected as a whole, and kept as it came."""

    record: Size = DEFAULT.record
    page: Size = DEFAULT.page
    events: int = Field(default=DEFAULT.events, ge=1)
    rejections: Size = DEFAULT.rejections

    @field_validator("record", "page", "rejections")
    @classmethod
    def _positive(cls, value: int) -> int:
        if value <= 0:
            raise ValueError("must be more than nothing")
        return value


class Http(_Section):
    """`[http]`: metrics and health; port 0 takes any free one."""

    host: Annotated[str, AfterValidator(places.listening_host)] = "127.0.0.1"
    port: int = Field(default=9400, ge=0, le=65535)


class Log(_Section):
    """`[log]`: `auto` is text on a terminal, JSON elsewhere."""

    format: Literal["auto", "json", "text"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Shutdown(_Section):
    """`[shutdown]`: what SIGTERM leaves for committing and publishing."""

    grace: Duration = 25_000


class Settings(_Section):
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


def parse_instant(text: str) -> int:
    """Epoch milliseconds of an ISO time; UTC where it names no zone. Raises ValueError."""
    try:
        at = datetime.fromisoformat(text)
        found = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        found = -1
    if found < 0:
        raise ValueError(f'{text!r} is no time after 1970; write for example "2026-01-31T00:00:00Z"')
    return found


def known_keys() -> dict[str, list[str]]:
    """Every section and its keys."""
    return {
        section: sorted(field.annotation.model_fields)  # type: ignore[union-attr]
        for section, field in Settings.model_fields.items()
    }


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of a TOML file (None: of the environment alone). Raises ConfigError."""
    document = _read(path) if path else {}
    said, faults = overrides(os.environ if environ is None else environ, known_keys())
    name = str(path) if path else "environment"
    for section, keys in said.items():
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            table.update(keys)
    try:
        settings = Settings.model_validate(document) if not faults else None
    except ValidationError as problem:
        faults += [_fault(dict(error), name) for error in problem.errors(include_url=False)]
    if faults or settings is None:
        raise ConfigError("\n".join(faults))
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `vortex init` writes one to begin with") from None
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path}: is not UTF-8: {problem}") from None
    except (ValueError, RecursionError) as problem:  # not only TOMLDecodeError: a number may have too many digits
        raise ConfigError(f"{path}: is not TOML: {problem}") from None


def _fault(error: dict[str, Any], name: str) -> str:
    place = [text if (text := str(part)).isprintable() else repr(text) for part in error["loc"]]
    key = ".".join(place[:2])
    name_in_environment = variable(*place[:2])
    if error["type"] == "extra_forbidden":
        known = known_keys()
        choices = known.get(place[0], []) if len(place) > 1 else list(known)
        near = difflib.get_close_matches(place[-1], choices, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(choices)}"
        return f"{name}: {key}: no such setting{hint}"
    if error["type"] == "missing":
        if len(place) == 1:
            return f"{name}: [{key}]: the section is missing; it must at least be said what to read and where to write"
        return f"{name}: {key}: must be set (or {name_in_environment} in the environment)"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{name}: {key} (or {name_in_environment}): {message}"


def commented_default() -> str:
    """The commented configuration that `vortex init` writes."""
    return files("vortex").joinpath("config.example.toml").read_text("utf-8")
