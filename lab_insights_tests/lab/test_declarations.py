"""What contracts declare: each is one table of one source, and none says what can not be."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from pydantic import ValidationError

from lab_insights.errors import ConfigError
from lab_insights.governance.classes import phi_class
from lab_insights.lab import contracts as module
from lab_insights.lab import types, unpivot
from lab_insights.lab.contracts import Contract, contracts
from lab_insights.lab.curate import META, contract_schema
from lab_insights.lab.declared import by_raw_table, curated_from, declared
from lab_insights.lab.kpis import INPUTS, Input
from lab_insights.lab.mappings import every
from lab_insights.lab.records import FIELDS, schema
from lab_insights.lab.transform import META_COLUMNS
from lab_insights.lab.wide import WIDE_TABLES

MINIMAL = {
    "table": "t",
    "domain": "crm",
    "description": "d",
    "key": ["a"],
    "source": {"name": "crm", "table": "x", "key": ["id"]},
    "columns": [{"name": "a", "type": "string", "from": "id", "phi": "none", "description": "d"}],
}


def test_every_raw_table_has_one_contract_at_most_and_is_known_by_it() -> None:
    assert len(by_raw_table()) == len({mapping.raw for _, mapping in every() if mapping.source.whole})
    assert by_raw_table()["lis.result"] == contracts()["result"]
    assert declared()["lis.result"].cursor == "updated_at"
    assert "notified_to" in declared()["notifications.critical_notification"].columns
    assert {mapping.source.name for _, mapping in every()} == {"crm", "lis", "audit", "messages", "notifications"}


@pytest.mark.parametrize("contract", [each for each in contracts().values() if each.source], ids=lambda contract: contract.table)
def test_a_contracts_key_is_read_from_its_sources_key(contract: Contract) -> None:
    assert contract.source
    key = [column.source for column in contract.columns if column.name in contract.key and column.parse != "version"]
    assert key == list(contract.source.key)
    assert set(META) <= set(contract_schema(contract).names)
    assert contract.columns[0].description.endswith((".", ".)"))


def test_a_raw_table_becomes_every_table_that_reads_it_and_one_without_a_contract_itself() -> None:
    made = curated_from("messages.message")
    assert "message_log" in made
    read = {mapping.source.records for contract, mapping in every() if contract.table in made and mapping.raw == "messages.message"}
    assert read == {None, *FIELDS}
    assert set(curated_from("lis.result")) == {"result", "result_version"}
    assert curated_from("crm.udt_equipment") == {"crm.udt_equipment": None}


@pytest.mark.parametrize("each", INPUTS.values(), ids=lambda each: each.table)
def test_what_kpis_read_is_modelled_under_that_name(each: Input) -> None:
    wide = {wide.table: {field.name for field in wide.fields} | {*META_COLUMNS} for wide in WIDE_TABLES}
    modelled = {contract.table: {column.name for column in contract.columns} for contract in contracts().values()}
    assert set(each.columns) <= (modelled if each.layer == "curated" else wide)[each.table]


@pytest.mark.parametrize(
    "contract", [each for each in contracts().values() if each.source and each.source.records], ids=lambda contract: contract.table
)
def test_a_contract_of_records_covers_them(contract: Contract) -> None:
    assert contract.source
    assert {column.source for column in contract.columns} == set(schema(contract.source.records or "reject").names)


@pytest.mark.parametrize("wide", WIDE_TABLES, ids=lambda wide: wide.table)
def test_a_wide_table_declares_its_key_and_reads_modelled_tables(wide: object) -> None:
    its = next(each for each in WIDE_TABLES if each is wide)
    assert set(its.key) <= {field.name for field in its.fields}
    assert set(its.inputs) <= set(contracts())


def test_the_reference_has_every_column_and_the_grain_of_every_wide_table() -> None:
    spec = importlib.util.spec_from_file_location("generated_tables", Path(__file__).parents[2] / "docs" / "generated_tables.py")
    assert spec
    assert spec.loader
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    parts = dict(part.split("\n", 1) for part in page.page().split("\n### "))
    for wide in WIDE_TABLES:
        assert f"One row per {', '.join(f'`{name}`' for name in wide.key)}." in parts[wide.table]
        for field in wide.fields:
            assert f"| `{field.name}` | {field.type} | {phi_class('transformed', wide.table, field.name)} |" in parts[wide.table]
    assert all(f"| `{name}` |" in parts["<table>_long"] for name in unpivot.COLUMNS)
    assert set(contracts()) <= set(parts)


def test_a_changed_contract_has_another_version() -> None:
    one = Contract.model_validate(MINIMAL)
    assert Contract.model_validate(MINIMAL).version == one.version
    assert Contract.model_validate(MINIMAL | {"description": "other"}).version != one.version


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": ["b"]},
        {"columns": MINIMAL["columns"] * 2},  # type: ignore[operator]
        {"table": "No"},
        {"surprise": 1},
        {"columns": [{"name": "a", "type": "decimal(39,1)", "from": "id", "phi": "none", "description": "d"}]},
        {"columns": [{"name": "a", "type": "string", "from": "id", "description": "d"}]},
        {"columns": [{"name": "a", "type": "string", "from": "id", "parse": "magic", "phi": "none", "description": "d"}]},
        {"columns": [{"name": "a", "type": "string", "from": "id", "parse": "loinc", "with": ["b"], "phi": "none", "description": "d"}]},
        {"columns": [{"name": "a", "type": "string", "from": "id", "unmapped": "b", "phi": "none", "description": "d"}]},
    ],
)
def test_a_contract_that_can_not_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Contract.model_validate(MINIMAL | wrong)


def test_a_wrong_contract_is_told_by_its_file_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.yaml").write_text("table: t\ndomain: Cars!\n")
    monkeypatch.setattr(module, "DIRECTORY", tmp_path)
    with pytest.raises(ConfigError, match=r"broken\.yaml: domain"):
        contracts()


@pytest.mark.parametrize("name", types.NAMES)
def test_every_type_has_an_arrow_type(name: str) -> None:
    assert types.valid(name)
    assert types.arrow(name)


def test_decimals_are_bounded_by_what_arrow_and_snowflake_hold() -> None:
    assert str(types.arrow("decimal(38,9)")) == "decimal128(38, 9)"
    assert [types.valid(name) for name in ("decimal(38,38)", "decimal(39,0)", "decimal(5,6)", "decimal(5)", "text")] == [True, *[False] * 4]
