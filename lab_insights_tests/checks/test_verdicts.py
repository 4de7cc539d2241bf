"""Verdicts, counts and deadlines by themselves: no sources, no warehouse, no Dagster run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from lab_insights.assets import checks as asset_checks
from lab_insights.assets.deliveries import _fresh
from lab_insights.aws import Aws
from lab_insights.checks import deadlines, delivery, rows
from lab_insights.checks.verdicts import NO_CROSS_TENANT_ROW, SCHEMA_UNCHANGED, UNIQUE_GRAIN, Gate, HeldBack, Judgement, Subject, Verdicts
from lab_insights.clock import Clock
from lab_insights.errors import WarehouseError
from lab_insights.lake.commit import Draft, Facts, Lake, commit
from lab_insights.lake.erase import erase_items
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant

AURORA, BIRCHWOOD = TenantId("aurora_clinic"), TenantId("birchwood")
DAY, NEXT = date(2026, 3, 2), date(2026, 3, 3)


@dataclass
class Rows:
    """The rows of a table, as something that can be committed."""

    table: pa.Table

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield from self.table.to_batches()

    def facts(self) -> Facts:
        return Facts()


@pytest.fixture
def lake(aws_endpoint: str, deployed_prefix: str, tmp_path: Path) -> Lake:
    aws, clock = Aws(endpoint_url=aws_endpoint), Clock(tmp_path / "clock")
    clock.set(datetime(2026, 3, 3, 12, tzinfo=UTC))
    return Lake(Storage(aws, deployed_prefix), State(aws, deployed_prefix), clock)


@pytest.fixture
def verdicts(lake: Lake) -> Verdicts:
    return Verdicts(lake.state.aws, lake.state.prefix)


def _put(lake: Lake, layer: Layer, day: date, key: tuple[str, ...] = (), **columns: list[Any]) -> Manifest:
    partition = Partition(layer, AURORA, "sample", day)
    manifest, _ = commit(lake, lake.state.head(partition), Draft(partition, "delta", key=key), Rows(pa.table(columns)))
    return manifest


def _told(found: list[Judgement]) -> dict[str, tuple[str, dict[str, int | str]]]:
    return {each.of.check: (each.message, dict(each.numbers)) for each in found}


def test_rows_whose_keys_differ_and_that_are_the_tenants_own_pass(lake: Lake) -> None:
    manifest = _put(lake, "curated", DAY, ("a", "b"), a=[1, 1, 2], b=["x", "y", "x"], tenant_id=[AURORA] * 3)
    assert _told(rows.derived(lake, "curated/sample", manifest)) == {
        UNIQUE_GRAIN: ("", {"rows": 3, "distinct_keys": 3}),
        NO_CROSS_TENANT_ROW: ("", {"rows": 3, "foreign_rows": 0}),
    }


def test_doubled_keys_and_rows_that_are_not_marked_as_the_tenants_are_counted(lake: Lake) -> None:
    manifest = _put(
        lake, "curated", DAY, ("a", "b"), a=[1, 1, None, None], b=["x", "x", "z", "z"], tenant_id=[AURORA, "other", None, AURORA]
    )
    assert _told(rows.derived(lake, "curated/sample", manifest)) == {
        UNIQUE_GRAIN: ("4 rows have 2 keys", {"rows": 4, "distinct_keys": 2}),
        NO_CROSS_TENANT_ROW: ("2 of 4 rows are not marked as this tenant's", {"rows": 4, "foreign_rows": 2}),
    }


def test_an_empty_day_passes(lake: Lake) -> None:
    manifest = _put(lake, "curated", DAY, ("a",), a=[], tenant_id=[])
    assert all(each.passed for each in rows.derived(lake, "curated/sample", manifest))


def test_a_pooled_table_is_counted_by_its_discriminator_and_fails_when_that_was_not_landed(lake: Lake) -> None:
    manifest = _put(lake, "raw", DAY, id=[1, 2, 3], customer=[12, 12, 13])
    foreign, absent = (_told(rows.landed(lake, "raw/x/sample", [manifest], (name, "12"))) for name in ("customer", "gone"))
    assert foreign[NO_CROSS_TENANT_ROW] == ("1 of 3 rows are not marked as this tenant's", {"rows": 3, "foreign_rows": 1})
    assert absent[NO_CROSS_TENANT_ROW][0] == "the column that says whose each row is was not landed"
    assert NO_CROSS_TENANT_ROW not in _told(rows.landed(lake, "raw/x/sample", [manifest], None))


def test_a_schema_is_compared_with_that_of_the_day_before(lake: Lake) -> None:
    first = _put(lake, "raw", DAY, id=[1], note=["x"], size=[1])
    second = _put(lake, "raw", NEXT, id=[2], size=[1.5], colour=["red"])
    [alone], [changed] = (rows.landed(lake, "raw/x/sample", [each], None) for each in (first, second))
    assert alone.passed
    assert changed.of == Subject(SCHEMA_UNCHANGED, "raw/x/sample", AURORA, "sample")
    assert changed.message == "on 2026-03-03 added colour; dropped note; changed size"
    assert changed.numbers == {"added": 1, "dropped": 1, "changed": 1, "columns": 3, "day": "2026-03-03", "before": "2026-03-02"}


def test_a_check_stays_failed_while_it_fails_for_any_tenant(verdicts: Verdicts) -> None:
    asset = "curated/patient"
    key = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), UNIQUE_GRAIN)
    first, second = (Subject(UNIQUE_GRAIN, asset, tenant, "patient", DAY) for tenant in (AURORA, BIRCHWOOD))
    verdicts.settle([Judgement(first, "2 rows have 1 keys", {"rows": 2}), Judgement(second)])
    standing = verdicts.settle([Judgement(second, numbers={"rows": 7})])
    assert [each.of for each in standing] == [first]
    told = asset_checks.evaluated(key, standing, [Judgement(second, numbers={"rows": 7})])
    assert (told["passed"], told["metadata"]["failing_tenants"], told["metadata"]["rows"]) == (False, AURORA, 7)
    assert told["metadata"]["failures"].value == "- **aurora_clinic** patient 2026-03-02: 2 rows have 1 keys"
    assert verdicts.settle([Judgement(first)]) == []
    assert verdicts.standing(UNIQUE_GRAIN) == []


def test_a_judgement_of_a_whole_table_settles_its_days_and_one_of_a_day_that_day_alone(verdicts: Verdicts) -> None:
    days = [Judgement(Subject(UNIQUE_GRAIN, "curated/a", AURORA, "a", day), "2 rows have 1 keys") for day in (DAY, NEXT)]
    other = Judgement(Subject(UNIQUE_GRAIN, "curated/ab", AURORA, "a", DAY), "2 rows have 1 keys")
    verdicts.settle([*days, other])
    assert verdicts.settle([Judgement(days[0].of)]) == days[1:]
    assert verdicts.settle([Judgement(Subject(UNIQUE_GRAIN, "curated/a", AURORA, "a"))]) == []
    assert verdicts.standing(UNIQUE_GRAIN) == [other]


def test_the_gate_refuses_the_day_of_the_tenant_that_fails_and_nothing_else(verdicts: Verdicts) -> None:
    verdicts.settle([Judgement(Subject(UNIQUE_GRAIN, "curated/a", AURORA, "a", DAY), "2 rows have 1 keys")])
    gate = Gate.of(verdicts, {"curated"})
    with pytest.raises(HeldBack, match=r"aurora_clinic.*2026-03-02.*unique_grain of curated/a: 2 rows have 1 keys.*data-checks\.md"):
        gate.pass_(AURORA, DAY)
    gate.pass_(AURORA, NEXT)
    gate.pass_(BIRCHWOOD, DAY)
    Gate.of(verdicts, {"transformed"}).pass_(AURORA, DAY)


def test_the_verdicts_of_a_tenant_are_erased_with_it(lake: Lake, verdicts: Verdicts) -> None:
    kept = Judgement(Subject(UNIQUE_GRAIN, "curated/a", BIRCHWOOD, "a", DAY), "2 rows have 1 keys")
    verdicts.settle([Judgement(Subject(UNIQUE_GRAIN, "curated/a", AURORA, "a", DAY), "2 rows have 1 keys"), kept])
    assert erase_items(lake, AURORA) == 1
    assert verdicts.standing(UNIQUE_GRAIN) == [kept]


def _tenant(**more: Any) -> Tenant:
    return Tenant(id=AURORA, key="12", **more)


def test_a_day_is_due_at_the_tenants_own_time_of_the_day_after() -> None:
    chicago = _tenant(zone="America/Chicago", deliver_by=time(6))
    assert deadlines.due_at(chicago, date(2026, 7, 1)) == datetime(2026, 7, 2, 11, tzinfo=UTC)
    assert deadlines.due_at(chicago, date(2026, 1, 1)) == datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert deadlines.due_day(chicago, datetime(2026, 7, 2, 10, 59, tzinfo=UTC)) == date(2026, 6, 30)
    assert deadlines.due_day(chicago, datetime(2026, 7, 2, 11, tzinfo=UTC)) == date(2026, 7, 1)


def test_the_share_of_a_month_is_counted_by_what_was_delivered_when(lake: Lake) -> None:
    known, due = deadlines.Deliveries(lake.state.aws, lake.state.prefix), datetime(2026, 3, 3, 6, tzinfo=UTC)
    known.record(AURORA, DAY, due.replace(hour=5), due)
    known.record(AURORA, NEXT, due.replace(hour=7), due)
    known.record(AURORA, date(2026, 4, 1), due, due)
    known.record(AURORA, date(2025, 4, 30), due, due)
    assert known.by_month(AURORA, DAY) == {"2025-04": (1, 1), "2026-03": (1, 1)}
    assert known.by_month(AURORA, date(2026, 4, 1)) == {"2026-03": (1, 2), "2026-04": (1, 1)}, "twelve months"
    assert known.by_month(AURORA, date(2025, 12, 31)) == {"2025-04": (1, 1)}
    assert known.at(AURORA, NEXT) == due.replace(hour=7)
    known.record(AURORA, date(2026, 4, 2), None, due)
    assert known.at(AURORA, date(2026, 4, 2)) is None
    told = _fresh([deadlines.Delivery(AURORA, date(2026, 4, 2), due, due)], known).metadata["met_by_month"].value
    assert str(told).splitlines() == ["| tenant | 2026-04 | 2026-03 |", "|---|---|---|", f"| **{AURORA}** | 50% of 2 | 50% of 2 |"]
    late = deadlines.Delivery(AURORA, DAY, due, due.replace(hour=8), missing=("raw/a", "raw/b", "raw/c", "raw/d"))
    assert (
        str(late)
        == "aurora_clinic: 2026-03-02 was due 2026-03-03 06:00 UTC, 2.0 h ago; 4 tables are missing: raw/a, raw/b, raw/c and 1 more"
    )


@dataclass
class Arrivals:
    """Days of one tenant, each in the lake and the warehouse from an instant on, or never; `looks` are what was looked at."""

    there: dict[date, datetime]
    looks: list[date] = field(default_factory=list)

    def in_the_lake(self, lake: Lake, _tenant: Tenant, _sources: Any, day: date) -> tuple[tuple[str, ...], list[date]]:
        self.looks.append(day)
        return ((), [day]) if day in self.there and self.there[day] <= lake.clock.now() else (("raw/x",), [])

    def in_the_warehouse(self, _warehouse: Any, _tenant: Tenant, batches: list[date], _now: datetime) -> tuple[tuple[str, ...], datetime]:
        return (), self.there[batches[0]]


def test_a_day_that_comes_after_the_next_one_is_due_or_never_counts_as_missed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant, days = Tenant(id=AURORA, key="1"), [DAY + timedelta(days=number) for number in range(10)]
    due = {day: deadlines.due_at(tenant, day) for day in days}
    late, never = days[2:7], days[7]
    came = Arrivals({day: due[day] + timedelta(hours=30 if day in late else -1) for day in days if day != never})
    monkeypatch.setattr(delivery, "_in_the_lake", came.in_the_lake)
    monkeypatch.setattr(delivery, "_in_the_warehouse", came.in_the_warehouse)
    for hours in range(0, 24 * 10, 3):
        lake.clock.set(datetime(2026, 3, 3, 6, tzinfo=UTC) + timedelta(hours=hours))
        looked = delivery.deliveries(lake, [tenant], {}, _nobody, DAY)
    known = deadlines.Deliveries(lake.state.aws, lake.state.prefix)
    assert known.by_month(AURORA, days[-1]) == {"2026-03": (4, 10)}
    assert [known.at(AURORA, day) for day in days] == [came.there.get(day) for day in days], "as late as they came, whoever looked when"
    told = _fresh(looked, known)
    assert told.passed, "the newest day is there"
    assert told.metadata["older_days_missing"].value == f"{AURORA} {never}"
    assert told.metadata["share_met_this_month"].value == 0.4
    came.looks.clear()
    delivery.deliveries(lake, [tenant], {}, _nobody, DAY)
    assert came.looks == [never], "what was delivered is not asked for again"
    lake.clock.set(due[days[-1]] + delivery.LOOK_BACK)
    assert never not in {each.day for each in delivery.deliveries(lake, [tenant], {}, _nobody, DAY)}, "it is history"


def _nobody() -> Any:
    raise AssertionError("no session is needed")


def test_a_warehouse_that_does_not_answer_makes_late_and_silences_nobody(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_lake, wants_it, broken = (Tenant(id=TenantId(name), key="1") for name in ("elm_street", "dover_lab", "fir_valley"))
    late, asked = Tenant(id=BIRCHWOOD, key="1"), []

    def look(_lake: Lake, tenant: Tenant, _sources: Any, day: date) -> tuple[tuple[str, ...], list[date]]:
        if tenant is broken:
            raise OSError("a row")
        return (("raw/x",), []) if tenant is late else ((), [day])

    def down() -> Any:
        asked.append(1)
        raise WarehouseError("Snowflake does not answer.", remedy="wait")

    monkeypatch.setattr(delivery, "_in_the_lake", look)
    found = delivery.deliveries(lake, [in_the_lake, broken, wants_it, late], {}, down, date(2026, 1, 1))
    missing = {each.tenant: each.missing for each in found}
    assert missing[BIRCHWOOD] == ("raw/x",)
    assert missing["elm_street"] == missing["dover_lab"] == ("its database (Snowflake does not answer.)",)
    assert missing["fir_valley"] == (f"what is known of it (OSError in look (test_verdicts.py:{look.__code__.co_firstlineno + 2}))",)
    assert asked == [1], "it is not tried again for each tenant"
    assert len([each for each in delivery.judged(found, [], "operations/deliveries") if not each.passed]) == 4


def test_every_late_tenant_is_named_however_many_they_are(lake: Lake) -> None:
    due, known = datetime(2026, 3, 3, 6, tzinfo=UTC), deadlines.Deliveries(lake.state.aws, lake.state.prefix)
    late = [deadlines.Delivery(f"t{number:03}", DAY, due, due, missing=("raw/x",)) for number in range(250)]
    told = _fresh(late, known).metadata
    assert str(told["late_tenants"].value).split(", ") == [each.tenant for each in late]
    assert str(told["deadlines"].value).count("\n| **t") == 250
