"""The status: which hours are closed, what of them is loaded, and what is not in the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from vortex_loader.catalog import Catalog
from vortex_loader.model import LoaderError, NotClosed, Partition
from vortex_loader.names import key
from vortex_loader.store import Store
from vortex_loader.warehouse.base import Warehouse
from vortex_loader.warehouse.registry import Audit, audits, known_schemas


@dataclass(slots=True)
class HourStatus:
    """A closed hour, in rows: published, loaded, waiting to be, not in the catalogue; and values that did not fit."""

    hour: datetime
    published: int = 0
    loaded: int = 0
    waiting: int = 0
    not_in_catalog: int = 0
    misfits: int = 0
    duplicates: int = 0
    rejected: int = 0


@dataclass(slots=True)
class Status:
    """What was found. `left`: rows of each type that nobody asked for; `open`: hours without a manifest.

    `unreadable`: hours whose manifest cannot be read, and why.
    """

    hours: list[HourStatus] = field(default_factory=list)
    open: list[datetime] = field(default_factory=list)
    unreadable: dict[datetime, str] = field(default_factory=dict)
    waiting: list[Partition] = field(default_factory=list)
    left: dict[tuple[str, str], int] = field(default_factory=dict)
    tables: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)

    @property
    def not_loaded(self) -> list[datetime]:
        """Closed hours of which something is waiting to be loaded, or whose manifest cannot be read."""
        return sorted([*self.unreadable, *(one.hour for one in self.hours if one.waiting)])

    def oldest(self) -> datetime | None:
        """The oldest hour that waits: to be loaded, or to be closed. None closes once a later one has."""
        last = max((one.hour for one in self.hours), default=None)
        coming = [hour for hour in self.open if last is None or hour > last]
        return min([*self.not_loaded, *coming], default=None)


def status(store: Store, catalog: Catalog, warehouse: Warehouse, hours: Sequence[datetime]) -> Status:
    """Of these hours. Raises LoaderError."""
    found = Status()
    loads = _Loads(catalog, warehouse, hours)
    for hour in hours:
        try:
            closed = store.hour(hour)
        except NotClosed:
            found.open.append(hour)
            continue
        except LoaderError as problem:
            if len(hours) == 1:
                raise
            found.unreadable[hour] = str(problem)
            continue
        one = HourStatus(
            hour,
            duplicates=closed.counts.get("dropped", 0) + closed.counts.get("filtered", 0),
            rejected=closed.rejected,
        )
        found.hours.append(one)
        for part in closed.partitions:
            one.published += part.rows
            schema, audit = loads.of(part)
            if audit and audit.rows == part.rows:
                one.loaded += part.rows
                one.misfits += sum(audit.misfits.values())
                place = (part.customer, part.event_type)
                found.tables[place] = (f"{schema}.{audit.table}", found.tables.get(place, ("", 0))[1] + part.rows)
            elif catalog.wanted(part.customer, part.event_type):
                one.waiting += part.rows
                found.waiting.append(part)
            else:
                one.not_in_catalog += part.rows
                kind = (part.customer, part.event_type)
                found.left[kind] = found.left.get(kind, 0) + part.rows
    return found


class _Loads:
    """The audits of these hours, asked for once for each schema."""

    def __init__(self, catalog: Catalog, warehouse: Warehouse, hours: Sequence[datetime]) -> None:
        self._catalog = catalog
        self._warehouse = warehouse
        self._made_up = known_schemas(warehouse)
        self._where = f"hour >= {warehouse.at(min(hours))} AND hour <= {warehouse.at(max(hours))}" if hours else "1 = 0"
        self._known: dict[str, dict[tuple[str, str, datetime], Audit]] = {}

    def of(self, part: Partition) -> tuple[str, Audit | None]:
        """The schema of the partition, and its audit."""
        asked = self._catalog.target(part.customer, part.event_type).schema
        schema = asked or self._made_up.get(key(part.customer))
        if schema is None:
            return "", None
        if schema not in self._known:
            there = self._warehouse.columns(schema, "_loads")
            rows = audits(self._warehouse, schema, self._where) if there else []
            self._known[schema] = {(row.customer, row.event_type, row.hour): row for row in rows}
        return schema, self._known[schema].get((key(part.customer), key(part.event_type), part.hour))
