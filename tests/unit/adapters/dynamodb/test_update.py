"""The expressions of a conditional update."""

from __future__ import annotations

from vortex.adapters.dynamodb.lease_row import number, text
from vortex.adapters.dynamodb.update import update_arguments


def test_update_arguments_name_every_attribute_by_a_placeholder_when_all_clauses_are_given() -> None:
    made = update_arguments(
        expect={"counter": number(7), "owner": None},
        put={"counter": number(8), "owner": text("me")},
        add={"switches": 1},
        remove=("token", "pending"),
    )
    assert made == {
        "UpdateExpression": "SET #counter = :putcounter, #owner = :putowner ADD #switches :addswitches "
        "REMOVE #token, #pending",
        "ConditionExpression": "#counter = :iscounter AND attribute_not_exists(#owner)",
        "ExpressionAttributeNames": {
            "#counter": "counter",
            "#owner": "owner",
            "#switches": "switches",
            "#token": "token",
            "#pending": "pending",
        },
        "ExpressionAttributeValues": {
            ":putcounter": number(8),
            ":putowner": text("me"),
            ":addswitches": number(1),
            ":iscounter": number(7),
        },
    }


def test_update_arguments_leave_out_clauses_when_they_are_empty() -> None:
    made = update_arguments(expect={"owner": text("me")}, put={}, add={}, remove=("owner",))
    assert made["UpdateExpression"] == "REMOVE #owner"
    assert made["ConditionExpression"] == "#owner = :isowner"
    assert made["ExpressionAttributeValues"] == {":isowner": text("me")}
