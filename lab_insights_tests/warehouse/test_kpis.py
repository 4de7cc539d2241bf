"""KPIs against their recomputation in pandas and plain Python, every column of every table, and the traps of percentiles and rates."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from lab_insights.checks import grains
from lab_insights.lab.kpis import INPUTS, REPORTS, Report
from lab_insights.lab.kpis.insight import INSIGHT
from lab_insights.lab.kpis.model import INSTANT, TIME_ZONE
from lab_insights.lab.kpis.quality import MEASURES, QUALITY
from lab_insights.lab.kpis.turnaround import turnaround
from lab_insights.warehouse.reports import table
from lab_insights_tests.warehouse.kpi_tables import ZONE
from lab_insights_tests.warehouse.oracle import ORACLES, counted, instants
from lab_insights_tests.warehouse.weeks import DAY, Weeks

pytestmark = pytest.mark.xdist_group("kpi_weeks")
COMPARED = [report for report in REPORTS if report is not INSIGHT]


def alike(one: Any, other: Any) -> bool:
    """Whether values are the same; numbers as far as two decimals say."""
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=0, abs_tol=0.0051) if isinstance(one, int | float) else bool(one == other)


def test_every_kpi_has_an_oracle() -> None:
    assert ORACLES.keys() == {report.name for report in COMPARED}, "`test_patient_insight` has the one of persons"


@pytest.mark.parametrize("report", COMPARED, ids=lambda report: report.name)
def test_every_column_of_a_kpi_is_what_its_oracle_says(weeks: Weeks, report: Report) -> None:
    found, expected = weeks.table(report), ORACLES[report.name](weeks.made, weeks.tests)
    assert found.keys() == expected.keys()
    columns = set(report.columns) - {*report.key, TIME_ZONE}
    assert {name for row in expected.values() for name in row} == columns
    different = {
        (key, name): (found[key][name], row[name])
        for key, row in expected.items()
        for name in columns
        if not alike(found[key][name], row[name])
    }
    assert different == {}
    same = [name for name in columns if len({row[name] for row in expected.values()}) < 2]
    assert same == [], "a column that always says the same is not tested"


def test_a_table_that_has_instants_says_in_every_row_in_which_zone_its_tenant_reads_them_and_no_other_does(weeks: Weeks) -> None:
    zoned = [report for report in REPORTS if TIME_ZONE in report.columns]
    assert zoned == [report for report in REPORTS if any(column.type == INSTANT for column in report.columns.values())]
    for report in zoned:
        assert weeks.rows(f"SELECT DISTINCT {TIME_ZONE} FROM {table(report.name)}") == [(ZONE,)]


def test_every_state_reason_and_measure_is_among_the_rows(weeks: Weeks) -> None:
    tests = weeks.tests
    assert set(tests.state) == {"complete", "pending", "cancelled", "rejected", "without_result"}
    issues = {issue for stage in counted.STAGES for issue in tests[f"{stage}_issue"].dropna()}
    assert issues == {"missing", "date_only", "negative", "over_a_year", "add_on"}
    assert set(tests["shift"]) == {"day", "evening", "night", "unknown"}
    standings = {row["standing"] for row in ORACLES["account_outreach"](weeks.made, tests).values()}
    assert standings == {"new", "active", "at_risk", "lapsed"}
    measures = ORACLES[QUALITY.name](weeks.made, tests)
    assert {name for _, name in measures} == MEASURES.keys()
    failing = {name for (_, name), row in measures.items() if row["failed"]}
    passing = {name for (_, name), row in measures.items() if row["failed"] < row["checked"]}
    assert failing == passing == MEASURES.keys()
    late = {
        key
        for key, row in ORACLES["turnaround"](weeks.made, tests).items()
        if key[2] == "sample" and row["with_target"] > row["within_target"]
    }
    assert {key[3] for key in late} >= {"ED STAT potassium"}, "some were reported past their deadline"
    assert {key[3] for key in ORACLES["specimen_rejection"](weeks.made, tests)} >= {"accepted", "Hemolyzed", "ODD", "no reason given"}


def test_percentiles_of_a_week_are_those_of_its_tests_and_not_of_its_days(weeks: Weeks) -> None:
    first = DAY - timedelta(days=6)
    days = weeks.tests.verified_day.apply(lambda day: day is not None and first <= day <= DAY)
    in_week = weeks.tests[days & (weeks.tests.state == "complete")]
    values = [value for value in in_week.total_minutes if value is not None]
    period = f"CASE WHEN VERIFIED_DAY BETWEEN CAST('{first}' AS DATE) AND CAST('{DAY}' AS DATE) THEN 'now' END"
    sql = turnaround(table("ordered_test"), period, ("all",))
    [(median, within, targeted)] = weeks.rows(
        f"SELECT MEDIAN_MINUTES, (SELECT SUM(WITHIN_TARGET) FROM ({sql}) AS U), (SELECT SUM(WITH_TARGET) FROM ({sql}) AS V) "
        f"FROM ({sql}) AS T WHERE STAGE = 'total'"
    )
    by_day = {key: row for key, row in counted.turnaround(weeks.made, in_week).items() if key[2] == "all"}
    assert median == instants.percentile(values, 0.5)
    medians = [row["median_minutes"] for key, row in by_day.items() if key[1] == "total" and row["median_minutes"] is not None]
    assert median != pd.Series(medians).median(), "the median of medians is another number"
    judged = [within for within in in_week.is_within_target if within is not None]
    assert (within, targeted) == (sum(judged), len(judged))
    rates = [row["within_target"] / row["with_target"] for row in by_day.values() if row["with_target"]]
    assert within / targeted != pytest.approx(sum(rates) / len(rates)), "the mean of rates is another number"


def test_a_day_of_23_hours_and_its_neighbours_hold_each_test_once(weeks: Weeks) -> None:
    """The clocks of the zone change on 8 March 2026, at 07:00 in UTC."""
    [(total,)] = weeks.rows("SELECT COUNT(*) FROM REPORTS.ORDERED_TEST WHERE START_DAY IS NOT NULL")
    [(by_day,)] = weeks.rows("SELECT SUM(TESTS + CANCELLED + REJECTED) FROM REPORTS.TEST_VOLUME")
    assert total == by_day
    assert instants.end_of(date(2026, 3, 8)) - instants.end_of(date(2026, 3, 7)) == timedelta(hours=23)
    assert instants.end_of(date(2026, 3, 8)) == datetime(2026, 3, 9, 4)


def test_every_kpi_table_has_rows_of_its_key_once(weeks: Weeks) -> None:
    assert [made.table for made in weeks.receipts] == [report.name for report in REPORTS]
    assert [made for made in weeks.receipts if made.rows != made.keys or not made.rows] == []
    assert [each for each in grains.refreshed(weeks.tenant, weeks.receipts, str) if not each.passed] == []


def test_no_kpi_reads_as_landed_what_a_contract_describes() -> None:
    from lab_insights.lab.contracts import contracts
    from lab_insights.lab.declared import by_raw_table
    from lab_insights.lab.transform import META_COLUMNS
    from lab_insights.lab.wide import WIDE_TABLES

    landed = {each.table for each in INPUTS.values() if "." in each.table}
    assert not landed & set(by_raw_table())
    modelled = {each.table: each for each in INPUTS.values() if "." not in each.table}
    columns = {name: {column.name for column in contract.columns} for name, contract in contracts().items()}
    columns |= {wide.table: {field.name for field in wide.fields} | {*META_COLUMNS} for wide in WIDE_TABLES}
    assert {name: sorted(set(each.columns) - columns[name]) for name, each in modelled.items() if set(each.columns) - columns[name]} == {}
