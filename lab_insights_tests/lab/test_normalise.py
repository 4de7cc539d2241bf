"""Source values are read where they plainly say one thing, and stay as they are beside what was read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import ibis
import pyarrow as pa
import pytest

from lab_insights.lab import normalise
from lab_insights.lab.contracts import contracts
from lab_insights.lab.curate import Curation, curated
from lab_insights.lab.engine import Duck
from lab_insights.lab.mappings import mappings
from lab_insights.lab.terminology import CODED_TYPES, UCUM, UNITS, UNNUMBERED
from lab_insights_tests.lab.world import STAMP, at

FIELDS = ("value_num", "value_operator", "value_low", "value_high", "value_code", "value_text")


def curate(table: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Curate rows of a contract's source table, whose key is their number, and return them in that order."""
    contract = contracts()[table]
    key, cursor = contract.source.key, contract.source.cursor
    names = sorted({*key, *(column.source for column in contract.columns if column.source), "is_provider"})
    schema = pa.schema([(name, STAMP if name.endswith("_at") else pa.string()) for name in names])
    whole = pa.schema([*schema, ("__batch", pa.string()), ("__ingested_at", STAMP), ("__tenant", pa.string()), ("__gone_at", STAMP)])
    told = {"__batch": "b", "__ingested_at": at(1), "__tenant": "t"}
    given = [{key[-1]: f"{number:03d}", cursor: at(1), **told, **row} for number, row in enumerate(rows)]
    with Duck({"raw": pa.Table.from_pylist(given, whole)}) as engine:
        engine.run(curated(schema, Curation("lis", key, cursor, contract, mappings()[table][0])))
        return engine.table().sort_by("source_pk").to_pylist()  # type: ignore[no-any-return]


def read(parser: normalise.Parser, texts: list[str | None]) -> dict[str | None, Any]:
    """What a parser that looks at nothing else reads in texts."""
    rows = ibis.table({"told": "string"}, name="rows")
    told = rows.mutate(text=normalise.text(parser, rows.told))
    expression = told.select("told", read=normalise.parse(parser, told.text))
    with Duck({"rows": pa.table({"told": pa.array(texts, pa.string())})}) as engine:
        found = engine._connection.execute(str(ibis.to_sql(expression, dialect="duckdb"))).fetchall()
    return dict(found)


VALUES: dict[str | None, tuple[Any, ...]] = {
    # number, operator, low, high, code, text
    "5.1": ("5.1", None, None, None, None, None),
    " -0.5 ": ("-0.5", None, None, None, None, None),
    "<0.1": ("0.1", "<", None, None, None, None),
    "> 1000": ("1000", ">", None, None, None, None),
    "≤5": ("5", "<=", None, None, None, None),
    ">=60": ("60", ">=", None, None, None, None),
    "=171": ("171", None, None, None, None, None),
    "=1:80": (None, ":", "1", "80", None, None),
    "1:80": (None, ":", "1", "80", None, None),
    ">1:1280": (None, ">", "1", "1280", None, None),
    "3-5": (None, "-", "3", "5", None, None),
    "-2 to 2.5": (None, "-", "-2", "2.5", None, None),
    "5-3": (None, None, None, None, None, "5-3"),
    "555-0123 ext": (None, None, None, None, None, "555-0123 ext"),
    "2026-03-01": (None, None, None, None, None, "2026-03-01"),
    "1,5": (None, None, None, None, None, "1,5"),
    "1e3": (None, None, None, None, None, "1e3"),
    "Neg": (None, None, None, None, "260385009", "Neg"),
    "2+": (None, None, None, None, "260348001", "2+"),
    "hemolyzed": (None, None, None, None, None, "hemolyzed"),
    ">100,000 CFU/mL Escherichia coli": (None, None, None, None, None, ">100,000 CFU/mL Escherichia coli"),
    "1.020,6.5,neg": (None, None, None, None, None, "1.020,6.5,neg"),
    "": (None,) * 6,
    None: (None,) * 6,
}


