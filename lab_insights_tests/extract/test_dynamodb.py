"""DynamoDB as a source: nothing is altered, whatever an attribute holds, and no tenant sees another's items."""

from __future__ import annotations

import json
import uuid
from typing import Any

import ibis
import pyarrow as pa
import pytest

from lab_insights.aws import Aws
from lab_insights.config import Source
from lab_insights.errors import ConfigError, SourceError
from lab_insights.extract import dynamodb
from lab_insights.extract.catalog import SourceTable, crawl
from lab_insights.extract.dynamodb import ItemRows
from lab_insights.extract.plan import Declared, plan
from lab_insights.lab.columns import flag
from lab_insights.lab.engine import Duck, Query
from lab_insights.lake.commit import Facts
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.world import AURORA


class Table:
    """A table whose key is (tenant, id), or (id) alone."""

    def __init__(self, endpoint: str, hashed: str = "tenant_id", kind: str = "S") -> None:
        self.kind = kind
        self.aws, self.name = Aws(endpoint_url=endpoint), f"{uuid.uuid4().hex[:8]}-src-call"
        names = (hashed, "id") if hashed != "id" else ("id",)
        self.aws.client("dynamodb").create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind if name == "tenant_id" else "S"} for name in names],
            BillingMode="PAY_PER_REQUEST",
        )

    def put(self, number: int, key: str = "12", /, **attributes: dict[str, Any]) -> None:
        item = {"tenant_id": {self.kind: key}, "id": {"S": f"{number:05d}"}, **attributes}
        self.aws.client("dynamodb").put_item(TableName=self.name, Item=item)

    def crawl(self, tenant: Tenant = AURORA) -> SourceTable:
        tenancy = {"discriminator": {"column": "tenant_id", "value": "{key}"}}
        source = Source.model_validate({"engine": "dynamodb", "tenancy": tenancy, "tables": [self.name]})
        [found] = crawl("notifications", source, tenant, self.aws).tables
        return found

    def read(self, tenant: Tenant = AURORA, crawled: SourceTable | None = None) -> tuple[pa.Table, Facts]:
        rows = ItemRows(crawled or self.crawl(tenant), self.aws)
        tables = [pa.Table.from_batches([batch]) for batch in rows]
        found = pa.concat_tables([rows.schema.empty_table(), *tables], promote_options="default")
        return found.sort_by("id"), rows.facts()


@pytest.fixture
def table(aws_endpoint: str) -> Table:
    return Table(aws_endpoint)


def test_every_kind_of_attribute_arrives_unaltered(table: Table) -> None:
    nested = {"M": {"n": {"N": "1.10"}, "l": {"L": [{"NULL": True}, {"B": b"\x00\xff"}]}}}
    table.put(
        1,
        text={"S": ""},
        number={"N": "1234567890.1234567890123456789012345678"},
        yes={"BOOL": True},
        raw={"B": b"\x00\xff"},
        none={"NULL": True},
        nested=nested,
        several={"NS": ["1", "2.50"]},
        blobs={"BS": [b"\xff"]},
    )
    table.put(2, text={"S": "é"})
    rows, facts = table.read()
    first, second = rows.to_pylist()
    assert first.pop("nested")
    assert json.loads(rows["nested"][0].as_py()) == {"M": {"n": {"N": "1.10"}, "l": {"L": [{"NULL": True}, {"B": "AP8="}]}}}
    assert sorted(json.loads(first.pop("several"))["NS"]) == ["1", "2.50"]
    assert json.loads(first.pop("blobs")) == {"BS": ["/w=="]}
    assert first == {
        "id": "00001",
        "tenant_id": "12",
        "text": "",
        "number": "1234567890.1234567890123456789012345678",
        "yes": True,
        "raw": b"\x00\xff",
        "none": None,
    }
    assert second["text"] == "é"
    assert (second["yes"], second["raw"], second["nested"]) == (None, None, None)
    assert facts.proof
    assert facts.proof.rows == 2
    assert facts.fidelity["number"] == "text"
    assert facts.fidelity["yes"] == "exact"


def test_a_tenant_gets_its_own_items_whether_the_key_begins_with_it_or_not(aws_endpoint: str) -> None:
    for hashed in ("tenant_id", "id"):
        table = Table(aws_endpoint, hashed)
        for number, key in enumerate(("12", "1", "121", "12")):
            table.put(number, key)
        assert table.read()[0]["id"].to_pylist() == ["00000", "00003"]
        assert table.crawl().key == ("id",)


@pytest.mark.parametrize("hashed", ["tenant_id", "id"])
def test_a_tenant_gets_its_own_items_where_they_are_told_apart_by_a_number(aws_endpoint: str, hashed: str) -> None:
    table = Table(aws_endpoint, hashed, "N")
    for number, key in enumerate(["12", "120", "1", "12"]):
        table.put(number, key)
    rows, _ = table.read()
    assert rows.select(["id", "tenant_id"]).to_pylist() == [{"id": "00000", "tenant_id": "12"}, {"id": "00003", "tenant_id": "12"}]


@pytest.mark.parametrize("hashed", ["tenant_id", "id"])
def test_items_that_are_told_apart_by_what_no_value_of_a_tenant_is_are_an_error(aws_endpoint: str, hashed: str) -> None:
    table = Table(aws_endpoint, hashed, "N")
    table.put(1, "120")
    assert table.read()[0].num_rows == 0
    with pytest.raises(
        ConfigError, match=f"The discriminator tenant_id of {table.name} is of type N, which this tenant's value for it can not be"
    ) as raised:
        table.crawl(Tenant.model_validate({"id": "borealis", "key": "north"}))
    assert raised.value.tenant == "borealis"


