"""Redshift: the SQL that is sent, compared with its documentation, and what its errors mean. No server is used."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.loader.stores import hour
from vortex_loader.catalog import Catalog, Document
from vortex_loader.model import Listed, LoaderError, Partition, Passing, StoredObject
from vortex_loader.store import Bucket, Store, open_store
from vortex_loader.warehouse.load import load
from vortex_loader.warehouse.redshift import Redshift

PART = Partition(
    "acme", "Order Completed", hour(0), 3, (Listed("customer=acme/…", "_manifests/customer=acme/…/manifest.json"),)
)


class Published(Store):
    """A store of which only the manifests' names matter."""

    def __init__(self) -> None:
        super().__init__(Bucket("s3://bucket/clickstream", None))

    def objects(self, partition: Partition) -> list[StoredObject]:
        """Two."""
        return [StoredObject("a", 1), StoredObject("b", 1)]


class Connection:
    """Answers as Redshift would to each kind of question, and keeps what it was asked."""

    def __init__(self, answers: dict[str, list[tuple[Any, ...]]]) -> None:
        self.asked: list[str] = []
        self.description: list[tuple[str]] | None = None
        self._answers = answers
        self._rows: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None

    def cursor(self) -> Connection:
        """Itself."""
        return self

    def execute(self, sql: str) -> None:
        """Keeps it."""
        self.asked.append(sql)
        if self.failure is not None:
            raise self.failure
        found = next((rows for pattern, rows in self._answers.items() if re.search(pattern, sql)), None)
        self._rows, self.description = found or [], None if found is None else [("x",)]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The answer."""
        return self._rows

    def close(self) -> None:
        """Nothing."""


ANSWERS: dict[str, list[tuple[Any, ...]]] = {
    r"table_name = '_loads'": [("customer",)],
    r"FROM \"vortex\".\"_names\"": [("acme", "acme")],
    r"FROM \"acme\".\"_loads\"": [],
    r"FROM \"acme\".\"_names\"": [],
    r"^SELECT count\(\*\) FROM _vortex_stage": [(3,)],
    r"UNPIVOT s.doc AS": [
        ("userId", "string", 3),
        ("timestamp", "string", 3),
        ("properties", "object", 3),
        ("tags", "array", 1),
    ],
    r'UNPIVOT s.doc."properties"': [("price", "number", 2), ("price", "string", 1), ('it"s', "boolean", 1)],
    r"SELECT count\(\*\), count": [(3, 2, 3)],
    r"information_schema.columns": [],
}


def loading(part: Partition = PART, **rules: Any) -> tuple[Connection, Any]:
    """One load, and what was asked."""
    connection = Connection(ANSWERS)
    warehouse = Redshift(
        connection, "redshift://u:p@h/db?iam_role=arn:aws:iam::123456789012:role/loader&s3_region=eu-west-1"
    )
    target = Catalog(Document.model_validate({"customers": "all", **rules})).target("acme", "Order Completed")
    return connection, load(warehouse, Published(), part, target, run_id="test")


def test_load_copies_a_partition_by_its_manifest_and_moves_it_in_one_transaction() -> None:
    connection, done = loading()
    assert (done.rows, done.table, done.misfits) == (3, "order_completed", {"properties_price": 1})
    asked = connection.asked
    assert asked[:2] == ["SET TimeZone TO 'UTC'", "SET enable_case_sensitive_identifier TO true"]
    work = asked[asked.index("BEGIN", asked.index('LOCK TABLE "vortex"."_loads"')) :]
    assert work[1] == 'LOCK TABLE "acme"."_loads"'
    assert work[-1] == "COMMIT"
    copy = next(sql for sql in work if sql.startswith("COPY"))
    assert copy == (
        "COPY _vortex_stage FROM 's3://bucket/clickstream/_manifests/customer=acme/…/manifest.json' "
        "IAM_ROLE 'arn:aws:iam::123456789012:role/loader' REGION 'eu-west-1' MANIFEST GZIP FORMAT JSON 'noshred'"
    )
    assert loading(part=replace(PART, compression="zstd"))[0].asked[asked.index(copy)] == copy.replace("GZIP", "ZSTD")
    assert work[work.index(copy) - 1] == "CREATE TEMP TABLE _vortex_stage (doc super)"
    created = next(sql for sql in work if sql.startswith('CREATE TABLE "acme"'))
    assert created == (
        'CREATE TABLE "acme"."order_completed" (_hour timestamptz NOT NULL, _customer varchar(65535) NOT NULL, '
        '_event super NOT NULL, "properties_it_s" boolean, "properties_price" double precision, "tags" super, '
        '"timestamp" timestamptz, "user_id" varchar(65535))'
    )
    insert = next(sql for sql in work if sql.startswith('INSERT INTO "acme"."order_completed"'))
    for piece in (
        "SELECT TIMESTAMPTZ '2026-11-29 09:00:00+00', 'acme', doc, ",
        """CASE WHEN JSON_TYPEOF(doc."properties"."it""s") = 'boolean' THEN doc."properties"."it""s"::boolean END""",
        'CASE WHEN ABS(doc."properties"."price"::float8) BETWEEN 1e-300 AND 9007199254740991 '
        'OR doc."properties"."price"::float8 = 0 THEN doc."properties"."price"::float8 END',
        """CASE WHEN JSON_TYPEOF(doc."tags") NOT IN ('null') THEN doc."tags" END""",
        """CASE WHEN JSON_TYPEOF(doc."userId") = 'string' THEN doc."userId"::varchar(65535)""",
    ):
        assert piece in insert
    audit = next(sql for sql in work if sql.startswith('INSERT INTO "acme"."_loads"'))
    assert "JSON_PARSE('{\"properties_price\": 1}')" in audit and "GETDATE()" in audit


def test_statements_use_no_feature_that_redshift_lacks() -> None:
    """Postgres has upserts, FILTER, RETURNING, arrays, jsonb and MERGE-like conflicts; Redshift does not."""
    connection, _ = loading()
    for sql in connection.asked:
        assert not re.search(
            r"ON CONFLICT|FILTER|RETURNING|jsonb|ARRAY\[|advisory|\bLATERAL\b|text\b(?!\.)(?=,|\))", sql
        ), sql
        assert len(sql) < 16 << 20


def test_literal_escapes_backslashes_and_quotes_for_redshift() -> None:
    warehouse = Redshift(Connection({}), "redshift://u:p@h/db")
    assert warehouse.literal("a\\b'c") == "'a\\\\b''c'"


def test_load_is_refused_when_keys_must_be_dropped() -> None:
    with pytest.raises(LoaderError, match="drop"):
        loading(default={"drop": ["context.ip"]})


def test_stage_refuses_a_store_that_is_not_s3(tmp_path: Path) -> None:
    warehouse = Redshift(Connection(ANSWERS), "redshift://u:p@h/db")
    with pytest.raises(LoaderError, match="reads from S3 only"):
        warehouse.stage(open_store(str(tmp_path)), PART)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (
            type("ProgrammingError", (Exception,), {"__module__": "redshift_connector.error"})(
                {"C": "42P01", "M": "no table"}
            ),
            LoaderError,
        ),
        (
            type("ProgrammingError", (Exception,), {"__module__": "redshift_connector.error"})(
                {"C": "XX000", "M": "1023 serializable"}
            ),
            Passing,
        ),
        (type("InterfaceError", (Exception,), {"__module__": "redshift_connector.error"})("closed"), Passing),
        (ConnectionResetError("reset"), Passing),
    ],
)
def test_errors_name_the_remedy(failure: Exception, kind: type[Exception]) -> None:
    connection = Connection({})
    warehouse = Redshift(connection, "redshift://u:p@h/db")
    connection.failure = failure
    with pytest.raises(kind) as caught:
        warehouse.run("SELECT 1")
    assert type(caught.value) is kind


def test_load_refuses_a_partition_that_is_in_a_bundle() -> None:
    """COPY would read none of its lines, or those of others as well."""
    files = (StoredObject("_bundles/x.json.gz", 10, 0),)
    with pytest.raises(LoaderError, match=r"Order Completed.*in a bundle.*layout\.small = 0"):
        loading(replace(PART, folders=(Listed("customer=acme/…", "", files),)))
