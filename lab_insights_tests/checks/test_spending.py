"""Whether a day cost what is usual, and when the next one is predicted: by arithmetic alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from lab_insights.checks import deadlines
from lab_insights.checks.spending import DAYS, ENOUGH, FLOOR, Spending, Spent, unusual
from lab_insights.lake.commit import Lake
from lab_insights.lake.erase import erase_items
from lab_insights_tests.lake.world import fresh_tenant, make_lake

USUAL = Spent(1_000_000_000, 400.0, 3_000)
DAY = date(2026, 3, 20)
DUE = datetime(2026, 3, 21, 6, tzinfo=UTC)
NOTHING = Spent(0, 0.0, 0)


@pytest.fixture(scope="module")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")


def test_more_than_three_times_the_median_is_unusual_and_says_of_what() -> None:
    before = [USUAL] * ENOUGH
    assert unusual(Spent(3_000_000_000, 1_200.0, 9_000), before) == ""
    assert unusual(Spent(3_000_000_001, 400.0, 3_000), before) == "3,000,000,001 bytes where 1,000,000,000 are usual"
    assert unusual(Spent(0, 1_300.0, 9_001), before) == "1,300 cpu seconds where 400 are usual; 9,001 statements where 3,000 are usual"


def test_one_expensive_day_does_not_raise_what_is_usual() -> None:
    assert unusual(Spent(0, 0.0, 10_000), [*[USUAL] * ENOUGH, Spent(0, 0.0, 1_000_000)])


def test_little_is_never_told_nor_anything_while_too_few_days_are_known() -> None:
    assert unusual(FLOOR, [NOTHING] * DAYS) == ""
    assert unusual(Spent(10**12, 10.0**6, 10**6), [USUAL] * (ENOUGH - 1)) == ""


def test_a_tenants_days_are_kept_judged_by_those_before_and_erased_with_it(lake: Lake) -> None:
    spending, tenant = Spending(lake.state.aws, lake.state.prefix), fresh_tenant()
    for back in range(ENOUGH, 0, -1):
        assert spending.judge(tenant, DAY - timedelta(days=back), USUAL, "operations/deliveries").passed
    assert not spending.known(tenant, DAY)
    judged = spending.judge(tenant, DAY, Spent(1, 2.0, 30_000), "operations/deliveries")
    assert judged.message == "2026-03-20 cost 30,000 statements where 3,000 are usual"
    assert (judged.numbers["statements"], judged.of.day) == (30_000, None)
    assert spending.known(tenant, DAY)
    erase_items(lake, tenant)
    assert spending.before(tenant, DAY) == []


@pytest.mark.parametrize(
    ("now", "lags", "at", "late"),
    [
        (0.5, [2, 3, 1], 2.0, False),
        (3.0, [2, 3, 1], 3.25, False),
        (3.0, [2, 5, 1], 5.0, False),
        (3.0, [2, 7, 1], 7.0, True),
        (0.5, [9, 9, 9], 9.0, True),
        (5.9, [2, 3, 1], 6.15, True),
    ],
    ids=["as usual", "not there at the usual time", "as late as the latest", "which is too late", "a habit", "no time is left"],
)
def test_the_next_day_is_predicted_from_the_last_ones(now: float, lags: list[int], at: float, *, late: bool) -> None:
    midnight = datetime(2026, 3, 21, tzinfo=UTC)
    found = deadlines.predicted(DAY, DUE, [timedelta(hours=each) for each in lags], midnight + timedelta(hours=now))
    assert found is not None
    assert (found.at, found.late) == (midnight + timedelta(hours=at), late)
    assert f"{DAY} predicted {'late, ' if late else ''}" in str(found)


def test_nothing_is_predicted_of_a_tenant_without_a_past_and_lags_are_those_of_its_last_days(lake: Lake) -> None:
    known, tenant = deadlines.Deliveries(lake.state.aws, lake.state.prefix), fresh_tenant()
    assert deadlines.predicted(DAY, DUE, known.lags(tenant, DAY), DUE) is None
    for back in range(10):
        day = DAY - timedelta(days=back)
        known.record(tenant, day, datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, hours=1 + back), DUE)
    assert known.lags(tenant, DAY) == [timedelta(hours=1 + back) for back in range(deadlines.HABIT - 1, -1, -1)]
