"""User-defined fields of every storage shape end as one long table, named and typed by the definitions that the tenant's customers gave."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from lab_insights.errors import ConfigError
from lab_insights.lab import contracts as module
from lab_insights.lab.contracts import contracts
from lab_insights.lab.mappings import every
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Kind
from lab_insights.names import TenantId
from lab_insights.verify.derivations import curations
from lab_insights.verify.derived import verify_derived
from lab_insights_tests.lab.world import STAMP, Lab, at

TEXTS = [(f"text_{n}", pa.string()) for n in range(1, 11)]
CONTACT = pa.schema(
    [
        ("id", pa.int64()),
        ("is_provider", pa.int8()),
        *TEXTS,
        ("numeric_1", pa.decimal128(18, 6)),
        ("date_1", pa.date32()),
        ("date_1__text", pa.string()),
        ("updated_at", STAMP),
    ]
)
TASK = pa.schema([("id", pa.int64()), *TEXTS, ("updated_at", STAMP)])
SIDE = pa.schema(
    [("id_c", pa.int64()), ("vip_c", pa.int8()), ("cut_off_c", pa.string()), ('x"; DROP TABLE y_c', pa.string()), ("note", pa.string())]
)
DEFINITION = pa.schema(
    [("id", pa.int64()), *((n, pa.string()) for n in ("record_type", "slot", "label", "udf_type", "picklist")), ("updated_at", STAMP)]
)
Rows = list[dict[str, Any]]


@pytest.fixture
def lab(lake: Lake, tenant: TenantId) -> Lab:
    return Lab(lake, tenant)


def tell(lab: Lab, number: int, contacts: Rows = [], definitions: Rows = [], sides: Rows | None = None, kind: Kind = "delta") -> None:  # noqa: B006 (never changed)
    """Land and curate a day of contacts, side rows and definitions."""
    stamped = [{"updated_at": at(number), **row} for row in contacts]
    lab.land("crm.contact", number, stamped, CONTACT, kind=kind)
    if sides is not None:
        lab.land("crm.accounts_cstm", number, sides, SIDE, kind="snapshot", key=("id_c",), cursor=None)
    lab.land(
        "crm.udf_definition",
        number,
        [{"record_type": "contact", "updated_at": at(number), **row} for row in definitions],
        DEFINITION,
        kind=kind,
    )
    lab.curate("crm.udf_definition", number, contracts()["udf_definition"])
    lab.curate("udf_value", number, contracts()["udf_value"])


def long(lab: Lab, number: int) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(row["record_type"], row["record_id"], row["slot"]): row for row in lab.transform("udf_value_long", number)}


TYPED = {
    ("checkbox", "yes"): ("value_flag", True),
    ("checkbox", "0"): ("value_flag", False),
    ("checkbox", "perhaps"): ("value_flag", None),
    ("date", "2026-02-28"): ("value_date", date(2026, 2, 28)),
    ("date", "2026-02-30"): ("value_date", None),
    ("datetime", "2026-03-01T10:00:00+02:00"): ("value_at", datetime(2026, 3, 1, 8)),
    ("datetime", "2026-03-01 10:00:00.5-0530"): ("value_at", datetime(2026, 3, 1, 15, 30, 0, 500000)),
    ("datetime", "tomorrow"): ("value_at", None),
    ("numeric", "12.50"): ("value_num", Decimal("12.5")),
    ("percentage", "0.10"): ("value_num", Decimal("0.1")),
    ("percentage", "50"): ("value_num", Decimal("0.5")),
    ("multi-picklist", 'red^"blue"'): ("value_list", '["red","\\"blue\\""]'),
    ("picklist", "red"): ("value_text", "red"),
    ("related record", "a@example.org"): ("value_text", "a@example.org"),
}


def test_slots_go_by_the_names_and_types_that_their_definitions_give(lab: Lab) -> None:
    first, rest = list(TYPED)[:10], list(TYPED)[10:]

    def defined(record_type: str, number: int, kind: str) -> dict[str, Any]:
        key = len(record_type) * 100 + number
        return {"id": key, "record_type": record_type, "slot": f"text_{number}", "label": f"{record_type} {number}", "udf_type": kind}

    cases = [("contact", first), ("task", rest)]
    definitions = [defined(of, number, kind) for of, its in cases for number, (kind, _) in enumerate(its, start=1)]
    held = {of: {f"text_{number}": value for number, (_, value) in enumerate(its, start=1)} for of, its in cases}
    lab.land("crm.task", 1, [{"id": 1, "updated_at": at(1), **held["task"]}], TASK, kind="snapshot")
    tell(lab, 1, [{"id": 7, "is_provider": 0, **held["contact"]}], definitions, kind="snapshot")
    rows = long(lab, 1)
    assert {key[:2] for key in rows} == {("contact", "7"), ("task", "1")}, "a contact who is no provider has fields too"
    assert len(rows) == len(TYPED), "what holds nothing is no field"
    for of, its in cases:
        for number, case in enumerate(its, start=1):
            row, (column, value) = rows[of, "7" if of == "contact" else "1", f"text_{number}"], TYPED[case]
            assert (row["label"], row["udf_type"], row["is_current"]) == (f"{of} {number}", case[0], True), case
            assert (row["value_text"], row[column]) == (case[1], value), case


def test_columns_of_side_tables_go_by_their_own_names_and_types_whatever_they_are_called(lab: Lab) -> None:
    hostile = 'x"; DROP TABLE y_c'
    tell(lab, 1, sides=[{"id_c": 9, "vip_c": 2, "cut_off_c": "17:30", hostile: "z", "note": "none of ours"}], kind="snapshot")
    rows = {key: (row["label"], row["udf_type"], row["value_text"], row["value_num"]) for key, row in long(lab, 1).items()}
    assert rows == {
        ("account", "9", "vip_c"): ("vip_c", "numeric", "2", Decimal(2)),
        ("account", "9", "cut_off_c"): ("cut_off_c", "text", "17:30", None),
        ("account", "9", hostile): (hostile, "text", "z", None),
    }


def test_what_a_slot_type_can_not_hold_is_its_value_all_the_same(lab: Lab) -> None:
    tell(lab, 1, [{"id": 1, "date_1__text": "0000-00-00"}, {"id": 2, "date_1": date(2026, 1, 2)}], kind="snapshot")
    assert {key: (row["value_text"], row["value_date"]) for key, row in long(lab, 1).items()} == {
        ("contact", "1", "date_1"): ("0000-00-00", None),
        ("contact", "2", "date_1"): ("2026-01-02", date(2026, 1, 2)),
    }


def test_a_renamed_slot_has_its_new_name_for_every_value_and_only_its_slot_is_made_again(lab: Lab) -> None:
    shape = {"slot": "text_1", "udf_type": "picklist"}
    tell(lab, 1, [{"id": 1, "text_1": "a", "text_2": "b"}], [{"id": 1, "label": "Colour", **shape}], kind="snapshot")
    tell(lab, 2, definitions=[{"id": 1, "label": "Hue", **shape}])
    assert {key: (row["label"], row["is_current"]) for key, row in long(lab, 2).items()} == {("contact", "1", "text_1"): ("Hue", True)}


def test_values_of_a_slot_that_is_used_again_keep_the_name_that_they_were_written_under(lab: Lab) -> None:
    tell(lab, 1, [{"id": n, "text_1": "yes", "text_2": "no"} for n in (1, 2)],
         [{"id": n, "slot": f"text_{n}", "label": f"Old {n}", "udf_type": "checkbox"} for n in (1, 2)], kind="snapshot")  # fmt: skip
    # One definition is replaced by another, one is changed in place.
    again = {"id": 9, "record_type": "contact", "slot": "text_1", "label": "New 1", "udf_type": "date", "updated_at": at(3)}
    lab.land("crm.udf_definition", 3, [again], DEFINITION)
    tell(lab, 3, definitions=[{"id": 2, "slot": "text_2", "label": "New 2", "udf_type": "date"}])
    tell(lab, 4, [{"id": 2, "text_1": "2026-01-02", "text_2": "2026-01-03"}])
    found = {
        key: (row["label"], row["is_current"], row["value_flag"], row["value_date"])
        for key, row in {**long(lab, 3), **long(lab, 4)}.items()
    }
    assert found == {
        ("contact", "1", "text_1"): ("Old 1", True, True, None),  # its definition is there still
        ("contact", "1", "text_2"): ("Old 2", False, False, None),
        ("contact", "2", "text_1"): ("New 1", True, None, date(2026, 1, 2)),
        ("contact", "2", "text_2"): ("New 2", True, None, date(2026, 1, 3)),
    }


def test_a_value_that_is_emptied_is_a_tombstone(lab: Lab) -> None:
    tell(lab, 1, [{"id": 1, "text_1": "a"}], kind="snapshot")
    tell(lab, 2, [{"id": 1}])
    assert {key: (row["value_text"], row["is_deleted"]) for key, row in long(lab, 2).items()} == {("contact", "1", "text_1"): (None, True)}


def test_a_side_table_that_is_read_alone_leaves_the_fields_of_the_other_tables_of_its_source(lab: Lab) -> None:
    tell(lab, 1, [{"id": 1, "text_1": "a"}], sides=[{"id_c": 9, "note": "n", "cut_off_c": "17:30"}], kind="snapshot")
    lab.land("crm.accounts_cstm", 2, [{"id_c": 9, "cut_off_c": "18:00"}], SIDE, kind="snapshot", key=("id_c",), cursor=None)
    alone = lab.curate("udf_value", 2, contracts()["udf_value"])
    assert {
        (row["record_type"], row["value_raw"], row["is_deleted"]) for row in lab.rows(alone) if row["slot"] in {"text_1", "cut_off_c"}
    } == {("account", "18:00", False)}
    assert (alone.kind, alone.counts.get("absent", 0)) == ("delta", 0)
    lab.land("crm.contact", 2, [], CONTACT, kind="snapshot")
    whole = lab.curate("udf_value", 2, contracts()["udf_value"])
    assert (whole.kind, {row["record_id"] for row in lab.rows(whole)}) == ("snapshot", {"9"}), "every table of the source, each whole"


def test_every_row_of_a_source_is_accounted_for(lab: Lab) -> None:
    tell(lab, 1, [{"id": 1, "text_1": "a"}, {"id": 2}], sides=[{"id_c": 9}], kind="snapshot")
    derived = {of.table: of for of in curations(lab.lake, lab.tenant)}
    for table in ("udf_value", "udf_definition"):
        found = verify_derived(lab.lake, lab.tenant, derived[table], None, ())
        assert {each.status for each in found} == {"ok"}, found


VALUES = {
    "into": "udf_value",
    "source": {"name": "crm", "table": "field_value", "key": ["field", "owner"], "cursor": "updated_at"},
    "columns": {
        "record_type": {"always": "campaign"}, "record_id": {"from": "owner"}, "slot": {"from": "field"}, "value_raw": {"from": "value"},
        "value_type": {"always": "string"}, "updated_at": {"from": "updated_at"},
    },
}  # fmt: skip


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "values.yaml").write_text(yaml.safe_dump(VALUES))
    module.use(tmp_path)
    yield tmp_path / "mappings"
    module.use(None)


def test_a_table_of_definitions_and_values_is_mapped_by_a_file(deployed: Path, lab: Lab) -> None:
    schema = pa.schema([("field", pa.int64()), ("owner", pa.string()), ("value", pa.string()), ("updated_at", STAMP)])
    lab.land(
        "crm.field_value", 1, [{"field": 5, "owner": "c1", "value": "2026-04-01", "updated_at": at(1)}], schema, key=("field", "owner")
    )
    tell(lab, 1, definitions=[{"id": 5, "slot": "5", "label": "Ends", "udf_type": "date", "record_type": "campaign"}], kind="snapshot")
    [row] = long(lab, 1).values()
    assert (row["record_id"], row["label"], row["value_date"]) == ("c1", "Ends", date(2026, 4, 1))


def test_a_second_mapping_needs_a_record_type_of_its_own(deployed: Path) -> None:
    assert len(list(every())) > 0
    wrong = {**VALUES, "columns": {**VALUES["columns"], "record_type": {"always": "contact"}}}  # type: ignore[dict-item]
    (deployed / "values.yaml").write_text(yaml.safe_dump(wrong))
    module.use(None)
    module.use(deployed.parent / ".." / deployed.parent.name)
    with pytest.raises(ConfigError, match="the table has another source"):
        list(every())
