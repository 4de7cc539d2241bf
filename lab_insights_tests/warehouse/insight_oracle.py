"""Half a year of a few patients' results and drugs, made from a seed with every trouble, and their insights once more in pandas, from the words alone."""

from __future__ import annotations

import math
import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lab_insights.lab.kpis.monitoring import LIST
from lab_insights_tests.warehouse.kpi_tables import Row, Tables
from lab_insights_tests.warehouse.oracle import ordered
from lab_insights_tests.warehouse.oracle.instants import day_of

FIRST, AS_OF = datetime(2026, 1, 5, 9), date(2026, 7, 1)
ANALYTES = {
    "K": ("2823-3", 3.5, 5.1, 4.3),
    "CREA": ("2160-0", 0.6, 1.3, 1.0),
    "A1C": ("4548-4", 4.0, 5.6, 6.0),
    "ODD": (None, None, None, 50.0),
}
DRUGS = ("Warfarin sodium 5 mg tablet", "LISINOPRIL 10mg", "Spironolactone", "metformin", "Aspirin")


# Columns that nothing is said in of an analyte that was never measured.
_OF_VALUES = (
    "observations", "last_at", "last_day", "unit", "range_low", "range_high", "last_value", "previous_value", "previous_at", "range_position",
    "change_percent", "is_changed", "slope_30_days", "trend", "follow_up_due_at",
)  # fmt: skip


def half_a_year(seed: int = 9) -> Tables:
    rng, made = random.Random(seed), Tables()
    made.add("orderable", orderable_id="1", test_code="K", name="K", department="chemistry", min_retest_hours=72, is_billable=True)
    for number in range(12):
        # 10 was merged into 11; 8 and 9 have one number, which says nobody's
        survivor = "11" if number == 10 else str(number)
        mrn = "M8" if number in {8, 9} else f"M{number}"
        made.add("patient_profile", patient_id=str(number), mrn=mrn, surviving_patient_id=survivor, as_of=AS_OF - timedelta(days=number))
    # messages tell of patient 10, who was merged, and of one whom no system has
    made.add(
        "patient_profile", patient_id="messages:M10", mrn="M10", surviving_patient_id="messages:M10", linked_patient_id="10", as_of=AS_OF
    )
    made.add("patient_profile", patient_id="messages:X", mrn="X", surviving_patient_id="messages:X", as_of=AS_OF)
    for number in range(400):
        _result(rng, made, number)
    for number in range(60):
        _drug(rng, made, number)
    return made


