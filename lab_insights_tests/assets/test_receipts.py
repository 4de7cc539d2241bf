"""Receipts of a partition that holds many tables: sums, and what a person must know of each."""

from __future__ import annotations

import pytest

from lab_insights.assets import receipts
from lab_insights.assets.receipts import Receipt, lake_receipt, total
from lab_insights.aws import Aws
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import day, instant

STORAGE = Storage(Aws(), "receipts")


def receipt(table: str, rows: int, kept: int = 0, warning: str | None = None) -> Receipt:
    """The receipt of one table whose column `amount` is kept as text."""
    made = Manifest(
        layer="raw",
        tenant=TenantId("aurora"),
        table=table,
        day=day(1),
        batch=0,
        attempt=1,
        kind="snapshot",
        rows=rows,
        arrow_schema="",
        counts={"quarantined": 0, "kept_as_text": kept},
        fidelity={"id": "exact", "amount": "text"},
        load="dynamic_full",
        engine="arrow",
        reason="no cursor column",
        predicted=2.0,
        longest_statement=1.5,
        limits={"connections": 4},
        created_at=instant(1),
    )
    return lake_receipt(STORAGE, [made], warning)


def test_each_table_has_a_line_and_what_was_kept_or_warned_of_is_not_lost_in_the_sum() -> None:
    its = total([receipt("crm.large", 900), receipt("crm.odd", 7, kept=3), receipt("lis.slow", 80, warning="look at it")], only="")
    lines = [dict(record.data) for record in its.metadata["loads"].records]
    assert [(line["table"], line["rows"], line["kept_as_text"]) for line in lines] == [
        ("lis.slow", 80, 0),
        ("crm.odd", 7, 3),
        ("crm.large", 900, 0),
    ]
    told = {name: lines[1][name] for name in ("load", "engine", "reason", "predicted_seconds", "longest_statement", "fidelity")}
    assert told == {
        "load": "dynamic_full",
        "engine": "arrow",
        "reason": "no cursor column",
        "predicted_seconds": 2.0,
        "longest_statement": 1.5,
        "fidelity": "amount: text",
    }
    assert (its.rows, its.metadata["kept_as_text"], its.metadata["quarantined"]) == (987, 3, 0)
    assert its.metadata["warnings"] == {"lis.slow": "look at it"}
    assert its.metadata["limits"] == {"crm": {"connections": 4}, "lis": {"connections": 4}}


def test_of_thousands_of_tables_those_that_somebody_must_look_at_have_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "LINES", 2)
    its = total([*(receipt(f"crm.t{number}", 100 + number) for number in range(5)), receipt("crm.odd", 1, kept=1)])
    assert [record.data["table"] for record in its.metadata["loads"].records] == ["crm.odd", "crm.t4"]
    assert its.metadata["tables"] == 6
