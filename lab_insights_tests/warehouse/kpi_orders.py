"""A laboratory's half year, made from a seed: months of a few orders, then four weeks around a change of the clocks with every trouble."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal

from lab_insights_tests.warehouse.kpi_activities import activities, messages
from lab_insights_tests.warehouse.kpi_tables import Row, Tables

START = datetime(2026, 2, 25)
# On this day many results are critical.
BAD_DAY = 13
PANELS = [
    {
        "orderable_id": "1",
        "test_code": "BMP",
        "name": "Basic",
        "department": "chemistry",
        "tat_target_minutes": 240,
        "stat_target_minutes": 60,
        "min_retest_hours": 24,
    },
    {
        "orderable_id": "2",
        "test_code": "CBC",
        "name": "Blood count",
        "department": "hematology",
        "tat_target_minutes": 120,
        "stat_target_minutes": None,
    },
    {"orderable_id": "3", "test_code": "UCX", "name": "Culture", "department": "microbiology", "is_billable": False},
    {"orderable_id": "4", "test_code": "BX", "name": "Biopsy", "department": "pathology"},
]
# Test → its components, each by local code and LOINC; sodium is in two of them, under two local codes. The others have none listed.
COMPONENTS = {"BMP": [("NA", "2951-2"), ("K", "2823-3"), ("X", None)], "CBC": [("SOD", "2951-2"), ("HGB", None)]}
# What `curation` makes of OBX-11; some of what it does not know.
LETTERS = {
    "F": "final",
    "C": "corrected",
    "A": "amended",
    "B": "appended",
    "P": "preliminary",
    "I": "registered",
    "X": "cancelled",
    "D": "entered_in_error",
    "O": "order_detail",
    "N": "not_asked",
    "?": None,
}
CRITICAL = {"HH": "critical_high", "LL": "critical_low", "AA": "critical_abnormal"}


def laboratory(seed: int = 11) -> Tables:
    rng, made = random.Random(seed), Tables()
    for panel in PANELS:
        made.add("orderable", **{"is_billable": True, **panel})
    for code, components in COMPONENTS.items():
        for local, loinc in components:
            made.add("test_component", test_component_id=f"{code}.{local}", test_code=code, component_code=local, loinc=loinc)
    for code, label in (("HEM", "Hemolyzed"), ("QNS", "Quantity not sufficient")):
        made.add("reject_reason", code=code, label=label)
    for number in range(40):
        made.add("patient", patient_id=str(number), merged_into_patient_id={38: "39", 39: "0"}.get(number))
    # A patient who takes what nothing monitors here.
    made.add("patient_profile", patient_id="1", mrn="M1", surviving_patient_id="1", as_of=START.date())
    made.add("medication_order", medication_order_id="1", patient_mrn="M1", drug_name="Warfarin 5 mg", ordered_at=START)
    for number in range(420):
        at = START + timedelta(minutes=rng.randrange(27 * 1440), seconds=rng.randrange(60))
        _order(rng, made, number, at, str(rng.randrange(4)) if number % 31 else None)
    # Account `gone` orders nothing after November, `slow` little, and 0 as ever.
    months = [datetime(2025, month, 3) for month in (9, 10, 11, 12)] + [datetime(2026, 1, 5), datetime(2026, 2, 2)]
    for place, month in enumerate(months):
        accounts = ["0", "0", *(["gone"] * 2 + ["slow"] * 5 if place < 3 else []), *(["slow"] if month == months[-1] else [])]
        for each, account in enumerate(accounts):
            _order(rng, made, 500 + 20 * place + each, month + timedelta(minutes=rng.randrange(20 * 1440)), account)
    activities(rng, made, START)
    messages(rng, made, START)
    return made


def _order(rng: random.Random, made: Tables, number: int, ordered: datetime, account: str | None) -> None:
    status = rng.choice(["completed"] * 8 + ["cancelled", "ordered"]) if number < 500 else "completed"
    order: Row = {
        "lab_order_id": str(number),
        "patient_id": str(rng.randrange(42)),
        "provider_id": str(number % 5) if number % 17 else None,
        "encounter_id": str(number) if number % 13 else None,
        "placer_number": f"P{number // 2 if number % 50 < 2 else number + 1000}",
        "priority": rng.choice(["stat", "routine", "routine", "asap", None]),
        "status": status,
        "ordered_at": ordered if number % 61 else None,
    }
    made.add("lab_order", **order)
    if number % 29:
        # 38 was merged into 39, and 39 into 0
        survivor = "0" if order["patient_id"] in {"38", "39"} else order["patient_id"]
        made.add("order_detail", lab_order_id=str(number), account_id=account, surviving_patient_id=survivor, as_of=START.date())
    made.add(
        "encounter",
        encounter_id=str(number),
        encounter_class=("emergency", "outpatient", "emergency", None)[number % 4],
        ward=("ED", "4 West", None)[number % 3],
        # What messages tell of a visit is no row of the system that the quality report is about.
        source_system="messages" if number % 10 == 9 else "lis",
        admitted_at=ordered,
        discharged_on_raw="0000-00-00" if number % 7 == 0 else None,
        arrival_raw=("0715", "early", None)[number % 3],
        arrival_time="07:15:00" if number % 3 == 0 else None,
    )
    received = _specimens(rng, made, number, ordered)
    for place in range(rng.choice([1, 1, 2])):
        add_on = bool(place) and rng.random() < 0.5
        item = {
            "order_item_id": str(number * 4 + place),
            "lab_order_id": str(number),
            "test_code": rng.choice(["BMP"] * 4 + ["CBC"] * 3 + ["UCX", "ODD", "BX", None]),
            # Of many an order that messages tell of, nobody says how far it is.
            "status": status if status != "completed" or rng.random() < 0.85 else rng.choice(["ordered", None]),
            "is_add_on": add_on,
            "added_at": ordered + timedelta(minutes=45 if add_on else 0),
        }
        made.add("order_item", **item)
        verified = received + timedelta(minutes=rng.randrange(10, 400), days=400 if number % 97 == 0 else 0)
        if number % 37 == 0:
            verified = verified.replace(hour=0, minute=0, second=0) + timedelta(days=1)
        _results(rng, made, item, verified, critical=0.6 if (ordered - START).days == BAD_DAY else 0.1)


def _specimens(rng: random.Random, made: Tables, number: int, ordered: datetime) -> datetime:
    """Add the tubes of an order, and return when the first was received."""
    collected = ordered + timedelta(minutes=rng.randrange(-10, 240))
    received = collected + timedelta(minutes=rng.randrange(5, 300))
    if number % 71 == 0:
        received = collected - timedelta(minutes=5)
    for tube in range(2 if number % 11 == 0 else 1):
        rejected = rng.random() < (0.4 if number % 11 == 0 else 0.08)
        first = collected + timedelta(minutes=30 * tube)
        made.add(
            "specimen",
            specimen_id=f"{number}.{tube}",
            lab_order_id=str(number),
            status="rejected" if rejected else "received",
            reject_reason=rng.choice(["HEM", "QNS", "ODD", None]) if rejected else None,
            collected_at=first.replace(hour=0, minute=0, second=0) if number % 17 == 0 else first,
            received_at=datetime(1970, 1, 1) if number % 53 == 0 else None if number % 43 == 0 else received + timedelta(minutes=30 * tube),
        )
    return received


def _results(rng: random.Random, made: Tables, item: Row, verified: datetime, *, critical: float) -> None:
    """What is said of a test: of a listed one its components, one of them missing at times, or what a laboratory of other codes calls them."""
    components = list(COMPONENTS.get(item["test_code"] or "", [("C0", "6298-4"), ("C1", None)]))
    told = rng.random()
    if told < 0.08:
        components.pop()
    elif told < 0.12:
        components = [("Z0", None)]
    elif told < 0.2:
        components = [(f"Z{place}", loinc) if loinc else (code, None) for place, (code, loinc) in enumerate(components)]
    elif told < 0.25:
        components.append(components[0])
    elif told < 0.28:
        components = []
    for place, (code, loinc) in enumerate(components):
        letter = rng.choice(list("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFCCABAPIXDON?"))
        _result(
            rng,
            made,
            item,
            f"{item['order_item_id']}.{place}",
            (code, loinc),
            letter,
            verified - timedelta(minutes=len(components) - 1 - place),
            critical,
        )


def _result(
    rng: random.Random, made: Tables, item: Row, key: str, of: tuple[str, str | None], letter: str, at: datetime, critical: float
) -> None:
    flag = rng.choice(list(CRITICAL)) if rng.random() < critical else rng.choice(["H", "N", "", "??", None])
    unit = rng.choice(["mmol/L", "x10E3/uL", "furlong", None])
    verified = None if letter in "PI" or rng.random() < 0.02 else at
    row: Row = {
        "result_id": key,
        "order_item_id": item["order_item_id"],
        "lab_order_id": item["lab_order_id"] if rng.random() < 0.98 else "nobody",
        "component_code": of[0] if rng.random() < 0.97 else None,
        "loinc": of[1],
        "value_raw": rng.choice(["4.1", "hemolyzed", "", None]),
        "value_type": rng.choice(["NM", "NM", "NM", "TX", "FT", None]),
        "unit_raw": unit,
        "unit_ucum": {"mmol/L": "mmol/L", "x10E3/uL": "10*3/uL"}.get(unit or ""),
        "flag_raw": flag,
        "flag_norm": CRITICAL.get(flag or "", {"H": "high", "N": "normal"}.get(flag or "")),
        # A mapping need not say it; the flag does.
        "is_critical": None if flag == "??" or rng.random() < 0.2 else flag in CRITICAL,
        "status_norm": LETTERS[letter],
        "status_raw": letter,
        "performing_lab": rng.choice(["Main", "Annex", None]),
        "resulted_at": at,
        "verified_at": verified,
    }
    # One laboratory's messages declare their units.
    row["unit_declared"] = row["unit_ucum"] if row["performing_lab"] == "Annex" else None
    row["value_num"] = Decimal("4.1") if row["value_raw"] == "4.1" else None
    made.add("result", **row)
    _versions(rng, made, row, letter)
    if flag in CRITICAL and verified and rng.random() < 0.8:
        for call in range(rng.choice([1, 1, 1, 2])):
            told = verified + timedelta(minutes=rng.randrange(-10, 90))
            answered = told + timedelta(minutes=5) if rng.random() < 0.7 else None
            made.add("critical_notification", notification_id=f"{key}.{call}", result_id=key, notified_at=told, acknowledged_at=answered)


def _versions(rng: random.Random, made: Tables, row: Row, letter: str) -> None:
    """What was said of a result before: nothing is known of some, of others one correction, several, one that an ordinary result followed, or the same."""
    said = rng.choice([(), ("5",), ("5", "6"), ("5", "5", "7"), ("5", "6", "5")]) if letter in "CD" or rng.random() < 0.05 else ()
    for place, value in enumerate(said):
        at = row["resulted_at"] - timedelta(hours=9 * (len(said) - place))
        known = {"resulted_at": at, "verified_at": at if place else None, "is_lower_bound": False}
        made.add(
            "result_version",
            report_id=f"{row['result_id']}.{place}",
            result_id=row["result_id"],
            value_raw=value,
            status_norm="corrected",
            **known,
        )
    last = {name: row[name] for name in ("result_id", "value_raw", "unit_raw", "flag_raw", "resulted_at", "verified_at")}
    last |= {"is_lower_bound": not said, "status_norm": row["status_norm"] if said or letter != "C" else "final"}
    made.add("result_version", report_id=f"{row['result_id']}.last", **last)
    if int(row["order_item_id"]) % 9 == 0:
        at = row["resulted_at"] - timedelta(minutes=35)
        made.add(
            "result_version", report_id=f"{row['result_id']}.first", **last | {"resulted_at": at, "verified_at": row["verified_at"] and at}
        )