def test_a_value_is_a_number_a_comparison_a_titer_a_range_a_word_or_a_text() -> None:
    rows = curate("result", [{"value_raw": text, "value_type": "ST"} for text in VALUES])
    found = {row["value_raw"]: tuple(row[name] for name in FIELDS) for row in rows}
    assert found == {
        text: tuple(Decimal(each) if each and place in {0, 2, 3} else each for place, each in enumerate(told))
        for text, told in VALUES.items()
    }
    assert {row["value_raw"] for row in rows} == set(VALUES), "source values are never overwritten"


def test_a_coded_value_is_its_code_its_system_and_its_name() -> None:
    [coded, plain] = curate(
        "result", [{"value_raw": "112283007^Escherichia coli^SCT", "value_type": "CWE"}, {"value_raw": "trace", "value_type": "ST"}]
    )
    assert (coded["value_code"], coded["value_code_system"], coded["value_text"]) == ("112283007", "SCT", "Escherichia coli")
    assert (plain["value_code"], plain["value_code_system"], plain["value_text"]) == ("260405006", "SCT", "trace")


@pytest.mark.parametrize("kind", UNNUMBERED)
def test_the_digits_of_a_code_a_day_or_a_time_are_no_number(kind: str) -> None:
    rows = curate("result", [{"value_raw": text, "value_type": kind} for text in ("10828004", "<5", "1:80", "3-5")])
    assert [[row[name] for name in FIELDS[:4]] for row in rows] == [[None] * 4] * 4
    assert {row["value_code"] if kind in CODED_TYPES else row["value_text"] for row in rows} == {row["value_raw"] for row in rows}


def test_units_become_ucum_by_their_spelling_and_unknown_ones_nothing() -> None:
    spelt = {
        "mg/dl": "mg/dL",
        "MG/DL": "mg/dL",
        "x10E3/uL": "10*3/uL",
        "K/µL": "10*3/uL",
        "mEq/L": "meq/L",
        "uIU/mL": "u[IU]/mL",
        "titer": "{titer}",
    }
    spelt |= {"μg / dL": "ug/dL", "mL/min/1.73m2": "mL/min/{1.73_m2}", "%": "%"}
    unknown = dict.fromkeys(["furlong", "", None])
    assert read("ucum", [*spelt, *unknown]) == spelt | unknown
    assert read("ucum", list(UCUM)) == {unit: unit for unit in UCUM}, "a unit of UCUM is itself"
    assert set(UNITS.values()) == set(UCUM)


@pytest.mark.parametrize(
    ("raw", "low", "high"),
    [
        ("3.5-5.1", "3.5", "5.1"),
        ("(3.5 – 5.1)", "3.5", "5.1"),
        ("<0.4", None, "0.4"),
        (">=60", "60", None),
        ("-2--1", "-2", "-1"),
        ("<1:40", None, None),
        ("negative", None, None),
        ("5.1-3.5", None, None),
        (None, None, None),
    ],
)
def test_a_reference_range_has_the_ends_that_it_names(raw: str | None, low: str | None, high: str | None) -> None:
    [row] = curate("result", [{"range_raw": raw}])
    assert (row["range_raw"], row["range_low"], row["range_high"]) == (raw, low and Decimal(low), high and Decimal(high))


def test_abnormal_is_said_by_the_flag_and_without_one_by_the_range() -> None:
    cases: dict[tuple[str | None, str | None, str | None], tuple[bool | None, bool | None]] = {
        ("H", "4.0", "3-5"): (True, False),
        ("HH", "9", "3-5"): (True, True),
        ("AA", "x", None): (True, True),
        ("N", "9", "3-5"): (False, False),
        (None, "9", "3-5"): (True, False),
        (None, "4", "3-5"): (False, False),
        (None, "=9", "3-5"): (True, False),
        (None, "4", "<5"): (False, False),
        (None, "<5", "3-5"): (None, False),
        (None, "4", None): (None, False),
        (None, "neg", "3-5"): (None, False),
        ("??", "9", "3-5"): (None, None),
    }
    rows = curate("result", [{"flag_raw": flag, "value_raw": value, "range_raw": bounds} for flag, value, bounds in cases])
    assert {(row["flag_raw"], row["value_raw"], row["range_raw"]): (row["is_abnormal"], row["is_critical"]) for row in rows} == cases


