"""The modelled contracts read the laboratory's tables: no column is invented, and none is forgotten."""

from __future__ import annotations

import pytest

from lab_insights.lab.contracts import contracts
from lab_insights_tests.local.laboratory.days import day, scene

SLOTS = {f"{kind}_{number}" for kind in ("text", "numeric", "date") for number in range(1, 11)}
# Slot columns are values of user-defined fields; the laboratory's fourth day adds a column.
NOT_MODELLED = {"message": {"body"}, "contact": SLOTS, "task": SLOTS}
ADDED = {"opportunity": {"forecast_category"}}


WHOLE = sorted(name for name, each in contracts().items() if each.source and each.source.whole and each.source.rows == "newest")


@pytest.mark.parametrize("name", WHOLE)
def test_a_contract_covers_its_source_table(name: str) -> None:
    contract = contracts()[name]
    table = contract.source.table
    written = next(change.values for change in day(scene(), 0) if change.table == table)
    expected = set(written) - NOT_MODELLED.get(table, set()) | ADDED.get(table, set())
    # What a type can not hold lands as text in a column beside it.
    assert {column.source.removesuffix("__text") for column in contract.columns if column.source} == expected
    assert {*contract.source.key, *filter(None, [contract.source.cursor])} <= set(written)


def test_every_table_of_the_curated_model_that_one_source_table_holds_has_a_contract() -> None:
    modelled = """
        account account_access_node record_host_code provider provider_account patient patient_identifier encounter orderable test_component
        lab_order order_item specimen result result_version critical_notification crm_case case_status_history crm_task crm_memo activity_link
        crm_user opportunity opportunity_stage_history campaign audit_event message_log medication_order medication_dispense genomic_result
        udf_definition udf_value
    """
    assert set(modelled.split()) <= set(contracts())
