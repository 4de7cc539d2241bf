"""Rows of every kind of key and cursor, and tables of every name, all the way from both servers into the warehouse."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lab_insights.extract.plan import Declared
from lab_insights.names import slug
from lab_insights_tests.extract.journey import Journey
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import instant

pytestmark = pytest.mark.slow


def stamp(server: Server) -> str:
    return "DATETIME(6)" if server.engine == "mysql" else "TIMESTAMP(6)"


def test_rows_that_share_an_instant_are_all_there_and_the_newest_of_each_key_wins(journey: Journey, server: Server) -> None:
    name = f"ties_{server.engine}"
    at = f"'{instant(1, journey.hours):%Y-%m-%d %H:%M:%S}'"
    server.execute(
        f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, note VARCHAR(9), updated_at {stamp(server)} NOT NULL)",
        f"INSERT INTO {{s}}.{name} VALUES (1, 'a', {at}), (2, 'b', {at}), (3, 'c', {at})",
    )
    planned = journey.plan(server, name)
    assert journey.land(server, planned).rows == 3
    later = f"'{instant(1, journey.hours) + timedelta(minutes=1):%Y-%m-%d %H:%M:%S}'"
    server.execute(
        f"INSERT INTO {{s}}.{name} VALUES (4, 'd', {later}), (5, 'e', {later})",
        f"UPDATE {{s}}.{name} SET note = 'B', updated_at = {later} WHERE id = 2",
    )
    assert (changes := journey.land(server, planned)).rows == 3
    assert changes.kind == "delta"
    found = journey.warehoused(journey.curate(planned.table.table_id), ["id", "note"])
    assert sorted(found) == [(1, "a"), (2, "B"), (3, "c"), (4, "d"), (5, "e")]


@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_key_and_cursor_keep_their_names_beside_columns_that_are_alike_but_for_case(journey: Journey, server: Server) -> None:
    name, at = "alike", f"'{instant(1, journey.hours):%Y-%m-%d %H:%M:%S}'"
    server.execute(
        f'CREATE TABLE {{s}}.{name} ("ID" TEXT, id INT PRIMARY KEY, "Updated_At" TEXT, updated_at TIMESTAMP(6) NOT NULL)',
        f"INSERT INTO {{s}}.{name} VALUES ('a', 1, 'x', {at}), ('a', 2, 'y', {at}), ('b', 3, 'z', {at})",
    )
    planned = journey.plan(server, name)
    assert (planned.key, planned.cursor) == (("id",), "updated_at")
    assert journey.land(server, planned).rows == 3
    later = f"'{instant(1, journey.hours) + timedelta(minutes=1):%Y-%m-%d %H:%M:%S}'"
    server.execute(f"UPDATE {{s}}.{name} SET \"ID\" = 'c', updated_at = {later} WHERE id = 2")
    assert journey.land(server, planned).rows == 1
    found = journey.warehoused(journey.curate(planned.table.table_id), ["id", "ID_"])
    assert sorted(found) == [(1, "a"), (2, "c"), (3, "b")]


def test_a_row_whose_declared_key_is_null_is_landed_and_counted_as_no_version_of_anything(journey: Journey, server: Server) -> None:
    name = f"null_keys_{server.engine}"
    server.execute(
        f"CREATE TABLE {{s}}.{name} (code VARCHAR(9) NULL UNIQUE, n INT)",
        f"INSERT INTO {{s}}.{name} VALUES ('a', 1), (NULL, 2), (NULL, 3)",
    )
    planned = journey.plan(server, name, declared=Declared(("code",)))
    assert journey.land(server, planned).rows == 3
    curated = journey.curate(planned.table.table_id)
    assert (curated.rows, curated.counts["excluded"]) == (1, 2)
    assert journey.warehoused(curated, ["code", "n"]) == [("a", 1)]


def test_without_a_declared_key_a_nullable_unique_one_is_none_and_no_row_is_left_out(journey: Journey, server: Server) -> None:
    name = f"nullable_{server.engine}"
    server.execute(
        f"CREATE TABLE {{s}}.{name} (code VARCHAR(9) NULL UNIQUE, n INT)",
        f"INSERT INTO {{s}}.{name} VALUES ('a', 1), (NULL, 2), (NULL, 2), (NULL, NULL)",
    )
    found = journey.through(server, name, ["code", "n"])
    assert sorted(found, key=str) == sorted([("a", 1), (None, 2), (None, 2), (None, None)], key=str)


def test_a_composite_key_is_compared_part_by_part(journey: Journey, server: Server) -> None:
    name = f"composite_{server.engine}"
    server.execute(
        f"CREATE TABLE {{s}}.{name} (a VARCHAR(9), b VARCHAR(9), n INT, PRIMARY KEY (a, b))",
        f"INSERT INTO {{s}}.{name} VALUES ('x', 'yz', 1), ('xy', 'z', 2), ('', 'xyz', 3), ('xyz', '', 4)",
    )
    assert sorted(journey.through(server, name, ["a", "b", "n"])) == [("", "xyz", 3), ("x", "yz", 1), ("xy", "z", 2), ("xyz", "", 4)]


def test_text_keys_that_look_alike_stay_apart(journey: Journey, server: Server) -> None:
    name, kind = f"text_keys_{server.engine}", "VARCHAR(20) COLLATE utf8mb4_bin" if server.engine == "mysql" else "VARCHAR(20)"
    keys = ["a", "A", "ä", "a\u0308", "1", "01", "1.0", "🧪", ""]
    values = ", ".join(f"('{key}', {number})" for number, key in enumerate(keys))
    server.execute(
        f"CREATE TABLE {{s}}.{name} (code {kind} PRIMARY KEY, n INT){' CHARACTER SET utf8mb4' if server.engine == 'mysql' else ''}",
        f"INSERT INTO {{s}}.{name} VALUES {values}",
    )
    assert sorted(journey.through(server, name, ["n", "code"])) == list(enumerate(keys))


@pytest.mark.parametrize("server", ["mysql"], indirect=True)
def test_unsigned_keys_above_the_signed_ones_are_numbers_all_the_way(journey: Journey, server: Server) -> None:
    keys = [0, 2**63 - 1, 2**63, 2**64 - 1]
    server.execute(
        "CREATE TABLE {s}.unsigned_keys (id BIGINT UNSIGNED PRIMARY KEY)",
        f"INSERT INTO {{s}}.unsigned_keys VALUES {', '.join(f'({key})' for key in keys)}",
    )
    assert sorted(int(row[0]) for row in journey.through(server, "unsigned_keys", ["id"])) == keys


def test_a_table_without_a_key_keeps_every_copy_of_a_row(journey: Journey, server: Server) -> None:
    name = f"keyless_{server.engine}"
    server.execute(f"CREATE TABLE {{s}}.{name} (a INT, b VARCHAR(9))", f"INSERT INTO {{s}}.{name} VALUES (1, 'x'), (1, 'x'), (NULL, NULL)")
    assert sorted(journey.through(server, name, ["a", "b"]), key=str) == sorted([(1, "x"), (1, "x"), (None, None)], key=str)
    server.execute(f"DELETE FROM {{s}}.{name} WHERE a IS NULL")
    assert journey.through(server, name, ["a", "b"]) == [(1, "x"), (1, "x")]


@pytest.mark.parametrize("name", ['x"; DROP TABLE y', "../z", "a`b%s", "été|?*"])
def test_a_hostile_name_is_quoted_in_sql_and_a_slug_with_a_hash_in_paths(journey: Journey, server: Server, name: str) -> None:
    table, column = f"udt_{name}_{server.engine}"[:60], f"{name} c"
    server.execute(
        "CREATE TABLE IF NOT EXISTS {s}.y (id INT)",
        f"CREATE TABLE {{s}}.{server.quoted(table)} (id INT PRIMARY KEY, {server.quoted(column)} VARCHAR(9))",
        f"INSERT INTO {{s}}.{server.quoted(table)} VALUES (1, '{name[:3].replace(chr(39), '')}'), (2, NULL)",
    )
    planned = journey.plan(server, table)
    landed = journey.land(server, planned)
    assert planned.table.user_defined
    assert landed.table == f"lis.{slug(table)}"
    assert landed.partition.directory == f"tenant={journey.tenant}/table=lis.{slug(table)}/date=2026-03-01"
    assert sorted(journey.warehoused(journey.curate(landed.table), ["id", column])) == [(1, name[:3]), (2, None)]
    assert server.rows("y")[0].num_rows == 0, "nobody dropped it"
    server.execute(f"DROP TABLE {{s}}.{server.quoted(table)}")
