"""Results that one message tells alike are several results, and a message that tells them again tells the same."""

from __future__ import annotations

import json
from typing import Any

from lab_insights.lake.commit import Lake
from lab_insights_tests.lab.reading import rows
from lab_insights_tests.lab.telling import made, message, oru, tell
from lab_insights_tests.lab.world import Lab
from lab_insights_tests.lake.world import fresh_tenant


def potassium(value: str, status: str = "F", sub_id: str = "") -> str:
    return f"OBX|2|NM|K^Potassium^L|{sub_id}|{value}|mmol/L|||||{status}"


def results(lake: Lake, *bodies: str) -> tuple[list[Any], int]:
    """Values of the results, and how many versions they have."""
    lab = Lab(lake, fresh_tenant())
    tell(lab, 1, *(message(key, body) for key, body in enumerate(bodies, start=1)))
    values = sorted(row["value_raw"] for row in lab.rows(made(lab, 1, "result")))
    return values, len(lab.rows(made(lab, 1, "result_version")))


def test_two_observations_of_one_code_without_a_sub_id_are_two_results_and_a_correction_is_of_its_own(lake: Lake) -> None:
    first = oru("M", "P1", "F1", "4.0", "F", potassium("6.0"))
    assert results(lake, first, first) == (["4.0", "6.0"], 2)
    assert results(lake, first, oru("M", "P1", "F1", "4.0", "F", potassium("6.1", "C"))) == (["4.0", "6.1"], 3)
    assert results(lake, first, oru("M", "P1", "F1", "4.1", "C", potassium("6.0"))) == (["4.1", "6.0"], 3)


def test_one_observation_is_known_alike_whether_or_not_others_are_told_with_it(lake: Lake) -> None:
    alone = oru("M", "P1", "F1", "4.1", "C")
    assert results(lake, oru("M", "P1", "F1", "4.0", "F", potassium("6.0"), potassium("7.0", sub_id="2")), alone) == (
        ["4.1", "6.0", "7.0"],
        4,
    )
    # What is no result takes no place.
    detail = alone.replace("OBX|1", f"{potassium('x', 'O')}\rOBX|1")
    assert results(lake, oru("M", "P1", "F1", "4.0"), detail) == (["4.1"], 2)


def test_one_analyte_of_two_panels_of_an_order_and_of_one_panel_twice_is_several_results(lake: Lake) -> None:
    for panel in ("CMP", "BMP"):
        both = oru("M", "P1", "F1", "4.0", "F", f"OBR|2|P1|F1|{panel}", potassium("6.0"))
        assert results(lake, both, both) == (["4.0", "6.0"], 2)


def test_two_resources_alike_of_one_order_are_two_results(lake: Lake) -> None:
    its = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"code": "K"}]},
        "basedOn": [{"identifier": {"value": "F1"}}],
    }
    entries = [{"resource": its | {"id": f"o{value}", "valueInteger": value}} for value in (4, 6, 6)]
    body = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries})
    assert results(lake, body, body) == (["4", "6"], 2)
    assert len({row["result_key"] for row in rows(body, "result")}) == 2
