"""Identities: codes belong to a connection, and merges are followed to their end."""

from __future__ import annotations

import ibis
import pyarrow as pa

from lab_insights.lab import identities
from lab_insights.lab.engine import Duck, Query

CODES = ibis.table({"record_type": "string", "connection_id": "string", "host_code": "string", "record_id": "string"}, name="codes")
PATIENTS = ibis.table({"patient_id": "string", "merged_into_patient_id": "string"}, name="patients")
BY_CODE = Query(identities.records_by_code(CODES, "account"))
SURVIVORS = Query(identities.survivors(PATIENTS))


def accounts(*rows: tuple[str, str, str, str]) -> dict[tuple[str, str], str]:
    data = pa.Table.from_pylist([dict(zip(CODES.columns, row, strict=True)) for row in rows])
    with Duck({"codes": data}) as engine:
        engine.run(BY_CODE)
        found = engine.table().to_pylist()
    assert len({(row["code_connection"], row["code"]) for row in found}) == len(found), "a pair is one record"
    return {(row["code_connection"], row["code"]): row["record_id"] for row in found}


def ends(**merges: str | None) -> dict[str, str]:
    schema = pa.schema([("patient_id", pa.string()), ("merged_into_patient_id", pa.string())])
    data = pa.table({"patient_id": list(merges), "merged_into_patient_id": list(merges.values())}, schema=schema)
    with Duck({"patients": data}) as engine:
        engine.run(SURVIVORS)
        found = engine.table().to_pylist()
    assert len(found) == len(merges), "each patient once"
    return {row["person"]: row["survivor"] for row in found}


def test_the_same_code_at_two_connections_is_two_accounts() -> None:
    assert accounts(("account", "lis", "A1", "1"), ("account", "fin", "A1", "2")) == {("lis", "A1"): "1", ("fin", "A1"): "2"}


def test_a_record_has_several_codes_packed_or_not_and_those_of_other_records_are_not_its() -> None:
    found = accounts(("account", "lis^fin", "Org1^Fin9", "1"), ("account", "old", "X", "1"), ("contact", "lis", "Org1", "7"))
    assert found == {("lis", "Org1"): "1", ("fin", "Fin9"): "1", ("old", "X"): "1"}


def test_lists_of_unequal_length_give_the_pairs_that_are_whole() -> None:
    assert accounts(("account", "lis^fin", "A1", "1"), ("account", "lis", "B1^B2", "2"), ("account", "lis", "", "3")) == {
        ("lis", "A1"): "1",
        ("lis", "B1"): "2",
    }


def test_a_code_that_two_records_claim_is_the_same_ones_in_any_order() -> None:
    rows = [("account", "lis", "A1", "2"), ("account", "lis", "A1", "1")]
    assert accounts(*rows) == accounts(*rows[::-1]) == {("lis", "A1"): "1"}


def test_merges_are_followed_over_several_hops() -> None:
    assert ends(a="b", b="c", c="d", d=None, e=None) == {"a": "d", "b": "d", "c": "d", "d": "d", "e": "e"}


def test_a_merge_that_was_undone_leaves_its_patients_themselves() -> None:
    assert ends(a="b", b=None, c=None) == {"a": "b", "b": "b", "c": "c"}


def test_circles_and_chains_that_are_too_long_are_followed_nowhere_and_a_survivor_that_is_not_there_is_kept() -> None:
    assert ends(x="y", y="x", z="x", s="s", a="gone") == {"x": "x", "y": "y", "z": "z", "s": "s", "a": "gone"}
    long = {f"p{number}": f"p{number + 1}" for number in range(identities.HOPS)}
    assert ends(**long, **{f"p{identities.HOPS}": None})["p0"] == f"p{identities.HOPS}"
    assert ends(q="p0", **long, **{f"p{identities.HOPS}": None})["q"] == "q"
