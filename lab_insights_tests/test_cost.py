"""What a tenant's day cost: from manifests and receipts, superseded batches included, parts that were not written excluded."""

from datetime import date, timedelta

import dagster as dg
import pytest

from lab_insights.commands.cost import _print as print_costs
from lab_insights.cost import Spent, TenantDay, costs
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.partitions import partition_key
from lab_insights_tests.lake.world import FIRST, day, fresh_tenant, ids, make_lake, put

NEXT = FIRST + timedelta(days=1)


@pytest.fixture(scope="module")
def lake(aws_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(aws_endpoint, tmp_path_factory.mktemp("clock") / "clock")


def test_bytes_and_seconds_are_those_of_every_batch_that_was_written(lake: Lake) -> None:
    tenant = fresh_tenant()
    raw = Partition("raw", tenant, "lis.result", FIRST)
    first, again = put(lake, raw, ids(1, 2)), put(lake, raw, ids(1, 2, 3), supersedes=True)
    curated = put(lake, Partition("curated", tenant, "result", FIRST), ids(1))
    other = put(lake, Partition("raw", tenant, "lis.result", NEXT), ids(4))
    found = {each.day: each for each in costs(lake, None, [tenant], [FIRST, NEXT])}
    spent = found[FIRST].of("raw")
    assert (spent.batches, spent.rows) == (2, 5)
    assert spent.bytes == sum(part.bytes for manifest in (first, again) for part in manifest.parts)
    assert spent.seconds == round(first.seconds + again.seconds, 3)
    assert found[FIRST].total("bytes") == spent.bytes + curated.parts[0].bytes
    assert found[NEXT].total("rows") == other.rows == 1


def test_a_snapshot_that_was_given_the_parts_of_the_one_before_wrote_nothing(lake: Lake) -> None:
    tenant = fresh_tenant()
    first = put(lake, Partition("raw", tenant, "lis.code", FIRST), ids(1, 2), "snapshot", high=None)
    same = put(lake, Partition("raw", tenant, "lis.code", NEXT), ids(1, 2), "snapshot", high=None)
    assert same.parts == first.parts
    found = {each.day: each for each in costs(lake, None, [tenant], [FIRST, NEXT])}
    assert (found[NEXT].of("raw").bytes, found[NEXT].of("raw").rows) == (0, 2)
    assert found[FIRST].of("raw").bytes == first.parts[0].bytes > 0


def test_statements_are_those_of_every_run_of_the_day_and_of_no_other_tenants(lake: Lake) -> None:
    tenant, other = fresh_tenant(), fresh_tenant()

    @dg.op
    def loads(context: dg.OpExecutionContext) -> None:
        for layer, whose, its, statements in (
            ("snowflake", tenant, FIRST, 7),
            ("snowflake", tenant, FIRST, 2),
            ("reports", tenant, FIRST, 5),
            ("snowflake", tenant, NEXT, 100),
            ("snowflake", other, FIRST, 1000),
            ("raw", tenant, FIRST, 10_000),
        ):
            metadata = {"statements": statements, "seconds": 0.5, "batches": 1}
            context.log_event(dg.AssetMaterialization([layer, "result"], partition=partition_key(its, whose), metadata=metadata))

    @dg.job
    def loading() -> None:
        loads()

    with dg.DagsterInstance.ephemeral() as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        assert loading.execute_in_process(instance=instance, run_config=quiet).success
        [found] = costs(lake, instance, [tenant], [FIRST])
    assert (found.of("snowflake").statements, found.of("reports").statements) == (9, 5)
    assert (found.total("statements"), found.total("seconds", ["snowflake", "reports"])) == (14, 1.5)


def test_what_a_statement_moved_is_the_bytes_of_the_layers_that_are_loaded_by_the_statements_of_the_loads(
    capsys: pytest.CaptureFixture[str],
) -> None:
    its = TenantDay(fresh_tenant(), FIRST)
    for layer, spent in {
        "raw": Spent(bytes=1_000_000), "curated": Spent(bytes=30_000), "transformed": Spent(bytes=12_000),
        "snowflake": Spent(statements=4), "reports": Spent(statements=1000),
    }.items():  # fmt: skip
        its.layers[layer] = spent
    assert its.bytes_per_statement == 10_500
    print_costs([its], known=True)
    assert "10.5 kB a statement of loads" in capsys.readouterr().out
    its.of("snowflake").statements = 0
    assert its.bytes_per_statement is None


def test_what_was_never_loaded_cost_nothing_and_is_not_there(lake: Lake) -> None:
    assert costs(lake, None, [fresh_tenant()], [date(2026, 1, 1), day(1)]) == []
