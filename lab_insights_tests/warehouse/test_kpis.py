"""KPIs of ordered tests, against their recomputation in pandas and plain Python on four weeks of generated rows; and every KPI table's key."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta

import pandas as pd
import pytest

from lab_insights.lab.kpis import INPUTS, REPORTS
from lab_insights.lab.kpis.turnaround import turnaround
from lab_insights.warehouse.reports import table
from lab_insights_tests.warehouse import kpi_oracle as oracle
from lab_insights_tests.warehouse.weeks import DAY, Weeks

pytestmark = pytest.mark.xdist_group("kpi_weeks")


def test_every_ordered_test_has_its_state_and_the_minutes_of_each_stage(weeks: Weeks) -> None:
    names = ["STATE", "DEPARTMENT", "PRIORITY", "ACCOUNT_ID", "IS_ADD_ON", "IS_DUPLICATE", "START_DAY", "VERIFIED_DAY", "TARGET_MINUTES"]
    names += [f"{stage.upper()}_{what}" for stage in oracle.STAGES for what in ("MINUTES", "ISSUE")]
    held = {row[0]: row[1:] for row in weeks.rows(f"SELECT ORDER_ITEM_ID, {', '.join(names)} FROM REPORTS.ORDERED_TEST")}
    columns = ["state", "department", "priority", "account", "add_on", "duplicate", "start_day", "verified_day", "target"]
    columns += [f"{stage}_{what}" for stage in oracle.STAGES for what in ("minutes", "issue")]
    expected = {
        str(row["item"]): tuple(row[name] if pd.notna(row[name]) else None for name in columns) for row in weeks.tests.to_dict("records")
    }
    assert held == expected
    assert set(weeks.tests.state) == {"complete", "pending", "cancelled", "rejected", "without_result"}
    issues = {issue for stage in oracle.STAGES for issue in weeks.tests[f"{stage}_issue"].dropna()}
    assert issues == {"missing", "date_only", "negative", "over_a_year", "add_on"}
    assert weeks.tests.duplicate.any()


@pytest.mark.parametrize(
    ("dimension", "by"),
    [("all", []), ("test", ["test"]), ("priority", ["priority"]), ("test_priority", ["test", "priority"]), ("sample", ["sample"])],
)
def test_turnaround_by_day_and_dimension_comes_from_the_intervals(weeks: Weeks, dimension: str, by: list[str]) -> None:
    measures = "TESTS, OBSERVATIONS, MEDIAN_MINUTES, P90_MINUTES, WITH_TARGET, WITHIN_TARGET"
    found = weeks.rows(f"SELECT EVENT_DAY, STAGE, MEMBER, {measures} FROM REPORTS.TURNAROUND WHERE DIMENSION = '{dimension}'")
    held = {(row[0], row[1], row[2]): row[3:] for row in found}
    expected = {(key[0], key[1], " / ".join(key[2:]) or "all"): values for key, values in oracle.turnaround(weeks.tests, by).items()}
    assert held == expected
    if dimension == "sample":
        late = [values for key, values in held.items() if key[1:] == ("receive_to_verify", "ED STAT potassium") and values[4] > values[5]]
        assert late, "some were reported past their deadline"
    if dimension == "all":
        assert any(values[2] is None for values in expected.values()), "a day under ten observations"
        assert any(values[2] is not None for values in expected.values())


def test_percentiles_of_a_week_are_those_of_its_tests_and_not_of_its_days(weeks: Weeks) -> None:
    first = DAY - timedelta(days=6)
    in_week = weeks.tests[(weeks.tests.verified_day >= first) & (weeks.tests.verified_day <= DAY) & (weeks.tests.state == "complete")]
    values = [value for value in in_week.total_minutes if pd.notna(value)]
    period = f"CASE WHEN VERIFIED_DAY BETWEEN CAST('{first}' AS DATE) AND CAST('{DAY}' AS DATE) THEN 'now' END"
    sql = turnaround(table("ordered_test"), period, ("all",))
    [(median, within, targeted)] = weeks.rows(
        f"SELECT MEDIAN_MINUTES, (SELECT SUM(WITHIN_TARGET) FROM ({sql}) AS U), (SELECT SUM(WITH_TARGET) FROM ({sql}) AS V) "
        f"FROM ({sql}) AS T WHERE STAGE = 'total'"
    )
    assert median == oracle.percentile(values, 0.5)
    by_day = [values[2] for key, values in oracle.turnaround(in_week, []).items() if key[1] == "total" and values[2] is not None]
    assert median != pd.Series(by_day).median(), "the median of medians is another number"
    pairs = [pair for pair in zip(in_week.receive_to_verify_minutes, in_week.target, strict=True) if not any(map(pd.isna, pair))]
    assert (within, targeted) == (sum(value <= target for value, target in pairs), len(pairs))
    rates = [v[5] / v[4] for key, v in oracle.turnaround(in_week, []).items() if key[1] == "receive_to_verify" and v[4]]
    assert within / targeted != pytest.approx(sum(rates) / len(rates)), "the mean of rates is another number"


def test_volume_counts_what_was_not_cancelled_on_the_day_it_was_ordered(weeks: Weeks) -> None:
    found = weeks.rows(
        "SELECT EVENT_DAY, ACCOUNT_ID, PROVIDER_ID, TEST_CODE, TESTS, CANCELLED, REJECTED, ADD_ONS, BILLABLE, DUPLICATES FROM REPORTS.TEST_VOLUME"
    )
    frame = weeks.tests[weeks.tests.start_day.notna()]
    live = ~frame.state.isin(["cancelled", "rejected"])
    parts = {
        "tests": live,
        "cancelled": frame.state == "cancelled",
        "rejected": frame.state == "rejected",
        "add_ons": live & frame.add_on,
        "billable": live & frame.billable,
        "duplicates": frame.duplicate,
    }
    keys = ["start_day", "account", "provider", "test"]
    expected = frame.assign(**parts).groupby(keys)[list(parts)].sum()
    assert {row[:4]: row[4:] for row in found} == {
        key: tuple(map(int, row)) for key, row in zip(expected.index, expected.to_numpy(), strict=True)
    }


def test_outreach_compares_months_and_tells_who_lapses(weeks: Weeks) -> None:
    frame = weeks.tests[weeks.tests.start_day.notna() & ~weeks.tests.state.isin(["cancelled", "rejected"])]
    months = Counter((account, day.replace(day=1)) for account, day in zip(frame.account, frame.start_day, strict=True))
    february, march = date(2026, 2, 1), date(2026, 3, 1)
    held = {
        row[:2]: row[2:]
        for row in weeks.rows("SELECT ACCOUNT_ID, EVENT_DAY, TESTS, TESTS_BEFORE, TRAILING_3, STANDING FROM REPORTS.ACCOUNT_OUTREACH")
    }
    for account in {key[0] for key in months}:
        first, second = months[account, february], months[account, march]
        assert held[account, march] == (second, first, first + second, "active" if first else "new")


def test_months_are_compared_by_orderable_provider_and_account_and_by_business_day(weeks: Weeks) -> None:
    frame = weeks.tests[weeks.tests.start_day.notna() & ~weeks.tests.state.isin(["cancelled", "rejected"])]
    february, march, last = date(2026, 2, 1), date(2026, 3, 1), max(frame.start_day)
    found = weeks.rows("SELECT DIMENSION, MEMBER, EVENT_DAY, TESTS, TESTS_BEFORE, BUSINESS_DAYS FROM REPORTS.VOLUME_BY_MONTH")
    held = {row[:3]: row[3:] for row in found}
    days = {month: oracle.business_days(month, last) for month in (february, march)}
    assert days == {february: 20, march: held["all", "all", march][2]}
    for dimension in ("test", "provider", "account"):
        months = Counter((member, day.replace(day=1)) for member, day in zip(frame[dimension], frame.start_day, strict=True))
        expected = {}
        for member in {member for member, _ in months}:
            first, second = months[member, february], months[member, march]
            expected |= {(dimension, member, february): (first, 0, 20)} if first else {}
            expected[dimension, member, march] = (second, first, days[march])
        assert {key: row for key, row in held.items() if key[0] == dimension} == expected
    [(tests, per_day)] = weeks.rows(
        "SELECT TESTS, TESTS_PER_BUSINESS_DAY FROM REPORTS.ACCOUNT_OUTREACH WHERE EVENT_DAY = '2026-03-01' AND ACCOUNT_ID = '1'"
    )
    assert per_day == round(tests / days[march], 2)


def test_pending_and_overdue_are_as_of_the_end_of_each_day_in_the_zone(weeks: Weeks) -> None:
    found = weeks.rows(
        "SELECT EVENT_DAY, TEST_CODE, PRIORITY, PENDING, NOT_RECEIVED, OVERDUE, LEAST_REMAINING_MINUTES FROM REPORTS.PENDING_TEST"
    )
    expected = oracle.pending(weeks.tests)
    assert {row[:3]: row[3:] for row in found} == expected
    assert any(overdue for _, _, overdue, _ in expected.values())
    assert any(absent for _, absent, _, _ in expected.values())


def test_a_day_of_23_hours_and_its_neighbours_hold_each_test_once(weeks: Weeks) -> None:
    """The clocks of the zone change on 8 March 2026, at 07:00 in UTC."""
    [(total,)] = weeks.rows("SELECT COUNT(*) FROM REPORTS.ORDERED_TEST WHERE START_DAY IS NOT NULL")
    [(by_day,)] = weeks.rows("SELECT SUM(TESTS + CANCELLED + REJECTED) FROM REPORTS.TEST_VOLUME")
    assert total == by_day
    assert oracle.end_of(date(2026, 3, 8)) - oracle.end_of(date(2026, 3, 7)) == timedelta(hours=23)
    assert oracle.end_of(date(2026, 3, 8)) == datetime(2026, 3, 9, 4)


def test_every_kpi_table_has_rows_of_its_key_once(weeks: Weeks) -> None:
    for report in REPORTS:
        [(rows, keys)] = weeks.rows(
            f"SELECT COUNT(*), (SELECT COUNT(*) FROM (SELECT DISTINCT {', '.join(report.key)} FROM {table(report.name)}) AS K) FROM {table(report.name)}"
        )
        assert rows == keys > 0, report.name


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