FLAGS: dict[tuple[str, str], str | None] = {
    ("HH", "A"): "critical_high",
    ("H", "LL"): "critical_low",
    ("AA", "H"): "critical_abnormal",
    ("AA", "HH"): "critical_high",
    ("A", "H"): "high",
    ("N", "A"): "abnormal",
    ("N", ">"): "above_scale",
    ("HH", "??"): "critical_high",
    ("??", "H2"): None,
}


@pytest.mark.parametrize("flags", FLAGS, ids="~".join)
def test_of_several_flags_the_gravest_is_meant_in_whichever_order_they_stand(flags: tuple[str, str]) -> None:
    meaning = FLAGS[flags]
    told = [{"flag_raw": "~".join(flags)}, {"flag_raw": "~".join(reversed(flags))}]
    for row in curate("result", told):
        assert (row["flag_norm"], row["is_abnormal"]) == (meaning, meaning and True)
        assert row["is_critical"] == (meaning and meaning.startswith("critical_"))


def test_a_loinc_code_is_the_sources_else_the_declared_ones_and_the_method_says_which() -> None:
    rows = curate(
        "result",
        [
            {"loinc": "2951-2", "component_code": "LDL"},
            {"loinc": None, "component_code": "LDL"},
            {"loinc": "sodium", "component_code": "NA"},
            {"loinc": "", "component_code": None},
        ],
    )
    assert [(row["loinc_raw"], row["loinc"], row["mapping_method"]) for row in rows] == [
        ("2951-2", "2951-2", "source"),
        (None, "13457-7", "local_map"),
        ("sodium", None, "none"),
        ("", None, "none"),
    ]


def test_a_typed_time_of_day_is_read_where_it_is_one() -> None:
    times = {
        "0715": "07:15:00",
        "7:15 AM": "07:15:00",
        "7:15 p.m.": "19:15:00",
        "12:05 am": "00:05:00",
        "07h15": "07:15:00",
        "23:59:60": "23:59:59",
    }
    times |= {"715": "07:15:00", "1300": "13:00:00"}
    unreadable = dict.fromkeys(["approx. 7", "early", "25:00", "13:00 PM", "7", "", None])
    assert read("time_of_day", [*times, *unreadable]) == times | unreadable


def test_both_spellings_of_a_percentage_are_a_share() -> None:
    shares = {"0.10": "0.1", "50": "0.5", "0.75": "0.75", "50 %": "0.5", "0.5%": "0.005", "1": "1", "100": "1"}
    assert read("share", [*shares, "101", "-1", "likely", None]) == {
        **{text: Decimal(share) for text, share in shares.items()},
        **dict.fromkeys(["101", "-1", "likely", None]),
    }


def test_zero_dates_and_the_epoch_stay_what_they_are() -> None:
    [visit] = curate("encounter", [{"discharged_on": None, "discharged_on__text": "0000-00-00", "arrival_text": "early"}])
    assert (visit["discharged_on"], visit["discharged_on_raw"], visit["arrival_raw"], visit["arrival_time"]) == (
        None,
        "0000-00-00",
        "early",
        None,
    )
    [tube] = curate("specimen", [{"received_at": at(1).replace(year=1970, month=1, day=1, hour=0), "collected_at": at(1, 0)}])
    assert (tube["received_at"].year, tube["collected_at"]) == (1970, at(1, 0))


def test_a_contact_that_is_no_provider_is_a_tombstone() -> None:
    rows = curate("provider", [{"is_provider": "1"}, {"is_provider": "0"}, {"is_provider": None}])
    assert [row["is_deleted"] for row in rows] == [False, True, True]
