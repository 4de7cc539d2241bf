"""Results of resources that name no order stand in the curated tables, known by the resource."""

from __future__ import annotations

import json
from typing import Any

from lab_insights.lake.commit import Lake
from lab_insights_tests.lab.telling import made, message, tell
from lab_insights_tests.lab.world import Lab
from lab_insights_tests.lake.world import fresh_tenant


def observation(value: int, status: str = "final", of: str = "M1", **more: Any) -> dict[str, Any]:
    its = {
        "status": status,
        "code": {"coding": [{"code": "K"}]},
        "valueQuantity": {"value": value},
        "subject": {"identifier": {"value": of}},
    }
    return {"resourceType": "Observation", "id": "o1", **its, **more}


def results(lake: Lake, *told: dict[str, Any]) -> list[dict[str, Any]]:
    lab = Lab(lake, fresh_tenant())
    tell(lab, 1, *(message(key, json.dumps(each)) for key, each in enumerate(told, start=1)))
    rows = lab.rows(made(lab, 1, "result"))
    versions = {row["result_id"] for row in lab.rows(made(lab, 1, "result_version"))}
    assert versions == {row["result_id"] for row in rows}
    return sorted(rows, key=lambda row: str(row["value_raw"]))


def test_a_resource_that_is_told_again_is_the_same_result_of_no_order(lake: Lake) -> None:
    [row] = results(lake, observation(4), observation(4), observation(5, "corrected"))
    assert (row["value_raw"], row["status_norm"], row["lab_order_id"], row["order_item_id"]) == ("5", "corrected", None, None)


def test_resources_of_two_senders_or_patients_are_two_results_though_their_ids_are_one(lake: Lake) -> None:
    told = [observation(4, meta={"source": f"urn:{sender}#{request}"}) for request, sender in enumerate("aab")]
    assert len(results(lake, *told)) == 2
    assert len(results(lake, observation(4), observation(5, of="M2"))) == 2


def test_components_are_results_of_their_own_and_what_has_neither_number_nor_id_is_a_statement_alone(lake: Lake) -> None:
    several = observation(4) | {"component": [{"code": {"coding": [{"code": "A"}]}, "valueInteger": place} for place in range(2)]}
    assert [row["value_raw"] for row in results(lake, several)] == ["0", "1", "4"]
    assert results(lake, {name: value for name, value in observation(4).items() if name != "id"}) == []
