"""The table of faults: what each does, which calls it can strike, and how often.

What a service really answers on its bad days (throttles, errors, conflicts) is in its own form; what a proxy, a load
balancer, a captive portal or a broken cable makes of a reply is the same for all. Some lies are left out, since nobody
could tell them from the truth: an object or an iterator that exists and is said, in the service's own form, not to; a
listing of objects without some of them; and records that arrived, it is said, before the window of duplicates began.
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
