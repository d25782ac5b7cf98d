"""The expressions of a conditional UpdateItem.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vortex.adapters.dynamodb.lease_row import Value, number


def update_arguments(
    *, expect: Mapping[str, Value | None], put: Mapping[str, Value], add: Mapping[str, int], remove: tuple[str, ...]
) -> dict[str, Any]:
    """The arguments of a call that sets, adds to and removes attributes, if the row is as expected.

    `expect` maps attributes to their values, None for an absent one. Names are sent as placeholders, since some are
    reserved words.
    """
    names: dict[str, str] = {}
    values: dict[str, Value] = {}

    def name(attribute: str) -> str:
        names[f"#{attribute}"] = attribute
        return f"#{attribute}"

    def value(kind: str, attribute: str, given: Value) -> str:
        values[f":{kind}{attribute}"] = given
        return f":{kind}{attribute}"

    clauses = []
    if put:
        clauses.append("SET " + ", ".join(f"{name(a)} = {value('put', a, v)}" for a, v in put.items()))
    if add:
        clauses.append("ADD " + ", ".join(f"{name(a)} {value('add', a, number(n))}" for a, n in add.items()))
    if remove:
        clauses.append("REMOVE " + ", ".join(map(name, remove)))
    conditions = [
        f"attribute_not_exists({name(a)})" if v is None else f"{name(a)} = {value('is', a, v)}"
        for a, v in expect.items()
    ]
    return {
        "UpdateExpression": " ".join(clauses),
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
