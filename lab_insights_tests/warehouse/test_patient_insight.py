"""Personal insights equal their oracle, follow merges and links, and lie where only those read who may see persons."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.governance.classes import PHI
from lab_insights.lab.kpis import INPUTS, REPORTS
from lab_insights.lab.kpis.insight import INSIGHT
from lab_insights.lab.kpis.model import TIME_ZONE
from lab_insights.lab.kpis.monitoring import monitoring
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import tenant_id
from lab_insights.warehouse import masking, roles
from lab_insights.warehouse.load import load
from lab_insights.warehouse.provision import provision
from lab_insights.warehouse.reports import refresh, table
from lab_insights.warehouse.session import Login, Session, connect
from lab_insights_tests.warehouse.insight_oracle import half_a_year, insights
from lab_insights_tests.warehouse.kpi_tables import ZONE, Tables
from lab_insights_tests.warehouse.lake import TestLake
from lab_insights_tests.warehouse.test_masking import recorded

TENANT = tenant_id("insights")


@pytest.fixture(scope="module")
def made() -> Tables:
    return half_a_year()


@pytest.fixture(scope="module")
def session(account: SnowflakeSection, aws: Aws, storage: Storage, made: Tables) -> Iterator[Session]:
    with connect(account, aws, run_id="test") as session:
        provision(session, storage, TENANT)
        load(session, storage, TENANT, made.write(TestLake(storage, TENANT, State(storage.aws, storage.prefix)), 1), run_id="test")
        refresh(session, TENANT, ZONE, date(2026, 6, 1))
        yield session
        session.execute('DROP DATABASE "LAB_INSIGHTS_INSIGHTS"')


def rows(session: Session) -> dict[tuple[str, str, str], dict[str, Any]]:
    names = list(INSIGHT.columns)
    found = session.execute(f"SELECT {', '.join(name.upper() for name in names)} FROM {table(INSIGHT.name)}")
    its = [{name: float(value) if isinstance(value, Decimal) else value for name, value in zip(names, row, strict=True)} for row in found]
    return {(row["patient_id"], row["analyte"], row["drug"]): row for row in its}


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
    return bool(one == other) or (one is None and other is None)


def test_every_insight_is_what_the_oracle_says(session: Session, made: Tables) -> None:
    found, expected = rows(session), insights(made)
    assert found.keys() == expected.keys()
    assert {*INSIGHT.key, TIME_ZONE, *(name for its in expected.values() for name in its)} == set(INSIGHT.columns)
    different = {
        key: (name, found[key][name], value)
        for key, its in expected.items()
        for name, value in its.items()
        if not alike(found[key][name], value)
    }
    assert different == {}
    assert {row[TIME_ZONE] for row in found.values()} == {ZONE}
    assert [
        name for name in INSIGHT.columns if name not in {*INSIGHT.key, TIME_ZONE} and len({row[name] for row in expected.values()}) < 2
    ] == ["as_of"]
    # Each thing that is looked for is there, and so is its opposite.
    for name in ("is_changed", "is_follow_up_overdue", "is_monitoring_overdue"):
        assert {row[name] for row in expected.values()} >= {True, False}, name
    for name, values in {"trend": {"rising", "falling", "steady", None}, "range_position": {"low", "within", "high", None}}.items():
        assert {row[name] for row in expected.values()} == values
    assert any(row["duplicates"] for row in expected.values())
    assert any(row["results"] == 0 for row in expected.values()), "a drug whose analyte was never measured"


def test_who_was_merged_or_told_of_by_messages_has_one_row_of_an_analyte(session: Session) -> None:
    people = Counter(patient for patient, _, _ in rows(session))
    assert people["11"]
    assert not {"10", "messages:M10"} & people.keys(), "10 was merged into 11, and messages tell of 10"
    assert people["messages:X"]
    drugs = {patient for patient, _, drug in rows(session) if drug != "none"}
    assert not drugs & {"8", "9"}, "a number that two have says nobody"


def test_a_second_refresh_changes_nothing(session: Session) -> None:
    before = rows(session)
    refresh(session, TENANT, ZONE, date(2026, 6, 1))
    assert rows(session) == before


def test_rows_of_persons_lie_where_readers_and_analysts_do_not_read(session: Session) -> None:
    assert session.execute("SELECT * FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'OPS' AND STARTSWITH(TABLE_NAME, 'KPI')") == []
    found = session.execute(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE CONTAINS(TABLE_NAME, 'INSIGHT') OR CONTAINS(TABLE_NAME, 'PERSONAL')"
    )
    assert ("TRANSFORMED", "PATIENT_INSIGHT") in found
    assert {schema for schema, _ in found} == {"TRANSFORMED"}, "and neither do they read the views that define it"
    plan = list(map(str, roles.permissions(TENANT, "daily", Login())))
    readers = {
        who for who in ("READER", "ANALYST") for text in plan if '"TRANSFORMED"' in text and text.endswith(f'"{roles.role(TENANT, who)}"')
    }  # type: ignore[arg-type]
    assert readers == set()
    assert any('"TRANSFORMED"' in text and roles.role(TENANT, "OWNER") in text for text in plan)


def test_every_column_of_a_person_is_masked_in_the_statement_that_makes_it_by_a_policy_that_is_there(session: Session) -> None:
    [create] = recorded(session, 'TABLE "TRANSFORMED"."PATIENT_INSIGHT"')[-1:]
    made = dict(re.findall(r'"([A-Z0-9_]+)" [A-Z_]+(?:\([\d,]+\))? WITH MASKING POLICY "OPS"\."(\w+)"', create))
    wanted = {name.upper(): column for name, column in INSIGHT.columns.items() if column.phi in PHI}
    assert made.keys() == wanted.keys()
    assert (made["PATIENT_ID"], made["LAST_VALUE"], made["LAST_AT"]) == (
        "MASK_DIRECT_VARCHAR",
        "MASK_CLINICAL_NUMBER_9",
        "MASK_QUASI_TIMESTAMP_NTZ",
    )
    there = "\n".join(map(str, masking.policies(TENANT)))
    assert all(f'"{policy}" AS' in there for policy in made.values())


@pytest.mark.parametrize("name", ["ordered_test", "critical_result"])
def test_numbers_that_messages_make_ids_of_are_masked_in_the_facts_that_readers_have(session: Session, name: str) -> None:
    [create] = recorded(session, f'TABLE "REPORTS"."{name.upper()}"')[-1:]
    masked = set(re.findall(r'"([A-Z0-9_]+)" VARCHAR WITH MASKING POLICY "OPS"\."MASK_DIRECT_VARCHAR"', create))
    assert masked == ({"ORDER_ITEM_ID", "LAB_ORDER_ID"} if name == "ordered_test" else {"RESULT_ID"})


def test_every_column_of_a_person_has_a_class_and_no_other_kpi_reads_what_is_personal() -> None:
    open_ = {name for name, column in INSIGHT.columns.items() if column.phi not in PHI}
    assert open_ == {"as_of", "change_limit_percent", TIME_ZONE}
    personal = {name for name in INPUTS if name.startswith("personal_")}
    assert set(INSIGHT.inputs) == personal
    assert not [report.name for report in REPORTS if not report.personal and personal.intersection(report.inputs)]
    assert not [report.name for report in REPORTS if INSIGHT.name in report.after]


def test_everything_on_the_list_has_a_source_and_every_drug_an_analyte_of_the_list() -> None:
    listed = monitoring()
    analytes = [each.loinc for each in listed.analytes]
    assert len(set(analytes)) == len(analytes)
    assert {each.loinc for each in listed.drugs} <= set(analytes)
    assert all(len(each.source) > 10 for each in (*listed.analytes, *listed.drugs))
    [potassium] = [each for each in listed.analytes if each.name == "Potassium"]
    assert potassium.change_limit == 14.3
