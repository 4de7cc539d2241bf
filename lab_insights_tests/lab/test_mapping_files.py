"""Mapping files: what is mapped is declared and classified, and a file that can not be is told by its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lab_insights.config import Source
from lab_insights.errors import ConfigError
from lab_insights.governance.classes import phi_class, strictest
from lab_insights.lab import contracts as module
from lab_insights.lab.contracts import contracts
from lab_insights.lab.declared import by_raw_table, curated_from, declared, raw_tables, served
from lab_insights.lab.mappings import every, mappings
from lab_insights_tests.lab.world import RIDGELINE

pytestmark = pytest.mark.usefixtures("ridgeline")


def test_what_is_mapped_is_declared_classified_and_served() -> None:
    assert declared()["ridgeline.rslt"].cursor == "chg_ts"
    assert by_raw_table()["ridgeline.ptnt"].table == "patient"
    assert set(curated_from("ridgeline.rslt")) == {"result"}
    assert raw_tables(contracts()["patient"])[0] == "lis.patient"
    assert "ridgeline.ptnt" in raw_tables(contracts()["patient"])
    tenancy = {"discriminator": {"schema": "ridgeline", "column": "tenant_id", "value": "{key}"}}
    source = Source.model_validate({"engine": "postgresql", "url": "env:RIDGELINE", "tenancy": tenancy})
    assert {"patient", "lab_order", "result", "account", "record_host_code", "instrument_check"} == set(served({"ridgeline": source}))
    without = source.model_copy(update={"exclude": ("qc", "rslt")})
    assert {"patient", "lab_order", "account", "record_host_code"} == set(served({"ridgeline": without})), (
        "a table that is left out is expected nowhere"
    )
    assert phi_class("raw", "ridgeline.ptnt", "CHART_NO") == "direct"
    assert phi_class("raw", "ridgeline.ptnt", "remark_nobody_mapped") == "unclassified"
    module.use(None)
    assert "ridgeline.rslt" not in declared()
    assert phi_class("raw", "ridgeline.ptnt", "chart_no") == "unclassified"


def test_every_mapping_reads_its_key_and_its_cursor() -> None:
    mapped = [(contract, mapping) for contract, mapping in every() if not mapping.is_own]
    assert len(mapped) >= 8
    for contract, mapping in mapped:
        its = {column.name: column for column in mapping.read(contract)}
        assert all(its[key].reads or its[key].always for key in contract.key), mapping.raw
        assert any(its[key].reads for key in contract.key), mapping.raw
        assert "updated_at" not in its or its["updated_at"].source in {None, mapping.source.cursor}, mapping.raw


def test_nothing_that_messages_tell_lands_in_a_column_of_a_milder_class() -> None:
    """An id is made of numbers that identify, so its column must say that it does."""
    told = {
        (contract.source.records, column.source): column.phi
        for contract in contracts().values()
        if contract.source
        for column in contract.columns
    }
    # Of records that no table of statements holds a column is what it is called in any other.
    named: dict[str | None, list[Any]] = {}
    for (_, name), phi in told.items():
        named.setdefault(name, []).append(phi)
    for contract, mapping in every():
        if mapping.source.records and not mapping.is_own:
            for column in mapping.read(contract):
                reads = [
                    told.get((mapping.source.records, name), strictest(named.get(name, []))) for name in column.reads if not column.parse
                ]
                assert strictest([column.phi, *reads]) == column.phi, f"{contract.table}.{column.name} of {mapping.raw}"


GOOD: dict[str, Any] = yaml.safe_load((RIDGELINE / "mappings" / "ridgeline" / "patient.yaml").read_text())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"into": "pateint"}, "into: there is no contract of pateint"),
        ({"columns": GOOD["columns"] | {"shoe_size": {"from": "x"}}}, "columns.shoe_size: patient has no such column"),
        ({"columns": {"mrn": {"from": "chart_no"}}}, "columns.patient_id: a key column is not mapped"),
        ({"columns": {"patient_id": {"always": "ridgeline"}}}, "columns.patient_id: a key column is not mapped"),
        ({"columns": {"patient_id": {"from": "pt_no"}}}, "columns.patient_id: the table has another source"),
        ({"columns": {"patient_id": {"id": "pt_no", "from": "x"}}}, "a column has one of"),
        ({"columns": {"patient_id": {"id": "pt_no"}, "birth_date": {"from": "dob", "instant": "M/D"}}}, "a form such as"),
        ({"source": GOOD["source"] | {"name": "lis", "table": "patient"}}, "is mapped into patient already"),
        ({"source": GOOD["source"] | {"table": "rslt"}}, "says another key or cursor"),
        ({"source": {"name": "messages", "table": "message", "key": ["message_id"], "records": "patient"}}, "records have no"),
        ({"split": {"columns": ["a"], "test": "t", "components": {"X": ["A", "A"]}}}, "split: Value error, a split needs"),
        ({"surprise": 1}, "surprise: Extra inputs"),
    ],
)
def test_a_mapping_that_can_not_be_is_told_by_its_file_and_place(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "mappings" / "ridgeline"
    path.mkdir(parents=True)
    result = yaml.safe_load((RIDGELINE / "mappings" / "ridgeline" / "result.yaml").read_text())
    (path / "a_result.yaml").write_text(yaml.safe_dump(result))
    (path / "patient.yaml").write_text(yaml.safe_dump(GOOD | change))
    module.use(tmp_path)
    with pytest.raises(ConfigError) as raised:
        mappings()
    assert str(path / "patient.yaml") in str(raised.value)
    assert told in str(raised.value)
    assert raised.value.remedy


def test_a_contract_that_nothing_feeds_or_that_is_there_already_is_told(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    text = (RIDGELINE / "contracts" / "instrument_check.yaml").read_text()
    (tmp_path / "contracts" / "x.yaml").write_text(text)
    module.use(tmp_path)
    with pytest.raises(ConfigError, match="instrument_check has no source"):
        mappings()
    (tmp_path / "contracts" / "y.yaml").write_text(text.replace("table: instrument_check", "table: patient"))
    module._contracts.cache_clear()
    with pytest.raises(ConfigError, match=r"y\.yaml: table: patient has a contract already"):
        contracts()
