"""Column lineage as Dagster has it: in every definition, and with the last partition of a run, whether or not a tenant of it failed."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from lab_insights.assets.checks import Events
from lab_insights.assets.receipts import Receipt
from lab_insights.assets.specs import LINEAGE, contract_columns, spec
from lab_insights.assets.tenant_days import run_tenant_days
from lab_insights.lab.contracts import contracts
from lab_insights.lake.commit import Lake
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import make_lake

KEY = dg.AssetKey(["curated", "result"])
GRID = dg.MultiPartitionsDefinition(
    {"date": dg.DailyPartitionsDefinition("2026-03-01", end_date="2026-03-03"), "tenant": dg.StaticPartitionsDefinition(["t_a", "t_b"])}
)


@pytest.fixture(scope="module")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made: Lake = make_lake(aws_endpoint, Path(tmp_path_factory.mktemp("clock")) / "clock")
    return made


def materialized(lake: Lake, failing: str) -> dict[str, dict[str, Any]]:
    """The metadata of each partition that a run of the whole grid makes."""
    # With an IO manager, as the product's: Dagster takes a spec without one for an output that is nothing.
    only = spec(KEY.path, description="x", kinds=set(), columns=contract_columns(contracts()["result"])).with_io_manager_key("io_manager")

    @dg.multi_asset(specs=[only], partitions_def=GRID, backfill_policy=dg.BackfillPolicy.single_run(), required_resource_keys={"lake"})
    def curate(context: dg.AssetExecutionContext) -> Iterator[Events]:
        def work(tenant: TenantId, _day: date, keys: list[dg.AssetKey]) -> Iterator[tuple[dg.AssetKey, Receipt]]:
            if tenant == failing:
                raise ValueError
            yield from ((key, Receipt(1, {"rows": 1})) for key in keys)

        yield from run_tenant_days(context, work)

    resource = dg.ResourceDefinition.hardcoded_resource(SimpleNamespace(open=lambda: lake))
    io = dg.mem_io_manager
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            [curate],
            instance=instance,
            resources={"lake": resource, "io_manager": io},
            tags={"dagster/asset_partition_range_start": "2026-03-01|t_a", "dagster/asset_partition_range_end": "2026-03-02|t_b"},
            raise_on_error=False,
        )
        found = instance.fetch_materializations(KEY, limit=10).records
        made = [record.asset_materialization for record in found if record.asset_materialization]
        return {str(each.partition): dict(each.metadata) for each in made}


@pytest.mark.parametrize(("failing", "partitions", "last"), [("nobody", 4, "2026-03-02|t_b"), ("t_b", 2, "2026-03-02|t_a")])
def test_the_last_partition_of_a_run_has_the_lineage_and_the_others_do_not(lake: Lake, failing: str, partitions: int, last: str) -> None:
    found = materialized(lake, failing)
    assert len(found) == partitions
    assert [key for key, metadata in found.items() if LINEAGE in metadata] == [last]
    lineage: Any = found[last][LINEAGE].value
    assert lineage.deps_by_column["value_num"] == [
        dg.TableColumnDep(dg.AssetKey(["raw", "lis", "result"]), "value_raw"),
        dg.TableColumnDep(dg.AssetKey(["raw", "lis", "result"]), "value_type"),
        dg.TableColumnDep(dg.AssetKey(["raw", "messages", "message"]), "body"),
    ]
