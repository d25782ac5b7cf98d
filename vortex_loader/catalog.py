"""The catalogue: which customers and events are loaded, into which schema and table, and how. It may change any time.

Rules of an event override those of its customer, which override those of `default`. The document is TOML
or JSON, the same in a file, in S3 and from the service.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from vortex_loader.model import Kind, LoaderError, Path
from vortex_loader.names import path_of
from vortex_loader.wording import counted, quoted, shortened

_SAID, _PROBLEMS = 200, 10
"""Characters of what is wrong with a key; and how many such keys a message names."""

SEGMENT_TIMES: Mapping[str, Kind] = dict.fromkeys(("timestamp", "originalTimestamp", "sentAt", "receivedAt"), "time")
"""Kinds where the catalogue says nothing: times as Segment's libraries write them."""

Name = Annotated[str, StringConstraints(pattern=r"^(?:[a-z]|_[0-9])[a-z0-9_]{0,54}$")]
"""A schema or table that people name: as the warehouse writes it without quotes, and none of the loader's own."""


def _whole(text: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in text):  # no answer of the service could hold it
        raise ValueError("holds half a character")
    return text


def _key(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds U+0000, which no warehouse can look for")
    return _whole(text)


Raw = Annotated[str, AfterValidator(_whole)]
"""The name of a customer or an event, as Vortex has it."""
Key = Annotated[str, AfterValidator(_key)]
"""A path into events, as people write it."""


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    flatten: tuple[Key, ...] | None = None
    """Objects whose keys become columns, as well as the event's own: `properties`, `context.page`."""
    types: dict[Key, Kind] = Field(default_factory=dict)
    """What columns hold, for those that are made from now on: `context.ip = "text"`."""
    drop: tuple[Key, ...] = ()
    """Keys that do not reach the warehouse, not in `_event` either."""
    hash: tuple[Key, ...] = ()
    """Keys whose value is replaced by its SHA-256, in `_event`, too."""
    max_columns: int | None = Field(default=None, ge=1, le=1500)
    """Columns a table may have; the keys that come most often get one, the others stay in `_event`."""


class EventRules(_Rules):
    """An event type of a customer."""

    table: Name | None = None


class CustomerRules(_Rules):
    """A customer."""

    enabled: bool = True
    events: Literal["all"] | tuple[Raw, ...] | None = None
    schema_: Name | None = Field(default=None, alias="schema")
    event: dict[Raw, EventRules] = Field(default_factory=dict)


class Document(BaseModel):
    """The whole catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    customers: Literal["named", "all"] = "named"
    """Whether customers that are seen and not named here are loaded by the default rules, or reported only."""
    default: CustomerRules = CustomerRules()
    customer: dict[Raw, CustomerRules] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Document:
        if self.default.schema_:
            raise ValueError("default.schema: a schema belongs to a customer")
        for name, rules in self.customer.items():
            tables = [event.table for event in rules.event.values() if event.table]
            for table in tables:
                if tables.count(table) > 1:
                    raise ValueError(f"customer {quoted(name)}: two events in one table {quoted(table)}")
        return self


@dataclass(frozen=True, slots=True)
class Target:
    """Where a partition goes, and how. `schema` and `table` are None where the loader makes them up."""

    schema: str | None
    table: str | None
    flatten: tuple[Path, ...]
    types: Mapping[Path, Kind]
    drop: tuple[Path, ...]
    hash: tuple[Path, ...]
    max_columns: int


class Catalog:
    """What is to be loaded."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def customers(self) -> list[str]:
        """Those that are named and enabled, in order."""
        return sorted(name for name, rules in self.document.customer.items() if rules.enabled)

    def wanted(self, customer: str, event_type: str) -> bool:
        """Whether the catalogue asks for this event of this customer."""
        own = self.document.customer.get(customer)
        if own is None and self.document.customers == "named":
            return False
        default = self.document.default
        rules = own or default
        events = rules.events if rules.events is not None else default.events
        return rules.enabled and (events in (None, "all") or event_type in (events or ()))

    def target(self, customer: str, event_type: str) -> Target:
        """Where it goes: the event's rules before the customer's, those before the default."""
        own = self.document.customer.get(customer) or CustomerRules()
        default = self.document.default
        layers: list[_Rules] = [default, own]
        table = None
        for rules in (default, own):
            if event_type in rules.event:
                layers.append(rules.event[event_type])
                table = rules.event[event_type].table or table
        types: dict[str, Kind] = dict(SEGMENT_TIMES)
        for layer in layers:
            types.update(layer.types)
        return Target(
            own.schema_,
            table,
            tuple(path_of(text) for text in _last([layer.flatten for layer in layers], ("properties",))),
            {path_of(text): kind for text, kind in types.items()},
            tuple(dict.fromkeys(path_of(text) for layer in layers for text in layer.drop)),
            tuple(dict.fromkeys(path_of(text) for layer in layers for text in layer.hash)),
            _last([layer.max_columns for layer in layers], 250),
        )

    def as_json(self) -> dict[str, Any]:
        """The document, without what is left to the defaults. It reads back, for it says its version."""
        document = self.document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return {"version": self.document.version, **document}


def read_catalog(body: bytes, name: str) -> Catalog:
    """The catalogue in these bytes, TOML or JSON. Raises LoaderError with the name, the key and what is wrong."""
    try:
        text = body.decode("utf-8-sig")
        if not text.strip():  # a file that is being written, a proxy's answer: not that nothing is wanted
            raise LoaderError(f"{name} is empty; write `version = 1` where nothing shall be loaded")
        document = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        if not document:
            raise LoaderError(f"{name} says nothing; write `version = 1` where nothing shall be loaded")
        return Catalog(Document.model_validate(document))
    except ValidationError as problem:
        raise LoaderError(f"{name}: {problems_of(problem)}") from None
    except (ValueError, RecursionError) as problem:
        raise LoaderError(f"{name} is neither TOML nor JSON: {problem}") from None


def problems_of(error: ValidationError) -> str:
    """What is wrong with a document, and where: the first of many."""
    found = [
        f"{'.'.join(shortened(str(part)) for part in one['loc']) or 'the document'}: {shortened(one['msg'], _SAID)}"
        for one in error.errors(include_input=False, include_url=False)
    ]
    more = len(found) - _PROBLEMS
    return "; ".join([*found[:_PROBLEMS], *([f"and {counted(more, 'more problem')}"] if more > 0 else [])])


_T = TypeVar("_T")


def _last(values: list[_T | None], otherwise: _T) -> _T:
    return next((value for value in reversed(values) if value is not None), otherwise)
