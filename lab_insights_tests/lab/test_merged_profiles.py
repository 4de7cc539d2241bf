"""A patient who was merged has one whole profile, the survivor's: over several hops, whoever told the merge, and on whichever day."""

from __future__ import annotations

from typing import Any

import pytest

from lab_insights.lake.commit import Lake
from lab_insights_tests.lab.telling import HEAD, message, order, oru, patient, tell
from lab_insights_tests.lab.world import Lab, at
from lab_insights_tests.lake.world import fresh_tenant

ACTIVITIES = ("order_count", "result_count", "case_count", "memo_count")
TOLD = ("medication_count", "genomic_result_count", "message_count")
NONE = ((0, 0, 0, 0), None, None, (0, 0, 0))
# What the first has, and what all three have together: the case names the first by its number, and a link the second.
FIRST = ((2, 3, 1, 1), at(1, 8), '["messages:placer^^d91eb6df9810^P8","o1"]', (1, 1, 2))
SECOND = ((1, 0, 1, 0), at(1, 7), '["o2"]', (0, 0, 0))
BOTH = ((3, 3, 1, 1), at(1, 8), '["messages:placer^^d91eb6df9810^P8","o1","o2"]', (1, 1, 2))
ALL = ((4, 3, 1, 1), at(1, 8), '["messages:placer^^d91eb6df9810^P8","o1","o2","o3"]', (1, 1, 2))
DRUG = HEAD.format(kind="RDE^O11", mrn="M1") + "ORC|NW|RX1\rRXE||855332^Warfarin 5 MG^RXNORM|1||TAB"
VARIANT = "OBX|2|CWE|48018-6^Gene^LN|1a|HGNC:1100^BRCA1^HGNC||||||F"


def profiles(lab: Lab, number: int) -> dict[str, tuple[str, Any]]:
    """What a day re-emits of the laboratory's own patients: where they live on, and what they have."""
    return {
        row["patient_id"]: (
            row["surviving_patient_id"],
            (tuple(row[name] for name in ACTIVITIES), row["last_order_at"], row["newest_orders"], tuple(row[name] for name in TOLD)),
        )
        for row in lab.transform("patient_profile", number)
        if not row["patient_id"].startswith("messages:")
    }


def begun(lake: Lake, *more: dict[str, Any], **merged: str) -> Lab:
    """Day 1: three patients with an order each. The first has a drug, a variant, a memo, a case and an order that messages alone tell of as well."""
    lab = Lab(lake, fresh_tenant())
    lab.modelled(
        1,
        "snapshot",
        patient=[patient(f"p{n}", f"M{n}") | {"merged_into_id": merged.get(f"p{n}")} for n in (1, 2, 3)],
        lab_order=[order(f"o{n}", f"p{n}", f"P{n}", f"F{n}") | {"ordered_at": at(1, 9 - n) if n > 1 else at(1, 7.5)} for n in (1, 2, 3)],
        result=[{"id": "r1", "lab_order_id": "o1", "patient_id": "p1", "status_raw": "F"}],
        crm_case=[{"id": "k1", "account_id": "a1", "patient_mrn": "M1", "status": "open", "opened_at": at(1)}],
        crm_memo=[{"id": "m1", "account_id": "a1", "created_at": at(1)}],
        activity_link=[
            {"activity_type": kind, "activity_id": key, "record_type": "patient", "record_id": number}
            for kind, key, number in (("case", "k1", "M2"), ("memo", "m1", "M1"))
        ],
    )
    sent = oru("M1", "P8", "F8", "4.0", "F", VARIANT).replace("|BMP\r", "|BMP||20260301080000+0000\r")
    tell(lab, 1, *(message(key, body) | {"patient_mrn": "M1"} for key, body in ((1, DRUG), (2, sent))), *more, kind="snapshot")
    return lab


def a40(key: int, old: str, into: str, number: int = 1) -> dict[str, Any]:
    return message(key, HEAD.format(kind="ADT^A40^ADT_A39", mrn=into) + f"MRG|{old}^^^H^MR", number)


def merge(lab: Lab, number: int, by: str, old: int, into: int) -> None:
    """A day on which only a merge is told, by the system or by a message."""
    if by == "system":
        lab.modelled(number, patient=[patient(f"p{old}", f"M{old}") | {"merged_into_id": f"p{into}"}])
    else:
        lab.modelled(number)
        tell(lab, number, a40(number * 10, f"M{old}", f"M{into}", number))


@pytest.mark.parametrize("by", ["system", "message"])
def test_a_merge_of_the_first_day_leaves_the_survivor_with_all_and_the_other_with_nothing(lake: Lake, by: str) -> None:
    found = profiles(begun(lake, p1="p2") if by == "system" else begun(lake, a40(3, "M1", "M2")), 1)
    assert {key: found[key] for key in ("p1", "p2")} == {"p1": ("p2", NONE), "p2": ("p2", BOTH)}


@pytest.mark.parametrize("by", ["system", "message"])
def test_a_later_merge_and_one_of_the_survivor_make_whole_profiles_again_and_an_undone_one_gives_back(lake: Lake, by: str) -> None:
    lab = begun(lake)
    found = profiles(lab, 1)
    assert {key: found[key] for key in ("p1", "p2")} == {"p1": ("p1", FIRST), "p2": ("p2", SECOND)}
    merge(lab, 2, by, 1, 2)
    assert profiles(lab, 2) == {"p1": ("p2", NONE), "p2": ("p2", BOTH)}
    merge(lab, 3, by, 2, 3)
    assert profiles(lab, 3) == {"p1": ("p3", NONE), "p2": ("p3", NONE), "p3": ("p3", ALL)}
    # What happens to the first one's order, and under its number, is the last one's.
    lab.modelled(4, lab_order=[order("o1", "p1", "P1", "F1") | {"status": "cancelled", "ordered_at": at(1, 7.5)}])
    assert profiles(lab, 4) == {"p3": ("p3", ALL)}
    lab.modelled(5)
    # a message about a number is the newest word on whose it is: one of the old number would take back a merge that messages told
    number = "M1" if by == "system" else "M3"
    tell(lab, 5, message(50, DRUG.replace("RX1", "RX2").replace("M1^", f"{number}^"), 5) | {"patient_mrn": number})
    assert profiles(lab, 5)["p3"] == ("p3", (*ALL[:3], (2, 1, 3)))
    # The system says of itself that the first one is nobody else, or another than the message said.
    lab.modelled(6, patient=[patient("p1", "M1") | {"merged_into_id": None if by == "system" else "p4"}, patient("p4", "M4")])
    found = profiles(lab, 6)
    first, left = ("p1", ((2, 1, 3), (0, 0, 0))) if by == "system" else ("p4", ((1, 1, 2), (1, 0, 1)))
    assert found[first][1] == (*FIRST[:3], left[0])
    assert found["p3"][1] == ((2, 0, 1, 0), at(1, 7), '["o2","o3"]', left[1]), "the old survivor has what is left to it"
