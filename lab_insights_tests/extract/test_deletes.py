"""Hard deletes and unseen changes: found by comparing key ranges, landed as tombstones and changes, and little is read for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.aws import Aws
from lab_insights.errors import UnsupportedLoad
from lab_insights.extract import compare, streams
from lab_insights.extract.land import Request, load
from lab_insights.extract.plan import Declared, plan
from lab_insights.extract.window import Ceiling
from lab_insights.lake.commit import Lake
from lab_insights.lake.processing import Processing
from lab_insights.tenants.registry import Tenant
from lab_insights.verify.raw import verify_raw
from lab_insights_tests.extract.journey import Journey
from lab_insights_tests.extract.tables import STAMP, Table, notes
from lab_insights_tests.extract.torture import tortured
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import day, instant


def test_source_and_lake_that_agree_are_not_read(make: Any, server: Server) -> None:
    table = notes(make, server)
    table.load(1, 12)
    found = table.found(1, 12)
    assert (found.compared, found.read, found.ranges, found.gone.num_rows, found.changed.num_rows) == (5000, 0, 0, 0, 0)


def test_what_is_gone_changed_unseen_or_missed_is_landed_and_what_is_newer_is_left_to_its_window(make: Any, server: Server) -> None:
    table = notes(make, server)
    table.load(1, 12)
    table.execute(
        "DELETE FROM {t} WHERE id IN (1, 2500, 5000)",
        "UPDATE {t} SET note = 'unseen' WHERE id = 77",
        "UPDATE {t} SET amount = 0.1 WHERE id = 78",
        "UPDATE {t} SET note = 'newer', updated_at = '2026-03-01 18:00:00' WHERE id = 79",
        "INSERT INTO {t} VALUES (6000, 'came late', 1, '2026-03-01 07:00:00')",
    )
    # What only a float column tells apart is found when its range is read for another row's sake.
    table.execute("DELETE FROM {t} WHERE id = 76")
    made = table.load(1, 12, "deletes")
    assert [(each.kind, each.rows, each.gone_at is not None, each.load) for each in made] == [
        ("snapshot", 5000, False, "full"),
        ("delta", 3, False, "deletes"),
        ("delta", 4, True, "deletes"),
    ]
    state = table.curated(1)
    assert {key for key, gone in state.items() if gone} == {1, 2500, 5000, 76}
    assert len(state) == 5001
    assert table.load(1, 12, "deletes") == made, "what was landed is not found again"
    assert [finding.status for finding in verify_raw(table.lake, table.tenant, f"lis.{table.name}", None)] == ["ok"]
    [proof] = Processing(table.lake.state.aws, table.lake.state.prefix).disqualified(table.tenant)
    assert (proof.table, proof.cursor, proof.rows) == (f"lis.{table.name}", "updated_at", 2)
    assert "2 rows changed and it did not move" in table.warnings[0]


def test_a_row_that_comes_back_lives_again(make: Any, server: Server) -> None:
    table = notes(make, server, 100)
    table.load(1, 12)
    table.execute("DELETE FROM {t} WHERE id = 5")
    table.load(1, 13, "deletes")
    assert table.curated(1)[5]
    table.execute("INSERT INTO {t} VALUES (5, 'back', 1, '2026-03-01 14:00:00')")
    table.load(1, 15)
    assert not table.curated(1)[5]
    assert table.found(1, 15).read == 0


def test_a_row_of_the_next_day_that_a_second_snapshot_of_a_day_lacks_is_gone_in_the_warehouse(
    journey: Journey, make: Any, server: Server
) -> None:
    table, its = notes(make, server, 4), dataclasses.replace(journey, hours=24.75)
    table.execute("UPDATE {t} SET updated_at = '2026-03-02 00:30:00' WHERE id IN (2, 3)")
    planned = its.plan(server, table.name, declared=Declared(("id",), "updated_at"))
    for left in ([1, 2, 3, 4], [1, 3, 4]):
        table.execute(f"DELETE FROM {{t}} WHERE id NOT IN ({', '.join(map(str, left))})")
        assert its.land(server, planned, "full").kind == "snapshot"
        assert sorted(its.warehoused(its.curate(planned.table.table_id), ["id"])) == [(number,) for number in left]


@pytest.mark.parametrize("was_gone", [False, True])
def test_a_row_that_came_back_with_an_older_cursor_is_left_to_a_full_load(make: Any, server: Server, was_gone: bool) -> None:
    table = notes(make, server, 20)
    table.load(1, 12)
    if was_gone:
        table.execute("DELETE FROM {t} WHERE id = 7")
        table.load(1, 13, "deletes")
    table.execute(
        "DELETE FROM {t} WHERE id IN (7, 8)",
        "INSERT INTO {t} VALUES (7, 'restored', 1, '2026-03-01 05:00:00')",
    )
    before = table.load(1, 13)
    with pytest.raises(UnsupportedLoad, match="1 rows came back with an older `updated_at` than the lake knows") as raised:
        table.load(1, 13, "deletes")
    assert (raised.value.tenant, raised.value.table) == (table.tenant, f"lis.{table.name}")
    assert "full_load" in raised.value.remedy
    assert table.load(1, 13) == before, "what would not win is not landed"
    table.load(1, 14, "full")
    found = table.found(1, 14)
    assert (found.compared, found.read) == (19, 0)


KEYS = {
    "negative": ("id BIGINT PRIMARY KEY", "id BIGINT PRIMARY KEY", "CAST(n AS DECIMAL(20)) - 2500", ("id",)),
    "unsigned": ("id BIGINT UNSIGNED PRIMARY KEY", "id NUMERIC(20) PRIMARY KEY", "18446744073709551615 - n", ("id",)),
    "text": ("id VARCHAR(40) PRIMARY KEY", "id VARCHAR(40) PRIMARY KEY", "concat('Käse|~', n)", ("id",)),
    "binary": ("id VARBINARY(40) PRIMARY KEY", "id BYTEA PRIMARY KEY", "{binary}", ("id",)),
    "composite": ("id INT, part INT, PRIMARY KEY (id, part)", "id INT, part INT, PRIMARY KEY (id, part)", "n, 1", ("id", "part")),
    "sparse": ("id BIGINT PRIMARY KEY", "id BIGINT PRIMARY KEY", "n * 1844674407370955", ("id",)),
}


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_of_key_is_compared(make: Any, server: Server, kind: str) -> None:
    its, theirs, values, key = KEYS[kind]
    values = values.replace("{binary}", "unhex(md5(n))" if server.engine == "mysql" else "decode(md5(n::text), 'hex')")
    stamp = "'2026-03-01 06:00:00'" if server.engine == "mysql" else "timestamp '2026-03-01 06:00:00'"
    columns = f"{its if server.engine == 'mysql' else theirs}, n INT, updated_at {STAMP[server.engine]} NOT NULL"
    table = make(columns, 5000, f"{values}, n, {stamp}", key)
    table.load(1, 12)
    assert table.found(1, 12).read == 0
    table.execute("DELETE FROM {t} WHERE n IN (1, 2, 4999)")
    found = table.found(1, 12)
    assert sorted(found.gone["n"].to_pylist()) == [1, 2, 4999]
    assert found.changed.num_rows == 0


def test_rows_of_another_tenant_in_the_same_table_are_not_seen(lake: Lake, make: Any, server: Server) -> None:
    table = make(
        f"id INT PRIMARY KEY, tenant VARCHAR(9), updated_at {STAMP[server.engine]} NOT NULL",
        1000,
        "n, CASE n % 2 WHEN 0 THEN 'a' ELSE 'b' END, "
        + ("'2026-03-01 06:00:00'" if server.engine == "mysql" else "timestamp '2026-03-01 06:00:00'"),
    )
    source = server.source(tenancy={"discriminator": {"schema": server.schema, "column": "tenant", "value": "{key}"}})
    pooled = server.table(
        table.name, tenant=Tenant(id=table.tenant, key="a"), tenancy=source.tenancy.model_dump(by_alias=True, exclude_none=True)
    )
    its = plan(pooled, Declared(("id",), "updated_at"))
    load(lake, source, Aws(), its, Request(day(1)), Ceiling(instant(1, 12), "of the test"))
    table.execute("DELETE FROM {t} WHERE id IN (7, 8)")
    found = compare.find(lake, source, Aws(), its, instant(1, 12))
    assert (found.compared, found.gone["id"].to_pylist()) == (500, [8])


def test_a_table_of_which_too_much_differs_is_left_to_a_full_load(make: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "LEAST_ROWS", 100)
    table = notes(make, server, 1000)
    table.load(1, 12)
    table.execute("DELETE FROM {t} WHERE id <= 500")
    with pytest.raises(UnsupportedLoad, match="More than 250 rows") as raised:
        table.load(1, 12, "deletes")
    assert (raised.value.tenant, raised.value.table) == (table.tenant, f"lis.{table.name}")
    assert "full_load" in raised.value.remedy


def test_a_past_day_is_refused(make: Any, server: Server) -> None:
    table = notes(make, server, 10)
    table.load(1, 24)
    table.load(2, 12)
    with pytest.raises(UnsupportedLoad, match="can not be told of a past day"):
        load(table.lake, server.source(), Aws(), table.plan(), Request(day(1), "deletes"), Ceiling(instant(2, 12), "of the test"))


@pytest.mark.slow
def test_ten_rows_deleted_of_a_million_are_found_by_reading_less_than_a_twentieth_of_them(
    make: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = notes(make, server, 1_000_000)
    table.load(1, 12)
    table.execute(f"DELETE FROM {{t}} WHERE id IN ({', '.join(str(number * 99_991) for number in range(1, 11))})")
    honest, crossed = streams.opened, list[int]()

    def counted(*given: Any) -> Iterator[pa.RecordBatch]:
        for batch in honest(*given):
            crossed.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(streams, "opened", counted)
    *_, tombstones = table.load(1, 12, "deletes")
    assert (tombstones.rows, tombstones.gone_at) == (10, instant(1, 12))
    assert sum(crossed) < 50_000, "sums of ranges included"


def test_every_type_has_one_text_on_both_sides(lake: Lake, server: Server) -> None:
    tortured_ = tortured(server)
    table = Table(lake, server, tortured_.name)
    with server.own.connect() as connection:
        if server.engine == "mysql":
            connection.exec_driver_sql("SET sql_mode = ''")  # its zero dates are refused otherwise
        stamp = f"{STAMP[server.engine]} NOT NULL DEFAULT '2026-03-01 06:00:00'"
        connection.exec_driver_sql(f"ALTER TABLE {server.schema}.{table.name} ADD COLUMN updated_at {stamp}")
    table.load(1, 12)
    assert table.found(1, 12).read == 0
    table.execute("DROP TABLE {t}")
