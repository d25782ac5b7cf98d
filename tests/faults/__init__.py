"""The table of faults: what each does, which calls it can strike, and how often.

Errors of a service (throttles, failures, conflicts) have that service's format. Faults of proxies, load balancers,
captive portals and cables are the same for all services. Some wrong replies are left out, since no client could detect
them: a valid reply that an existing object or iterator does not exist, a listing without some objects, and records with
an arrival time before the window of deduplication.
"""

from __future__ import annotations

from tests.faults import network, services
from tests.faults.row import Fault

__all__ = ["FAULTS", "Fault"]

_PARTS = (
    network.connections,
    network.bodies,
    network.statuses,
    network.dates,
    services.errors,
    services.kinesis,
    services.s3,
    services.dynamodb,
    services.credentials,
)

FAULTS: dict[str, Fault] = {fault.name: fault for part in _PARTS for fault in part()}
"""By name."""
