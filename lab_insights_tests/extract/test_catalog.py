"""What a source holds for a tenant, in each layout, whatever its tables are called; and never what it holds for another."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import pyarrow as pa
import pytest

from lab_insights.config import Source
from lab_insights.errors import ConfigError, SourceError
from lab_insights.extract.databases import place
from lab_insights.extract.plan import plan
from lab_insights.tenants.registry import Tenant
from lab_insights_tests.extract.world import AURORA, Server, read

HOSTILE = ['x"; DROP TABLE y', "../z", "a`b", "100%s", "%(c0)s", "a:b c", "Mixed Case", "été", "a.b", "n" * 63]


def tenant(key: str) -> Tenant:
    return Tenant.model_validate({"id": f"t_{key.lower()}", "key": key})


def found(server: Server, of: Tenant, **tenancy: Any) -> dict[str, list[Any]]:
    """The rows that a tenant gets, by table."""
    return {table.name: sorted(read(table, server.url)[0]["id"].to_pylist()) for table in server.crawl(of, tenancy=tenancy).tables}


@pytest.fixture
def prefixed(server: Server) -> str:
    """A prefix of table names that no other test uses."""
    return f"p{uuid.uuid4().hex[:8]}_"


def test_a_schema_of_ones_own_is_crawled_with_types_keys_and_indexes(mysql: Server) -> None:
    mysql.execute(
        "CREATE TABLE {s}.crawled (id BIGINT UNSIGNED PRIMARY KEY COMMENT 'its id', at TIMESTAMP(6) NOT NULL DEFAULT NOW(6) ON UPDATE NOW(6), "
        "note VARCHAR(9) NULL, KEY (at)) COMMENT 'a table'",
    )
    its = mysql.table("crawled")
    assert (its.table_id, its.physical, its.key, set(its.indexed)) == ("lis.crawled", "crawled", ("id",), {"at"})
    assert [(each.name, each.type, each.nullable, each.touched) for each in its.columns] == [
        ("id", "bigint(20) unsigned", False, False),
        ("at", "timestamp(6)", False, True),
        ("note", "varchar(9)", True, False),
    ]
    assert its.columns[0].comment == "its id"
    assert its.rows is not None


def test_a_plan_says_whether_a_trigger_moves_the_cursor_or_its_name_is_all_there_is(server: Server) -> None:
    made = "(id INT PRIMARY KEY, updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    server.execute(*(f"CREATE TABLE {{s}}.{name} {made}" for name in ("moved", "unmoved")))
    body = "NEW.updated_at = NOW()"
    if server.engine == "mysql":
        server.execute(
            f"CREATE TRIGGER {{s}}.moves BEFORE UPDATE ON {{s}}.moved FOR EACH ROW SET {body}",
            f"CREATE TRIGGER {{s}}.once BEFORE INSERT ON {{s}}.unmoved FOR EACH ROW SET {body}",
        )
    else:
        server.execute(
            f"CREATE FUNCTION {{s}}.moves() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body}; RETURN NEW; END$$",
            "CREATE TRIGGER moves BEFORE UPDATE ON {s}.moved FOR EACH ROW EXECUTE FUNCTION {s}.moves()",
            "CREATE TRIGGER once BEFORE INSERT ON {s}.unmoved FOR EACH ROW EXECUTE FUNCTION {s}.moves()",
        )
    found = {name: plan(server.table(name)) for name in ("moved", "unmoved")}
    assert {name: (each.cursor, each.reason.split(", not indexed")[0]) for name, each in found.items()} == {
        "moved": ("updated_at", "cursor updated_at is named as one and set by a trigger"),
        "unmoved": ("updated_at", "cursor updated_at is only named as one, with no trigger seen that moves it"),
    }
    assert [column.name for column in server.table("moved").columns if column.triggered] == ["updated_at"]


@pytest.mark.parametrize(
    ("definition", "inserts", "born"),
    [
        ("DATETIME(6) NOT NULL DEFAULT NOW(6) ON UPDATE NOW(6)", False, True),
        ("TIMESTAMP NOT NULL DEFAULT '2000-01-01 00:00:00' ON UPDATE NOW()", False, False),
        ("TIMESTAMP NOT NULL DEFAULT '2000-01-01 00:00:00' ON UPDATE NOW()", True, True),
        ("DATETIME NOT NULL ON UPDATE NOW()", False, False),
    ],
)
def test_on_update_makes_a_cursor_only_with_a_stamp_on_insert(mysql: Server, definition: str, inserts: bool, born: bool) -> None:
    name = f"born_{uuid.uuid4().hex[:8]}"
    mysql.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, updated_at {definition})")
    if inserts:
        mysql.execute(f"CREATE TRIGGER {{s}}.{name} BEFORE INSERT ON {{s}}.{name} FOR EACH ROW SET NEW.updated_at = NOW()")
    its = mysql.table(name)
    assert (its.columns[1].touched, its.columns[1].born) == (True, born)
    assert plan(its).load == ("incremental" if born else "full")


@pytest.mark.parametrize(
    ("default", "events", "born"),
    [
        ("DEFAULT now()", "UPDATE", True),
        ("DEFAULT (now() AT TIME ZONE 'utc')", "UPDATE", True),
        ("DEFAULT '2000-01-01'", "UPDATE", False),
        ("", "UPDATE", False),
        ("", "INSERT OR UPDATE", True),
    ],
)
def test_a_trigger_makes_a_cursor_only_with_a_stamp_on_insert(postgres: Server, default: str, events: str, born: bool) -> None:
    name = f"born_{uuid.uuid4().hex[:8]}"
    postgres.execute(
        f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, updated_at TIMESTAMP NOT NULL {default})",
        f"CREATE FUNCTION {{s}}.{name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updated_at := now(); RETURN NEW; END$$",
        f"CREATE TRIGGER {name} BEFORE {events} ON {{s}}.{name} FOR EACH ROW EXECUTE FUNCTION {{s}}.{name}()",
    )
    its = postgres.table(name)
    assert (its.columns[1].triggered, its.columns[1].born) == (True, born)
    assert plan(its).load == ("incremental" if born else "full")


def test_without_a_primary_key_the_first_unique_key_that_is_never_null_is_the_key(server: Server) -> None:
    server.execute(
        "CREATE TABLE {s}.uniques (a INT NULL UNIQUE, b INT NOT NULL, c INT NOT NULL, UNIQUE (b, c))",
        "CREATE TABLE {s}.nothing (a INT NULL UNIQUE, b INT NOT NULL)",
    )
    assert server.table("uniques").key == ("b", "c")
    assert server.table("nothing").key == ()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_table_and_its_columns_may_be_called_anything(server: Server, name: str) -> None:
    quoted, column = server.quoted(name), server.quoted(name[:30] + "|c")
    server.execute(
        f"CREATE TABLE {{s}}.{quoted} (id INT PRIMARY KEY, {column} VARCHAR(20))",
        f"INSERT INTO {{s}}.{quoted} VALUES (1, 'a%sb:c'), (2, NULL)",
    )
    table, facts = server.rows(name)
    its = server.table(name)
    assert table.sort_by("id").to_pydict() == {"id": [1, 2], name[:30] + "|c": ["a%sb:c", None]}
    assert facts.proof
    assert facts.proof.rows == 2
    assert not set(its.table_id) - set("abcdefghijklmnopqrstuvwxyz0123456789_.-")
    assert ".." not in its.table_id
    server.execute(f"DROP TABLE {{s}}.{quoted}")


def test_hostile_names_stay_apart() -> None:
    from lab_insights.extract.catalog import table_id

    names = [*HOSTILE, "mixed case", "MIXED CASE", "a_b", "a/b", "n" * 64, "N" * 63, "", "-", "patient", "Patient"]
    assert len({table_id("lis", name) for name in names}) == len(set(names))


def test_names_of_64_characters_are_read(mysql: Server) -> None:
    name = "l" * 64
    mysql.execute(f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY)", f"INSERT INTO {{s}}.{name} VALUES (1)")
    assert mysql.rows(name)[0]["id"].to_pylist() == [1]


def test_a_prefix_gives_a_tenant_its_own_tables_only(server: Server, prefixed: str) -> None:
    for key, its in (("1", "a"), ("12", "b"), ("121", "c")):
        name = server.quoted(f"{prefixed}{key}_patient")
        server.execute(f"CREATE TABLE {{s}}.{name} (id VARCHAR(9) PRIMARY KEY)", f"INSERT INTO {{s}}.{name} VALUES ('{its}')")
    wildcard = server.quoted(f"{prefixed}12xpatient")
    server.execute(f"CREATE TABLE {{s}}.{wildcard} (id VARCHAR(9) PRIMARY KEY)")
    for key, its in (("1", "a"), ("12", "b"), ("121", "c")):
        assert found(server, tenant(key), prefix={"schema": server.schema, "prefix": prefixed + "{key}_"}) == {"patient": [its]}


@pytest.mark.parametrize("prefix", ["t{key}", "t{key}x", "{tenant}_", "t_"])
def test_a_prefix_that_could_begin_another_tenants_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        Source.model_validate({"engine": "mysql", "url": "env:X", "tenancy": {"prefix": {"schema": "s", "prefix": prefix}}})


def test_a_key_that_could_begin_another_tenants_prefix_is_refused() -> None:
    source = Source.model_validate({"engine": "mysql", "url": "env:X", "tenancy": {"prefix": {"schema": "s", "prefix": "t{key}_"}}})
    assert place("lis", source, tenant("12")).prefix == "t12_"
    with pytest.raises(ConfigError, match="letters and digits") as raised:
        place("lis", source, tenant("12_3"))
    assert raised.value.tenant == "t_12_3"


@pytest.mark.parametrize("kind", ["VARCHAR(9)", "CHAR(9)", "INT", "BIGINT"])
def test_a_discriminator_gives_a_tenant_its_own_rows_only(server: Server, kind: str) -> None:
    name = f"pooled_{uuid.uuid4().hex[:8]}"
    server.execute(
        f"CREATE TABLE {{s}}.{name} (tenant_id {kind}, id INT NOT NULL, PRIMARY KEY (tenant_id, id))",
        f"INSERT INTO {{s}}.{name} VALUES ('12', 1), ('12', 2), ('1', 3), ('121', 4), ('0', 1)",
    )
    tenancy = {"schema": server.schema, "column": "tenant_id", "value": "{key}"}
    for key, expected in (("12", [1, 2]), ("1", [3]), ("121", [4]), ("9", [])):
        catalog = server.crawl(tenant(key), tenancy={"discriminator": tenancy}, include=[name])
        assert sorted(read(catalog.tables[0], server.url)[0]["id"].to_pylist()) == expected
        assert catalog.tables[0].key == ("id",)
    server.execute(f"DROP TABLE {{s}}.{name}")


def test_a_discriminator_is_compared_to_the_letter(server: Server) -> None:
    name = f"pooled_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE TABLE {{s}}.{name} (tenant_id VARCHAR(9), id INT NOT NULL, PRIMARY KEY (tenant_id, id))")
    for number, key in enumerate(("abc", "ABC", "äbc", "abc  ")):
        # MySQL takes the last two for `abc` by its usual collations
        server.execute(f"INSERT INTO {{s}}.{name} VALUES ('{key}', {number})")
    its = server.crawl(
        tenant("abc"), tenancy={"discriminator": {"schema": server.schema, "column": "tenant_id", "value": "{key}"}}, include=[name]
    ).tables[0]
    table, facts = read(its, server.url)
    assert table.to_pydict() == {"tenant_id": ["abc"], "id": [0]}
    assert facts.proof
    assert facts.proof.rows == 1
    server.execute(f"DROP TABLE {{s}}.{name}")


def test_a_pooled_schemas_table_without_the_discriminator_is_left_out_and_said_so(server: Server) -> None:
    server.execute("CREATE TABLE {s}.of_nobody (id INT PRIMARY KEY)", "CREATE TABLE {s}.excluded (id INT PRIMARY KEY)")
    tenancy = {"discriminator": {"schema": server.schema, "column": "tenant_id", "value": "{key}"}}
    catalog = server.crawl(tenancy=tenancy, include=["of_nobody", "excluded"], exclude=["excl*"])
    assert catalog.tables == ()
    assert "no column tenant_id" in catalog.left_out["of_nobody"]
    assert catalog.left_out["excluded"] == "excluded by configuration"


def test_a_numeric_discriminator_for_a_tenant_whose_key_is_no_number_is_a_clear_error(server: Server) -> None:
    server.execute("CREATE TABLE {s}.numbered (tenant_id INT, id INT NOT NULL, PRIMARY KEY (tenant_id, id))")
    its = server.crawl(
        tenant("abc"), tenancy={"discriminator": {"schema": server.schema, "column": "tenant_id", "value": "{key}"}}, include=["numbered"]
    ).tables[0]
    with pytest.raises(ConfigError, match="numeric") as raised:
        read(its, server.url)
    assert (raised.value.tenant, raised.value.table) == ("t_abc", "lis.numbered")


def test_where_a_source_offers_several_layouts_the_registry_must_name_one() -> None:
    tenancy = {"schema": {"schema": "lab_{tenant}"}, "discriminator": {"schema": "pooled", "column": "t", "value": "{key}"}}
    source = Source.model_validate({"engine": "mysql", "url": "env:X", "tenancy": tenancy})
    with pytest.raises(ConfigError, match="schema, discriminator"):
        place("lis", source, AURORA)
    named = AURORA.model_copy(update={"layouts": {"lis": "discriminator"}})
    assert place("lis", source, named).discriminator == ("t", "12")
    assert place("lis", source, AURORA.model_copy(update={"layouts": {"lis": "schema"}})).schema == "lab_aurora"
    with pytest.raises(ConfigError):
        place("lis", source, AURORA.model_copy(update={"layouts": {"lis": "prefix"}}))


def test_a_missing_schema_names_the_source_and_the_remedy(server: Server) -> None:
    with pytest.raises(SourceError, match="no schema lab_insights_test_gone") as raised:
        server.crawl(tenancy={"schema": {"schema": "lab_insights_test_gone"}})
    assert raised.value.tenant == "aurora"
    assert "layout" in raised.value.remedy


@pytest.mark.parametrize("change", ["DROP TABLE {s}.moving", "ALTER TABLE {s}.moving DROP COLUMN note"])
def test_a_table_that_changed_between_crawl_and_load_is_a_clear_error(server: Server, change: str) -> None:
    server.execute("CREATE TABLE {s}.moving (id INT PRIMARY KEY, note VARCHAR(9))", "INSERT INTO {s}.moving VALUES (1, 'secret')")
    its = server.table("moving")
    server.execute(change)
    with pytest.raises(SourceError, match="gone since it was crawled") as raised:
        read(its, server.url)
    assert (raised.value.tenant, raised.value.table) == ("aurora", "lis.moving")
    assert "crawl" in raised.value.remedy
    server.execute("DROP TABLE IF EXISTS {s}.moving")


def test_a_keyless_table_keeps_its_doubled_rows(server: Server) -> None:
    server.execute("CREATE TABLE {s}.keyless (a INT, b VARCHAR(9))", "INSERT INTO {s}.keyless VALUES (1, 'x'), (1, 'x'), (NULL, NULL)")
    found_plan = plan(server.table("keyless"))
    assert (found_plan.load, found_plan.key) == ("full", ())
    assert server.rows("keyless")[0].num_rows == 3


def test_an_empty_table_has_its_schema_and_the_sources_count(server: Server) -> None:
    server.execute("CREATE TABLE {s}.empty (id INT PRIMARY KEY, d DECIMAL(5,2))")
    table, facts = server.rows("empty")
    assert table.schema == pa.schema([("id", pa.int32()), ("d", pa.decimal128(5, 2))])
    assert facts.proof
    assert facts.proof.rows == 0


def test_a_catalog_finds_its_tables_by_their_lake_id(server: Server) -> None:
    server.execute("CREATE TABLE {s}.sought (id INT PRIMARY KEY)")
    catalog = server.crawl(include=["sought"], user_defined=["sou*"])
    its = catalog.table("lis.sought")
    assert its
    assert its.user_defined
    assert catalog.table("lis.other") is None
    assert dataclasses.replace(its, name="Other").table_id.startswith("lis.other-")
