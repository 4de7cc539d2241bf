"""`verify` on real servers: when all is well it says so, and every planted damage is found and named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pytest

from lab_insights.errors import WarehouseError
from lab_insights.extract import land
from lab_insights.lab import pipeline
from lab_insights.lake.commit import Facts, Rows
from lab_insights.lake.layout import Layer, Partition
from lab_insights.names import TenantId
from lab_insights.verify import Report, verify
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.session import Session
from lab_insights_tests.verify.world import World, day, only, where

ACCOUNT = ("account",)


def quiet(report: Report) -> None:
    """No finding holds a value of a row."""
    assert "secret" not in json.dumps(report.to_dict())


def test_all_is_well_over_every_layer_and_the_report_is_plain_json(world: World, whole: TenantId) -> None:
    steps: list[tuple[int, int]] = []
    report = world.verify(whole, progress=lambda done, total: steps.append((done, total)))
    assert where(report, "pending", "not proven", "broken") == []
    assert (report.ok, report.proven) == (True, True)
    assert steps[-1][0] == steps[-1][1] == len(steps)
    tables = {"raw": 10, "curated": 12, "transformed": 3, "snowflake": 15}
    assert [(row.layer, row.day, row.tables, row.status) for row in report.summary()] == [
        (layer, day(number), count, "ok") for layer, count in tables.items() for number in (1, 2)
    ]
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["counts"] == {"ok": 80, "pending": 0, "not proven": 0, "broken": 0}
    assert [row["rows"] for row in plain["summary"] if row["layer"] == "raw"] == [12, 13]
    quiet(report)


def test_chosen_tables_days_and_layers_are_looked_at_alone(world: World, whole: TenantId) -> None:
    report = world.verify(whole, tables=["account", "crm.account"], days=[day(2)], layers=["raw", "curated", "snowflake"])
    assert where(report, "ok") == [("raw", "crm.account", 2), ("curated", "account", 2), ("snowflake", "curated/account", 2)]
    assert report.proven


@pytest.mark.parametrize(
    ("layer", "table"),
    [("raw", "crm.account"), ("curated", "account"), ("transformed", "account_profile"), ("transformed", "crm.udt_note_long")],
)
def test_a_deleted_part_is_named(world: World, whole: TenantId, layer: Layer, table: str) -> None:
    [part] = world.batch(layer, table, 2, whole).parts
    with world.gone(layer, part.key):
        report = world.verify_lake(whole)
    assert where(report, "broken") == [(layer, table, 2)]
    assert only(report, layer, table, 2).message == f"part {part.key.rpartition('/')[2]} is gone"
    assert not report.ok


def test_what_a_broken_partition_feeds_is_not_proven_and_everything_else_is(world: World, whole: TenantId) -> None:
    with world.gone("curated", world.batch("curated", "account", 1, whole).parts[0].key):
        report = world.verify(whole)
    assert where(report, "not proven") == [
        *(("transformed", table, number) for table in ("account_profile", "order_detail") for number in (1, 2)),
        ("snowflake", "curated/account", None),
    ]
    assert ("snowflake", "curated/crm_case", 2) in where(report, "ok")


@pytest.mark.parametrize(
    ("layer", "table", "column"),
    [("raw", "crm.account", "name"), ("curated", "account", "name")],
)
def test_a_part_with_another_value_is_named(world: World, whole: TenantId, layer: Layer, table: str, column: str) -> None:
    manifest = world.batch(layer, table, 2, whole)
    with world.replaced(layer, manifest.parts[0].key, world.changed_part(manifest, column)):
        report = world.verify_lake(whole)
    assert where(report, "broken") == [(layer, table, 2)]
    assert "SHA-256" in only(report, layer, table, 2).message
    quiet(report)


def test_one_flipped_byte_is_found(world: World, whole: TenantId) -> None:
    [part] = world.batch("raw", "lis.lab_order", 1, whole).parts[:1]
    body = bytearray(world.lake.storage.get("raw", part.key) or b"")
    body[len(body) // 2] ^= 1
    with world.replaced("raw", part.key, bytes(body)):
        assert where(world.verify_lake(whole), "broken") == [("raw", "lis.lab_order", 1)]


@pytest.mark.parametrize(("layer", "table"), [("curated", "account"), ("transformed", "account_profile")])
def test_a_part_forged_together_with_its_manifest_does_not_hold_what_the_manifest_sums(
    world: World, whole: TenantId, layer: Layer, table: str
) -> None:
    with world.forged(world.batch(layer, table, 2, whole), "name"):
        report = world.verify_lake(whole)
    assert (layer, table, 2) in where(report, "broken")
    assert "the parts hold 4 rows with checksum" in only(report, layer, table, 2).message


def test_a_raw_value_forged_together_with_its_manifest_is_found_by_curating_again(world: World, whole: TenantId) -> None:
    with world.forged(world.batch("raw", "crm.account", 2, whole), "name"):
        report = world.verify_lake(whole)
    assert where(report, "broken") == [("curated", "account", 2)]
    assert "computed again it has 4 rows" in only(report, "curated", "account", 2).message
    quiet(report)


def test_rows_that_are_not_accounted_for_are_found(world: World, whole: TenantId) -> None:
    manifest = world.batch("curated", "account", 2, whole)
    with world.rewritten("curated", manifest, counts=manifest.counts | {"superseded": 2}):
        report = world.verify_lake(whole)
    assert where(report, "broken") == [("curated", "account", 2)]
    assert "5 raw rows went in, and 6 are accounted for" in only(report, "curated", "account", 2).message


@pytest.mark.parametrize(("layer", "table"), [("raw", "crm.account"), ("curated", "crm_case")])
def test_a_manifest_that_is_gone_is_named(world: World, whole: TenantId, layer: Layer, table: str) -> None:
    manifest = world.batch(layer, table, 2, whole)
    with world.gone(layer, manifest.object_key):
        report = world.verify_lake(whole)
    assert where(report, "broken") == [(layer, table, 2)]
    assert only(report, layer, table, 2).message == f"the manifest of batch {manifest.batch_id} is gone"


def test_code_that_has_changed_since_leaves_a_day_not_proven(world: World, whole: TenantId) -> None:
    manifest = world.batch("curated", "account", 2, whole)
    with world.forged(world.batch("raw", "crm.account", 2, whole), "name"), world.rewritten("curated", manifest, code_version="0.older"):
        report = world.verify_lake(whole)
    assert "another version of the code" in only(report, "curated", "account", 2).message
    assert ("curated", "account", 2) in where(report, "not proven")


def test_rows_deleted_and_changed_in_snowflake_are_found_by_table_and_day(world: World, whole: TenantId) -> None:
    with world.session() as session:
        use(session, whole)
        session.execute("CREATE TABLE OPS.KEPT AS SELECT * FROM CURATED.ACCOUNT WHERE ACCOUNT_ID = 'a28'")
        session.execute("DELETE FROM CURATED.ACCOUNT WHERE ACCOUNT_ID = 'a28'")
        session.execute("UPDATE CURATED.ACCOUNT SET HOST_CODE = 'x' WHERE ACCOUNT_ID = 'b1'")
        try:
            report = world.verify(whole)
        finally:
            session.execute("INSERT INTO CURATED.ACCOUNT SELECT * FROM OPS.KEPT")
            session.execute("UPDATE CURATED.ACCOUNT SET HOST_CODE = 'b1' WHERE ACCOUNT_ID = 'b1'")
            session.execute("DROP TABLE OPS.KEPT")
    assert where(report, "broken") == [("snowflake", "curated/account", 1), ("snowflake", "curated/account", 2)]
    assert "is different in the warehouse" in only(report, "snowflake", "curated/account", 1).message
    assert "is missing in the warehouse" in only(report, "snowflake", "curated/account", 2).message
    quiet(report)


def test_a_database_that_is_not_there_is_broken_and_the_lake_is_verified_all_the_same(world: World, fresh: TenantId) -> None:
    world.land(fresh, 1, tables=ACCOUNT)
    world.curate(fresh, 1)
    report = world.verify(fresh)
    assert where(report, "broken") == [("snowflake", "every table", None)]
    assert where(report, "ok") == [("raw", "crm.account", 1), ("curated", "account", 1)]


def test_snowflake_out_of_reach_is_said_and_nothing_is_raised(world: World, whole: TenantId) -> None:
    def unreachable() -> Session:
        raise WarehouseError("Snowflake can not be reached.", remedy="check the network.")

    report = verify(world.lake, [whole], session_factory=unreachable)
    assert only(report, "snowflake", "every table", None).message == "Snowflake can not be reached."
    assert where(report, "broken") == [("snowflake", "every table", None)]


def test_without_a_session_the_lake_alone_is_verified(world: World, whole: TenantId) -> None:
    assert {row.layer for row in verify(world.lake, [whole]).summary()} == {"raw", "curated", "transformed"}


@dataclass
class DropsLast:
    """A planted defect: the last row of every batch is lost on the way, after the source counted it."""

    rows: Rows

    def __post_init__(self) -> None:
        self.schema = self.rows.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self.rows:
            yield batch.slice(0, batch.num_rows - 1)

    def facts(self) -> Facts:
        return self.rows.facts()


def test_a_lost_last_row_of_a_batch_is_found(world: World, fresh: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = land._rows
    monkeypatch.setattr(land, "_rows", lambda *args: DropsLast(honest(*args)))
    world.land(fresh, 1, tables=ACCOUNT)
    report = world.verify_lake(fresh)
    assert where(report, "broken") == [("raw", "crm.account", 1)]
    assert "the source counted 2 rows; 1 landed and 0 are in quarantine" in only(report, "raw", "crm.account", 1).message


def forget(world: World, tenant: TenantId, number: int) -> None:
    """Lose the status of a raw day, as if it had never been committed while the bookmark moved on."""
    partition = Partition("raw", tenant, "crm.account", day(number))
    [batch] = world.lake.state.batches("raw", tenant, "crm.account", day(number), day(number))
    key = {"pk": {"S": partition.series}, "sk": {"S": f"{day(number)}#{batch.batch_id}"}}
    world.aws.client("dynamodb").delete_item(TableName=f"{world.lake.state.prefix}-status", Key=key)


def test_a_window_that_was_skipped_is_found_on_the_day_after_it(world: World, fresh: TenantId) -> None:
    for number in (1, 2, 3):
        world.land(fresh, number, tables=ACCOUNT)
    assert world.verify_lake(fresh, layers=["raw"]).proven
    forget(world, fresh, 2)
    report = world.verify_lake(fresh, layers=["raw"])
    assert where(report, "broken") == [("raw", "crm.account", 3)]
    assert only(report, "raw", "crm.account", 3).message == "nothing was read between 2026-03-02 00:00:00 and 2026-03-03 00:00:00"
    assert not world.verify_lake(fresh, layers=["raw"], days=[day(3)]).ok


def test_a_bookmark_that_moved_without_its_batch_is_found(world: World, fresh: TenantId) -> None:
    for number in (1, 2):
        world.land(fresh, number, tables=ACCOUNT)
    forget(world, fresh, 2)
    report = world.verify_lake(fresh, layers=["raw"])
    assert where(report, "broken") == [("raw", "crm.account", 1)]
    assert "the bookmark stands at 2026-03-03 00:00:00" in only(report, "raw", "crm.account", 1).message


def test_a_day_that_was_reconstructed_is_not_proven_and_not_broken(world: World, fresh: TenantId) -> None:
    world.land(fresh, 2, tables=ACCOUNT)
    world.land(fresh, 1, tables=ACCOUNT)
    report = world.verify_lake(fresh, layers=["raw"])
    assert where(report, "not proven") == [("raw", "crm.account", 1)]
    assert "reconstructed" in only(report, "raw", "crm.account", 1).message
    assert report.ok
    assert not report.proven


def test_a_raw_batch_that_was_not_curated_yet_is_pending_until_it_is(world: World, fresh: TenantId) -> None:
    world.land(fresh, 1, 12, tables=ACCOUNT)
    report = world.verify_lake(fresh)
    assert where(report, "pending") == [("curated", "account", 1)]
    world.curate(fresh, 1)
    world.land(fresh, 1, tables=ACCOUNT)
    report = world.verify_lake(fresh)
    assert where(report, "pending") == [("curated", "account", 1)]
    assert "1 raw batches came after it" in only(report, "curated", "account", 1).message
    assert report.ok
    world.curate(fresh, 1)
    assert world.verify_lake(fresh).proven


def test_a_raw_batch_that_curation_passed_over_is_broken(world: World, fresh: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    world.land(fresh, 1, 12, tables=ACCOUNT)
    world.land(fresh, 1, tables=ACCOUNT)
    everything = pipeline.partition_manifests
    monkeypatch.setattr(pipeline, "partition_manifests", lambda *args: everything(*args)[1:])
    world.curate(fresh, 1)
    report = world.verify_lake(fresh)
    assert where(report, "broken") == [("curated", "account", 1)]
    assert "batch 00000000-001 was there and was not curated" in only(report, "curated", "account", 1).message


def test_a_day_that_is_not_in_snowflake_yet_is_pending_and_breaks_nothing(world: World, fresh: TenantId) -> None:
    for number in (1, 2, 3):
        world.land(fresh, number, tables=ACCOUNT)
        world.curate(fresh, number)
    world.warehouse(fresh, 1)
    report = world.verify(fresh, layers=["snowflake"])
    assert where(report, "pending", "not proven", "broken") == [("snowflake", "curated/account", number) for number in (2, 3)]
    world.warehouse(fresh, 3)
    report = world.verify(fresh, layers=["snowflake"])
    assert where(report, "pending") == [("snowflake", "curated/account", 2)]
    assert report.ok
    world.warehouse(fresh, 2)
    assert world.verify(fresh, layers=["snowflake"]).proven


def test_a_day_curated_again_since_it_was_loaded_is_pending(world: World, fresh: TenantId) -> None:
    world.land(fresh, 1, 12, tables=ACCOUNT)
    world.curate(fresh, 1)
    world.warehouse(fresh, 1)
    world.land(fresh, 1, tables=ACCOUNT)
    world.curate(fresh, 1)
    report = world.verify(fresh)
    assert where(report, "pending") == [("snowflake", "curated/account", 1)]
    assert where(report, "broken") == []
