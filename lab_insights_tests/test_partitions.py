"""The grid of tenants × days: its window, its keys, and what it refuses."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from lab_insights.config import Config
from lab_insights.errors import InvalidTenant, LabInsightsError
from lab_insights.names import tenant_id
from lab_insights.partitions import MOST, TENANTS, partition_key, refuse_too_many, selected, tenant_days


def today() -> date:
    """Return the UTC day; asked each time, since a run of all tests may see midnight."""
    return datetime.now(UTC).date()


def _config(start: date, window: int = 400) -> Config:
    return Config.model_validate(
        {
            "lake": {"prefix": "test"},
            "snowflake": {"account": "test", "credentials": "env:NONE"},
            "sources": {},
            "partitions": {"start": start, "window_days": window},
        }
    )


def _days(config: Config, simulated: date | None = None) -> list[str]:
    return list(tenant_days(config, simulated).get_partitions_def_for_dimension("date").get_partition_keys())


def test_today_exists_so_that_frequent_tenants_can_be_loaded_before_it_ends() -> None:
    assert _days(_config(today() - timedelta(days=2))) == [str(today() - timedelta(days=back)) for back in (2, 1, 0)]


def test_the_window_rolls_so_that_the_grid_does_not_grow_for_ever() -> None:
    days = _days(_config(date(2020, 1, 1), window=30))
    assert len(days) == 30
    assert days[-1] == str(today())


@pytest.mark.parametrize("ahead", [0, 1, 10])
def test_a_simulated_clock_that_runs_ahead_has_its_days(ahead: int) -> None:
    simulated = today() + timedelta(days=ahead)
    assert _days(_config(today() - timedelta(days=1)), simulated)[-1] == str(simulated)


def test_a_key_is_the_day_then_the_tenant() -> None:
    assert partition_key(date(2026, 3, 2), tenant_id("aurora_clinic")) == "2026-03-02|aurora_clinic"


def test_the_days_of_each_tenant_are_in_order_whatever_the_order_of_the_keys() -> None:
    keys = ["2026-03-03|birchwood", "2026-03-02|birchwood", "2026-03-03|aurora_clinic"]
    assert selected(keys) == {"birchwood": [date(2026, 3, 2), date(2026, 3, 3)], "aurora_clinic": [date(2026, 3, 3)]}


def test_no_partitions_are_refused_since_a_reversed_range_is_empty() -> None:
    with pytest.raises(LabInsightsError, match=r"no partitions.*order of the registry"):
        selected([])


@pytest.mark.parametrize("tenant", ["../evil", "a|b", "", "A"])
def test_a_key_of_what_is_no_tenant_id_is_refused(tenant: str) -> None:
    with pytest.raises(InvalidTenant):
        selected([f"2026-03-02|{tenant}"])


def test_dagster_reads_a_reversed_range_of_tenants_as_empty() -> None:
    """The reason why an empty selection is refused: without that, such a run succeeds and has done nothing."""
    grid = tenant_days(_config(today()))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("tenants", ["birchwood", "aurora_clinic"])
        reversed_ = dg.PartitionKeyRange(f"{today()}|aurora_clinic", f"{today()}|birchwood")
        assert list(grid.get_partition_keys_in_range(reversed_, dynamic_partitions_store=instance)) == []


def test_a_grid_of_exactly_what_dagster_carries_is_accepted() -> None:
    refuse_too_many(_config(date(2020, 1, 1), window=MOST // 250), 250)


def test_a_tenant_more_than_dagster_carries_is_refused_with_what_to_do() -> None:
    with pytest.raises(LabInsightsError, match=r"251 tenants × 400 days.*another cell"):
        refuse_too_many(_config(today(), window=400), 251)  # today it is one day, and it will be four hundred


@pytest.mark.parametrize(("first", "last"), [("b", "c"), ("a", "a"), ("c", "a")])
def test_a_range_of_tenants_is_what_dagster_makes_of_it(first: str, last: str) -> None:
    asked = dg.PartitionKeyRange(first, last)
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("tenants", ["a", "b", "c"])
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            assert TENANTS.get_partition_keys_in_range(asked) == dg.DynamicPartitionsDefinition(name="tenants").get_partition_keys_in_range(
                asked
            )


def test_a_range_of_tenants_that_are_not_there_is_refused() -> None:
    refused = pytest.raises(dg.DagsterInvalidInvocationError, match="ghost")
    with dg.instance_for_test() as instance, dg.partition_loading_context(dynamic_partitions_store=instance), refused:
        TENANTS.get_partition_keys_in_range(dg.PartitionKeyRange("ghost", "ghost"))
