"""What a crawl leaves behind: Glue tables, and a version of a schema when it changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lab_insights.extract.catalog import Column, SourceTable
from lab_insights.extract.databases import Placement
from lab_insights.governance import glue, history
from lab_insights.governance.history import Change
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import FIRST, fresh_tenant, ids, instant, put


def table(tenant: TenantId, *columns: tuple[str, str], name: str = "patient") -> SourceTable:
    its = tuple(Column(column, kind, nullable=True, comment="a comment" if column == "id" else None) for column, kind in columns)
    return SourceTable("lis", "mysql", tenant, name, name, Placement("lis"), its, ("id",))


@pytest.fixture(scope="module")
def database(lake: Lake) -> str:
    name = glue.database(lake.storage.prefix, "raw")
    lake.storage.aws.client("glue").create_database(DatabaseInput={"Name": name})
    return name


def described(lake: Lake, database: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = lake.storage.aws.client("glue").get_table(DatabaseName=database, Name=name)["Table"]
    return found


def columns(found: dict[str, Any]) -> list[str]:
    return [column["Name"] for column in found["StorageDescriptor"]["Columns"]]


def test_tables_of_several_tenants_are_one_with_the_columns_of_all(lake: Lake, database: str) -> None:
    one = table(fresh_tenant(), ("id", "bigint(20)"), ("Name", "varchar(9)"))
    other = table(fresh_tenant(), ("id", "int(11)"), ("extra", "json"))
    assert glue.register(lake.storage.aws, lake.storage, [one, other]) == 1
    found = described(lake, database, "lis_patient")
    assert columns(found) == ["id", "name", "extra"]
    assert found["StorageDescriptor"]["Columns"][0]["Comment"] == "bigint(20): a comment"
    assert [key["Name"] for key in found["PartitionKeys"]] == ["tenant", "date"]
    assert found["Parameters"]["lab_insights.table"] == "lis.patient"


def test_registering_again_brings_a_table_up_to_date(lake: Lake, database: str) -> None:
    tenant = fresh_tenant()
    for more in ((), (("new", "text"),)):
        glue.register(lake.storage.aws, lake.storage, [table(tenant, ("id", "int"), *more, name="again")])
    assert columns(described(lake, database, "lis_again")) == ["id", "new"]


def test_keys_indexes_comment_and_estimates_are_those_of_the_tenants_and_outlive_a_registration_by_the_lake(
    lake: Lake, database: str
) -> None:
    first, second = fresh_tenant(), fresh_tenant()
    one = dataclasses.replace(
        table(first, ("ID", "int"), ("at", "datetime"), name="sized"), key=("ID",), indexed=frozenset({"at", "ID"}), rows=100, bytes=4096
    )
    other = dataclasses.replace(one, tenant=second, indexed=frozenset({"site"}), rows=20, bytes=None, comment="Visits of a day.")
    glue.register(lake.storage.aws, lake.storage, [one, other, table(first, ("id", "int"), name="bare")])

    def said(name: str) -> tuple[str, dict[str, str]]:
        found = described(lake, database, name)
        ours = {key.removeprefix("lab_insights."): its for key, its in found["Parameters"].items() if key.startswith("lab_insights.")}
        return found.get("Description", ""), ours

    wanted = {"table": "lis.sized", "key": "id", "indexed": "at,id,site", "rows": "120", "bytes": "4096"}
    assert said("lis_sized") == ("Visits of a day.", wanted)
    assert said("lis_bare") == ("", {"table": "lis.bare", "key": "id"})
    put(lake, Partition("raw", first, "lis.sized", FIRST), ids(1))
    glue.register_lake(lake, [first])
    assert said("lis_sized") == ("Visits of a day.", wanted)


def test_a_column_called_as_a_partition_key_is_left_out_since_no_engine_reads_a_table_with_it(lake: Lake, database: str) -> None:
    glue.register(lake.storage.aws, lake.storage, [table(fresh_tenant(), ("id", "int"), ("date", "date"), ("TENANT", "int"), name="dated")])
    assert columns(described(lake, database, "lis_dated")) == ["id"]


def test_a_version_is_written_at_first_sight_and_when_something_changed(lake: Lake) -> None:
    aws, prefix, tenant = lake.storage.aws, lake.storage.prefix, fresh_tenant()

    def seen(its: SourceTable) -> Change | None:
        return history.record(aws, prefix, its, instant(1))

    first = table(tenant, ("id", "int"), ("a", "int"), ("b", "text"))
    assert seen(first) == Change(tenant, "lis.patient", 1, ("id", "a", "b"), (), ())
    assert seen(first) is None
    second = table(tenant, ("id", "int"), ("a", "bigint"), ("c", "text"))
    assert seen(second) == Change(tenant, "lis.patient", 2, ("c",), ("b",), ("a",))
    assert seen(second) is None
    assert seen(dataclasses.replace(second, key=("id", "a"))) == Change(tenant, "lis.patient", 3, (), (), ())
    assert seen(first) == Change(tenant, "lis.patient", 4, ("b",), ("c",), ("a",))


def test_histories_of_tenants_and_tables_are_their_own(lake: Lake) -> None:
    aws, prefix = lake.storage.aws, lake.storage.prefix
    tenant, other = fresh_tenant(), fresh_tenant()
    for its in (table(tenant, ("id", "int")), table(other, ("id", "int")), table(tenant, ("id", "int"), name="result")):
        change = history.record(aws, prefix, its, instant(1))
        assert change
        assert change.version == 1
