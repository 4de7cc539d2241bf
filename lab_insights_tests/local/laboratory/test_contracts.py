"""The modelled contracts read the laboratory's tables: no column is invented, and none is forgotten."""

from __future__ import annotations

import pytest

from lab_insights.lab.contracts import contracts
from lab_insights_tests.local.laboratory.days import day, scene

NOT_MODELLED = {"message": {"body"}}


@pytest.mark.parametrize("name", sorted(contract.table for contract in contracts().values() if contract.source and contract.source.whole))
def test_a_contract_covers_its_source_table(name: str) -> None:
    contract = contracts()[name]
    table = contract.source.table
    written = next(change.values for change in day(scene(), 0) if change.table == table)
    expected = set(written) - NOT_MODELLED.get(table, set())
    assert {column.source for column in contract.columns} == expected
    assert {*contract.source.key, contract.source.cursor} <= set(written)


def test_the_eight_modelled_tables_have_contracts() -> None:
    modelled = {
        "account",
        "patient",
        "lab_order",
        "result",
        "crm_case",
        "audit_event",
        "message_log",
        "critical_notification",
    }
    assert modelled <= set(contracts())