def _number(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(f"{value:.2f}")


def _result(rng: random.Random, made: Tables, number: int) -> None:
    patient = rng.choice([*map(str, range(12)), "messages:M10", "messages:X", "unknown"])
    code = rng.choice(list(ANALYTES))
    loinc, low, high, usual = ANALYTES[code]
    at = FIRST + timedelta(minutes=rng.randrange(170 * 1440))
    ordered = {"placer_number": str(number), "status": "completed", "ordered_at": at, "priority": None, "provider_id": None}
    made.add("lab_order", lab_order_id=str(number), patient_id=patient, **ordered)
    survivor = {"10": "11"}.get(patient, patient)
    made.add("order_detail", lab_order_id=str(number), surviving_patient_id=survivor, account_id=None, as_of=AS_OF)
    made.add(
        "order_item", order_item_id=str(number), lab_order_id=str(number), test_code=code, status="completed", is_add_on=False, added_at=at
    )
    verified = None if rng.random() < 0.1 else at + timedelta(hours=rng.randrange(1, 9))
    unit = rng.choice(["mmol/L"] * 7 + ["mg/dL", None])
    made.add(
        "result",
        result_id=f"{number:04d}",
        order_item_id=str(number),
        lab_order_id=str(number),
        patient_id=patient,
        component_code=code,
        loinc=loinc,
        value_num=None if rng.random() < 0.05 else _number(usual * rng.uniform(0.6, 1.5)),
        value_operator="<" if rng.random() < 0.05 else None,
        unit_raw=unit,
        unit_ucum=unit,
        range_low=_number(low),
        range_high=_number(high) if rng.random() < 0.9 else None,
        status_norm=rng.choice(["final"] * 8 + ["corrected", "amended", "preliminary", "cancelled"]),
        resulted_at=datetime(1970, 1, 1) if rng.random() < 0.05 else at,
        verified_at=verified,
    )


def _drug(rng: random.Random, made: Tables, number: int) -> None:
    at = FIRST + timedelta(minutes=rng.randrange(170 * 1440))
    by_code = rng.random() < 0.2
    its = {
        "patient_mrn": rng.choice([*(f"M{number}" for number in range(12)), "X", "nobody"]),
        "drug_code": "11289" if by_code else "x",
        "drug_system": rng.choice(["RxNorm", "http://www.nlm.nih.gov/research/umls/rxnorm", "NDC"]) if by_code else None,
        "drug_name": None if by_code else rng.choice(DRUGS),
        "status_raw": rng.choice([None, "active", "CM", "CA", "stopped"]),
    }
    if number % 3:
        ends = rng.choice([None, at + timedelta(days=20), datetime(2026, 12, 1)])
        made.add(
            "medication_order",
            medication_order_id=str(number),
            **its,
            ordered_at=at,
            start_at=rng.choice([None, at + timedelta(days=1)]),
            end_at=ends,
        )
    else:
        made.add("medication_dispense", medication_dispense_id=str(number), **its, dispensed_at=at)


def insights(made: Tables) -> dict[tuple[str, str, str], Row]:
    """(patient, analyte, drug) → what stands out."""
    listed = yaml.safe_load(LIST.read_text())
    limits = {row["loinc"]: row for row in listed["analytes"]}
    profiles = {row["patient_id"]: row for row in made.rows["patient_profile"]}
    now = datetime.combine(AS_OF, datetime.min.time()) + timedelta(days=1)

    def person(patient: str) -> str:
        its = profiles.get(patient)
        if its and its.get("linked_patient_id"):
            return person(its["linked_patient_id"])
        return its["surviving_patient_id"] if its else patient

    taken = _taken(made, listed["drugs"], {patient: person(patient) for patient in profiles}, now)
    frame = pd.DataFrame(made.rows["result"])
    frame = frame[frame.status_norm.isin(ordered.RELEASED) & frame.value_num.notna() & frame.value_operator.isna()]
    frame = frame.assign(
        person=frame.patient_id.map(person),
        analyte=frame.loinc.fillna(frame.component_code),
        at=frame.verified_at.fillna(frame.resulted_at),
        unit=frame.unit_ucum.fillna(""),
    )
    frame = frame[frame["at"] > datetime(1971, 1, 1)].sort_values(["at", "result_id"])
    tests = ordered.tests(made)
    repeated = set(tests[tests.is_duplicate.astype(bool)].order_item_id)
    found: dict[tuple[str, str, str], Row] = {}
    for (patient, analyte), rows in frame.groupby(["person", "analyte"]):
        alike = rows[rows.unit == rows.unit.iloc[-1]].tail(5)
        its = _trend(alike, limits.get(analyte, {}), now)
        its |= _named(analyte, limits, now) | {"results": len(rows), "duplicates": len(repeated.intersection(rows.order_item_id))}
        drugs = {drug: told for (who, of, drug), told in taken.items() if (who, of) == (patient, analyte)}
        for drug, told in (drugs or {"none": None}).items():
            due = its["last_at"] + timedelta(days=told["days"]) if told else None
            found[patient, analyte, drug] = its | _beside(told, due, now)
    for (patient, analyte, drug), told in taken.items():
        if (patient, analyte, drug) not in found:
            found[patient, analyte, drug] = {
                **_named(analyte, limits, now),
                **dict.fromkeys(_OF_VALUES),
                "results": 0,
                "duplicates": 0,
                "is_follow_up_overdue": False,
                **_beside(told, told["since"] + timedelta(days=told["days"]), now),
            }
    return found


def _named(analyte: str, limits: dict[str, Row], now: datetime) -> Row:
    listed = limits.get(analyte, {})
    return {"analyte_name": listed.get("name"), "change_limit_percent": _limit(listed), "as_of": now}


def _limit(listed: Row) -> float | None:
    """1.96 standard deviations of a difference of two, each with its own and half as much analytical variation."""
    cv = listed.get("within_person_cv")
    return None if cv is None else round(1.96 * math.sqrt(2) * math.hypot(cv, cv / 2), 1)


def _trend(alike: pd.DataFrame, limit: Row, now: datetime) -> Row:
    values, times = [float(value) for value in alike.value_num], list(alike["at"])
    last = alike.iloc[-1]
    most = _limit(limit)
    low, high = (None if pd.isna(last[name]) else float(last[name]) for name in ("range_low", "range_high"))
    position = None if low is None and high is None else "within"
    if low is not None and values[-1] < low:
        position = "low"
    elif high is not None and values[-1] > high:
        position = "high"
    change = None
    if len(values) > 1 and times[-1] - times[-2] <= timedelta(days=30):
        change = (values[-1] - values[-2]) / abs(values[-2]) * 100
    slope = trend = None
    if len(values) > 2:
        days = [(at - times[0]).total_seconds() / 86400 for at in times]
        slope = float(np.polyfit(days, values, 1)[0]) * 30
        whole = (values[-1] - values[0]) / abs(values[0]) * 100
        trend = None if most is None else "rising" if whole > most else "falling" if whole < -most else "steady"
    due = times[-1] + timedelta(days=limit["follow_up_days"]) if position in {"low", "high"} and "follow_up_days" in limit else None
    return {
        "observations": len(values),
        "last_at": times[-1],
        "last_day": day_of(times[-1]),
        "unit": last["unit"],
        "range_low": low,
        "range_high": high,
        "previous_at": times[-2] if len(values) > 1 else None,
        "last_value": values[-1],
        "previous_value": values[-2] if len(values) > 1 else None,
        "range_position": position,
        "change_percent": change,
        "is_changed": None if change is None or most is None else abs(change) > most,
        "slope_30_days": slope,
        "trend": trend,
        "follow_up_due_at": due,
        "is_follow_up_overdue": due is not None and due < now,
    }


def _beside(told: Row | None, due: datetime | None, now: datetime) -> Row:
    return {
        "drug_since": told["since"] if told else None,
        "drug_last_at": told["last"] if told else None,
        "monitoring_due_at": due,
        "is_monitoring_overdue": due is not None and due < now,
    }


def _taken(made: Tables, drugs: list[Row], people: dict[str, str], now: datetime) -> dict[tuple[str, str, str], Row]:
    whose: dict[str, set[str]] = {}
    for row in made.rows["patient_profile"]:
        whose.setdefault(row["mrn"], set()).add(people[row["patient_id"]])
    given: list[Any] = [(row, row["start_at"] or row["ordered_at"], row["end_at"]) for row in made.rows["medication_order"]]
    given += [(row, row["dispensed_at"], None) for row in made.rows["medication_dispense"]]
    found: dict[tuple[str, str, str], Row] = {}
    for row, at, end in given:
        if row["status_raw"] in {"CA", "stopped"} or at >= now or (end and end < now) or len(whose.get(row["patient_mrn"], ())) != 1:
            continue
        [patient] = whose[row["patient_mrn"]]
        for drug in drugs:
            coded = "rxnorm" in (row["drug_system"] or "").lower() and row["drug_code"] == drug["rxnorm"]
            if coded or drug["name"] in (row["drug_name"] or "").lower():
                its = found.setdefault((patient, drug["loinc"], drug["name"]), {"since": at, "last": at, "days": drug["due_days"]})
                its |= {"since": min(its["since"], at), "last": max(its["last"], at)}
    return found
