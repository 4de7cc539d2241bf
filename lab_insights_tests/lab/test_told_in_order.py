"""Of several statements about one thing the newest counts: by when it was written, when it was sent, and where it stands."""

from __future__ import annotations

import pytest

from lab_insights.lake.commit import Lake
from lab_insights_tests.lab.telling import HEAD, made, message, oru, tell
from lab_insights_tests.lab.world import Lab
from lab_insights_tests.lake.world import fresh_tenant

VALUES = range(8)


def batch(*bodies: str) -> str:
    return "\r".join(["BHS|^~\\&", *bodies, f"BTS|{len(bodies)}"])


def sent(body: str, time: str) -> str:
    return body.replace("20260301101500", f"20260301{time}00", 1)


@pytest.mark.parametrize(("before", "after", "norm"), [("P", "F", "final"), ("F", "C", "corrected")])
def test_of_a_batch_the_later_statement_of_a_result_counts_whatever_its_value_and_each_is_a_version(
    lake: Lake, before: str, after: str, norm: str
) -> None:
    lab = Lab(lake, fresh_tenant())
    bodies = [batch(oru("M", f"B{it}", "", str(it), before), oru("M", f"B{it}", "", f"{it}.5", after)) for it in VALUES]
    tell(lab, 1, *(message(key, body) for key, body in enumerate(bodies, start=1)))
    rows = lab.rows(made(lab, 1, "result"))
    assert sorted((row["value_raw"], row["status_norm"]) for row in rows) == [(f"{it}.5", norm) for it in VALUES]
    versions = {(row["result_id"], row["value_raw"]) for row in lab.rows(made(lab, 1, "result_version"))}
    assert len(versions) == 2 * len(VALUES)


def test_the_tenth_statement_of_a_batch_is_later_than_the_ninth(lake: Lake) -> None:
    lab = Lab(lake, fresh_tenant())
    tell(lab, 1, message(1, batch(*(oru("M", "P1", "", str(it)) for it in range(12)))))
    assert [row["value_raw"] for row in lab.rows(made(lab, 1, "result"))] == ["11"]


@pytest.mark.parametrize("times", [("1000", "0900"), ("0900", "1000")])
def test_what_was_sent_later_counts_wherever_it_stands(lake: Lake, times: tuple[str, str]) -> None:
    lab = Lab(lake, fresh_tenant())
    bodies = [[sent(oru("M", f"P{it}", "", f"{it}.{time}"), time) for time in times] for it in VALUES]
    # half of them in a batch, half as rows of the store that were written at one instant
    rows = [message(it + 1, batch(*both)) for it, both in enumerate(bodies[:4])]
    rows += [
        message(20 + 2 * it + place, body) | {"updated_at": rows[0]["updated_at"]}
        for it, both in enumerate(bodies[4:])
        for place, body in enumerate(both)
    ]
    tell(lab, 1, *rows)
    assert sorted(row["value_raw"] for row in lab.rows(made(lab, 1, "result"))) == [f"{it}.1000" for it in VALUES]


def test_of_several_requests_under_one_number_the_last_counts(lake: Lake) -> None:
    lab = Lab(lake, fresh_tenant())
    head = HEAD.format(kind="ORM^O01", mrn="M")
    bodies = [
        head + "\r".join(f"ORC|NW|B{it}|||{status}\rOBR|{place}|B{it}||T{place}" for place, status in enumerate(("SC", "CM", "IP")))
        for it in VALUES
    ]
    tell(lab, 1, *(message(key, body) for key, body in enumerate(bodies, start=1)))
    assert {row["status"] for row in lab.rows(made(lab, 1, "lab_order"))} == {"in_process"}
    assert len(lab.rows(made(lab, 1, "order_item"))) == 3 * len(VALUES)