def test_a_table_is_called_as_what_follows_its_deployments_prefix(table: Table) -> None:
    its = table.crawl()
    assert (its.table_id, its.physical) == ("notifications.call", table.name)


def test_what_the_sample_did_not_show_is_neither_lost_nor_altered(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb, "SAMPLE", 1)
    monkeypatch.setattr(dynamodb, "BATCH", 2)
    table.put(1, flag={"BOOL": True}, raw={"B": b"x"})
    table.put(2, flag={"S": "secret"}, raw={"N": "7"})
    table.put(3, flag={"BOOL": False}, late={"BOOL": True}, later={"S": "x"})
    table.put(4, flag={"M": {"a": {"S": "b"}}}, late={"BOOL": False})
    rows, facts = table.read()
    assert rows["flag"].to_pylist() == [True, None, False, None]
    assert rows["flag__text"].to_pylist() == [None, "secret", None, '{"M":{"a":{"S":"b"}}}']
    assert rows["raw"].to_pylist() == [b"x", None, None, None]
    assert rows["raw__text"].to_pylist() == [None, "7", None, None]
    assert rows["late"].to_pylist() == [None, None, "true", "false"]
    assert rows["later"].to_pylist() == [None, None, "x", None]
    assert facts.fidelity["flag"] == "exact, or text in flag__text"


def test_attributes_whose_names_differ_only_in_case_are_columns_that_no_engine_takes_for_one(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ItemRows.pages
    monkeypatch.setattr(ItemRows, "pages", lambda its: ([item] for page in whole(its) for item in page))
    monkeypatch.setattr(dynamodb, "SAMPLE", 1)
    monkeypatch.setattr(dynamodb, "BATCH", 1)
    table.put(1, orderID={"S": "a"}, orderId={"BOOL": True})
    table.put(2, orderID={"S": "b"}, OrderId={"S": "late"})
    table.put(3, orderId={"S": "misfit"}, OrderId={"S": "later"}, ORDERID={"S": "last"})
    rows, facts = table.read()
    assert rows.select(["orderID", "orderId_", "orderId___text", "OrderId__", "ORDERID___"]).to_pydict() == {
        "orderID": ["a", "b", None],
        "orderId_": [True, None, None],
        "orderId___text": [None, None, "misfit"],
        "OrderId__": [None, "late", "later"],
        "ORDERID___": [None, None, "last"],
    }
    assert facts.fidelity["orderId_"] == "exact, or text in orderId___text"


def test_of_names_that_differ_only_in_case_the_one_that_a_contract_reads_is_kept(table: Table) -> None:
    table.put(1, orderID={"S": "a"}, orderId={"S": "b"})
    table.put(2, orderID={"S": "c"})
    its = plan(table.crawl(), Declared(("id",), columns=("orderId",))).table
    rows, _ = table.read(crawled=its)
    assert (rows["orderId"].to_pylist(), rows["orderID_"].to_pylist()) == (["b", None], ["a", "c"])


def test_an_attribute_that_is_null_in_some_items_has_the_type_of_the_others(table: Table) -> None:
    table.put(1, critical={"BOOL": True}, raw={"NULL": True}, note={"NULL": True})
    table.put(2, critical={"NULL": True}, raw={"B": b"x"}, note={"NULL": True})
    rows, facts = table.read()
    assert rows["critical"].to_pylist() == [True, None]
    assert rows["raw"].to_pylist() == [None, b"x"]
    assert rows["note"].to_pylist() == [None, None]
    assert facts.fidelity["critical"] == "exact"


def test_a_boolean_among_texts_is_a_text_that_a_contract_reads_as_a_flag(table: Table) -> None:
    for number, value in enumerate(({"BOOL": True}, {"BOOL": False}, {"S": "Y"}, {"NULL": True})):
        table.put(number, critical=value)
    rows, _ = table.read()
    assert rows["critical"].to_pylist() == ["true", "false", "Y", None]
    its = ibis.table({"id": "string", "critical": "string"}, name="items")
    with Duck({"items": rows}) as engine:
        engine.run(Query(its.select("id", read=flag(its.critical))))
        assert engine.table().sort_by("id")["read"].to_pylist() == [True, False, True, None]


def test_items_of_many_pages_are_all_read(table: Table) -> None:
    with_padding = {"S": "x" * 40_000}
    for number in range(60):  # 2.4 MB, a page holds 1 MB
        table.put(number, padding=with_padding)
    assert table.read()[0].num_rows == 60


def test_an_empty_table_has_its_keys(table: Table) -> None:
    rows, facts = table.read()
    assert rows.schema.names == ["id", "tenant_id"]
    assert facts.proof
    assert facts.proof.rows == 0


def test_a_table_that_is_not_there_is_a_clear_error(aws_endpoint: str) -> None:
    tenancy = {"discriminator": {"column": "tenant_id", "value": "{key}"}}
    source = Source.model_validate({"engine": "dynamodb", "tenancy": tenancy, "tables": ["no-such-table"]})
    with pytest.raises(SourceError, match="no-such-table can not be read") as raised:
        crawl("notifications", source, AURORA, Aws(endpoint_url=aws_endpoint))
    assert raised.value.tenant == "aurora"


def test_a_table_that_went_between_crawl_and_load_is_a_clear_error(table: Table) -> None:
    crawled = table.crawl()
    table.aws.client("dynamodb").delete_table(TableName=table.name)
    with pytest.raises(SourceError, match="can not be read") as raised:
        table.read(crawled=crawled)
    assert raised.value.table == "notifications.call"
