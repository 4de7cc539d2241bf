"""Four weeks of a laboratory's curated rows, made from a seed around a change of the clocks, with every trouble that KPIs must survive."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from lab_insights.lake.manifest import Manifest
from lab_insights_tests.warehouse.lake import TestLake

ZONE = "America/New_York"
START = datetime(2026, 2, 25)
STAMP, TEXT, FLAG, WHOLE = pa.timestamp("us"), pa.string(), pa.bool_(), pa.int64()
Row = dict[str, Any]
TRANSFORMED = {"order_detail", "patient_profile"}
SCHEMAS: dict[str, tuple[str, pa.Schema]] = {
    "lab_order": (
        "lab_order_id",
        pa.schema(
            [(name, TEXT) for name in ("lab_order_id", "patient_id", "provider_id", "encounter_id", "placer_number", "priority", "status")]
            + [("ordered_at", STAMP)]
        ),
    ),
    "order_detail": (
        "lab_order_id",
        pa.schema(
            [(name, TEXT) for name in ("lab_order_id", "account_id", "surviving_patient_id", "linked_order_id")] + [("as_of", pa.date32())]
        ),
    ),
    "patient_profile": (
        "patient_id",
        pa.schema([(name, TEXT) for name in ("patient_id", "mrn", "surviving_patient_id", "linked_patient_id")] + [("as_of", pa.date32())]),
    ),
    "medication_order": (
        "medication_order_id",
        pa.schema(
            [(name, TEXT) for name in ("medication_order_id", "patient_mrn", "drug_code", "drug_name", "drug_system", "status_raw")]
            + [(name, STAMP) for name in ("ordered_at", "start_at", "end_at")]
        ),
    ),
    "medication_dispense": (
        "medication_dispense_id",
        pa.schema(
            [(name, TEXT) for name in ("medication_dispense_id", "patient_mrn", "drug_code", "drug_name", "drug_system", "status_raw")]
            + [("dispensed_at", STAMP)]
        ),
    ),
    "patient": ("patient_id", pa.schema([("patient_id", TEXT), ("merged_into_patient_id", TEXT)])),
    "result": (
        "result_id",
        pa.schema(
            [(name, TEXT) for name in ("result_id", "order_item_id", "lab_order_id", "component_code", "loinc", "value_raw", "value_type")]
            + [(name, TEXT) for name in ("patient_id", "value_operator")]
            + [(name, pa.decimal128(38, 9)) for name in ("value_num", "range_low", "range_high")]
            + [(name, TEXT) for name in ("unit_raw", "unit_ucum", "flag_raw", "flag_norm", "status_raw", "status_norm", "performing_lab")]
            + [("resulted_at", STAMP), ("verified_at", STAMP)]
        ),
    ),
    "critical_notification": (
        "notification_id",
        pa.schema([("notification_id", TEXT), ("result_id", TEXT), ("notified_at", STAMP), ("acknowledged_at", STAMP)]),
    ),
    "crm_case": (
        "case_id",
        pa.schema(
            [
                ("case_id", TEXT),
                ("account_id", TEXT),
                ("status", TEXT),
                ("root_cause", TEXT),
                ("opened_at", STAMP),
                ("closed_at", STAMP),
                ("is_removed", FLAG),
            ]
        ),
    ),
    "case_status_history": ("case_status_history_id", pa.schema([(n, TEXT) for n in ("case_status_history_id", "case_id", "to_status")])),
    "opportunity": (
        "opportunity_id",
        pa.schema(
            [(name, TEXT) for name in ("opportunity_id", "account_id", "stage")] + [("amount", pa.decimal128(12, 2)), ("created_at", STAMP)]
        ),
    ),
    "opportunity_stage_history": (
        "opportunity_stage_history_id",
        pa.schema([(n, TEXT) for n in ("opportunity_stage_history_id", "opportunity_id", "to_stage")] + [("changed_at", STAMP)]),
    ),
    "order_item": (
        "order_item_id",
        pa.schema(
            [
                *((name, TEXT) for name in ("order_item_id", "lab_order_id", "test_code", "status")),
                ("is_add_on", FLAG),
                ("added_at", STAMP),
            ]
        ),
    ),
    "encounter": (
        "encounter_id",
        pa.schema(
            [
                *((name, TEXT) for name in ("encounter_id", "encounter_class", "ward", "source_system")),
                ("admitted_at", STAMP),
                ("discharged_on_raw", TEXT),
                ("arrival_raw", TEXT),
                ("arrival_time", TEXT),
            ]
        ),
    ),
    "specimen": (
        "specimen_id",
        pa.schema(
            [
                ("specimen_id", TEXT),
                ("lab_order_id", TEXT),
                ("status", TEXT),
                ("reject_reason", TEXT),
                ("collected_at", STAMP),
                ("received_at", STAMP),
            ]
        ),
    ),
    "reject_reason": ("code", pa.schema([("code", TEXT), ("label", TEXT)])),
    "orderable": (
        "orderable_id",
        pa.schema(
            [
                ("orderable_id", TEXT),
                ("test_code", TEXT),
                ("name", TEXT),
                ("department", TEXT),
                ("tat_target_minutes", WHOLE),
                ("stat_target_minutes", WHOLE),
                ("min_retest_hours", WHOLE),
                ("is_billable", FLAG),
            ]
        ),
    ),
    "test_component": ("test_component_id", pa.schema([(n, TEXT) for n in ("test_component_id", "test_code", "component_code", "loinc")])),
    "crm_task": (
        "task_id",
        pa.schema(
            [("task_id", TEXT), ("account_id", TEXT), ("status", TEXT), ("created_at", STAMP), ("due_at", STAMP), ("completed_at", STAMP)]
        ),
    ),
    "audit_event": (
        "audit_event_id",
        pa.schema([("audit_event_id", TEXT), ("occurred_at", STAMP), ("user_name", TEXT), ("action", TEXT), ("outcome", TEXT)]),
    ),
}
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
]
# Test → its analytes, each by local code and LOINC; sodium is in two of them, under two local codes. UCX has none listed.
ANALYTES = {"BMP": [("NA", "2951-2"), ("GLU", "2345-7"), ("X", None)], "CBC": [("SOD", "2951-2"), ("HGB", None)]}


@dataclass
class Tables:
    """Rows by lake table."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in SCHEMAS})

    def add(self, table: str, **row: Any) -> None:
        self.rows[table].append(row)

    def write(self, lake: TestLake, day: int) -> list[Manifest]:
        """Commit every table that has rows as a batch of a day."""
        return [
            lake.batch(
                table, day, rows, SCHEMAS[table][1], key=(SCHEMAS[table][0],), layer="transformed" if table in TRANSFORMED else "curated"
            )
            for table, rows in self.rows.items()
            if rows
        ]


def four_weeks(seed: int = 11) -> Tables:
    rng, made = random.Random(seed), Tables()
    for panel in PANELS:
        made.add("orderable", **{"is_billable": True, **panel})
    for code, analytes in ANALYTES.items():
        for local, loinc in analytes:
            made.add("test_component", test_component_id=f"{code}.{local}", test_code=code, component_code=local, loinc=loinc)
    for code, label in (("HEM", "Hemolyzed"), ("QNS", "Quantity not sufficient")):
        made.add("reject_reason", code=code, label=label)
    for number in range(40):
        made.add("patient", patient_id=str(number), merged_into_patient_id={38: "39", 39: "0"}.get(number))
    # A patient who takes what nothing monitors here.
    made.add("patient_profile", patient_id="1", mrn="M1", surviving_patient_id="1", as_of=START.date())
    made.add("medication_order", medication_order_id="1", patient_mrn="M1", drug_name="Warfarin 5 mg", ordered_at=START)
    for number in range(420):
        _order(rng, made, number)
    for number in range(70):
        _activities(rng, made, number)
    return made


def _order(rng: random.Random, made: Tables, number: int) -> None:
    ordered = START + timedelta(minutes=rng.randrange(27 * 1440), seconds=rng.randrange(60))
    status = rng.choice(["completed"] * 8 + ["cancelled", "ordered"])
    missing = number % 61 == 0
    made.add(
        "lab_order",
        lab_order_id=str(number),
        patient_id=str(rng.randrange(42)),
        provider_id=str(number % 5),
        encounter_id=str(number) if number % 13 else None,
        placer_number=f"P{number // 2 if number % 50 < 2 else number + 1000}",
        priority=rng.choice(["stat", "routine", "routine", "asap", None]),
        status=status,
        ordered_at=None if missing else ordered,
    )
    patient = made.rows["lab_order"][-1]["patient_id"]
    if number % 29:
        account = str(rng.randrange(4)) if number % 31 else None
        # 38 was merged into 39, and 39 into 0
        survivor = "0" if patient in {"38", "39"} else patient
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
    collected = ordered + timedelta(minutes=rng.randrange(-10, 240))
    received = collected + timedelta(minutes=rng.randrange(5, 300))
    rejected = rng.random() < 0.08
    made.add(
        "specimen",
        specimen_id=str(number),
        lab_order_id=str(number),
        status="rejected" if rejected else "received",
        reject_reason=rng.choice(["HEM", "QNS", "ODD", None]) if rejected else None,
        collected_at=collected.replace(hour=0, minute=0, second=0) if number % 17 == 0 else collected,
        received_at=datetime(1970, 1, 1) if number % 53 == 0 else received,
    )
    for place in range(rng.choice([1, 1, 2])):
        item = number * 4 + place
        add_on = place and rng.random() < 0.5
        made.add(
            "order_item",
            order_item_id=str(item),
            lab_order_id=str(number),
            test_code=rng.choice(["BMP", "BMP", "CBC", "UCX", "ODD"]),
            status=status if status != "completed" or rng.random() < 0.95 else "ordered",
            is_add_on=bool(add_on),
            added_at=ordered + timedelta(minutes=45 if add_on else 0),
        )
        verified = received + timedelta(minutes=rng.randrange(10, 400), days=400 if number % 97 == 0 else 0)
        for component in range(rng.choice([1, 2, 3])):
            norm = rng.choice(["final"] * 16 + ["corrected", "preliminary", "cancelled", None])
            critical = rng.random() < 0.1
            kind = rng.choice(["NM", "NM", "NM", "TX", None])
            result = f"{item}.{component}"
            at = None if norm == "preliminary" or rng.random() < 0.02 else verified + timedelta(minutes=component)
            made.add(
                "result",
                result_id=result,
                order_item_id=str(item),
                lab_order_id=str(number) if rng.random() < 0.98 else "nobody",
                component_code=f"C{component % 2}",
                loinc=rng.choice(["2951-2", None]) if component else ("2823-3", None, "6298-4")[number % 3],
                value_raw=rng.choice(["4.1", "hemolyzed", None]),
                value_type=kind,
                unit_raw=(unit := rng.choice(["mmol/L", "x10E3/uL", "furlong", None])),
                unit_ucum={"mmol/L": "mmol/L", "x10E3/uL": "10*3/uL"}.get(unit or ""),
                flag_raw=rng.choice(["H", "N", "??", None]),
                flag_norm=rng.choice(["critical_high", "critical_low"]) if critical else "high",
                status_norm=norm,
                status_raw=(norm or "O")[0].upper(),
                performing_lab=rng.choice(["Main", "Annex"]),
                resulted_at=verified,
                verified_at=at,
            )
            if critical and at and rng.random() < 0.8:
                told = at + timedelta(minutes=rng.randrange(-20, 90))
                answered = told + timedelta(minutes=5) if rng.random() < 0.7 else None
                made.add("critical_notification", notification_id=result, result_id=result, notified_at=told, acknowledged_at=answered)


def _activities(rng: random.Random, made: Tables, number: int) -> None:
    opened = START + timedelta(minutes=rng.randrange(26 * 1440))
    status = rng.choice(["open", "closed", "closed", "reopened"])
    made.add(
        "crm_case",
        case_id=str(number),
        account_id=str(rng.randrange(4)),
        status=status,
        root_cause=rng.choice(["Courier delay", None]),
        opened_at=opened,
        closed_at=opened + timedelta(hours=rng.randrange(-5, 90)) if status == "closed" else None,
        is_removed=rng.random() < 0.1,
    )
    made_at = START + timedelta(minutes=rng.randrange(26 * 1440))
    due = made_at + timedelta(days=1)
    done = made_at + timedelta(hours=rng.randrange(1, 60)) if rng.random() < 0.8 else None
    made.add(
        "crm_task",
        task_id=str(number),
        account_id=str(rng.randrange(4)),
        status="done" if done else "open",
        created_at=made_at,
        due_at=due if number % 9 else None,
        completed_at=done,
    )
    made.add(
        "audit_event",
        audit_event_id=str(number),
        occurred_at=opened,
        user_name=rng.choice(["ann", "bob"]),
        action=rng.choice(["read", "login"]),
        outcome=rng.choice(["success", "refused"]),
    )
    for place, to in enumerate(("open", "closed", "reopened", "closed")[: number % 5]):
        made.add("case_status_history", case_status_history_id=f"{number}.{place}", case_id=str(number), to_status=to)
    if number < 24:
        _opportunity(made, number)


def _opportunity(made: Tables, number: int) -> None:
    """One of every course that an opportunity takes; the CRM keeps no history of the last."""
    course = (("prospecting", "qualified", "won"), ("prospecting", "lost"), ("prospecting", "won", "lost", "won"), ("qualified",), ())[
        number % 5
    ]
    at = START + timedelta(days=number, hours=3)
    made.add(
        "opportunity",
        opportunity_id=str(number),
        account_id=str(number % 4),
        stage=course[-1] if course else "proposal",
        amount=Decimal(1000 + number),
        created_at=at,
    )
    for place, stage in enumerate(course):
        key = f"{number}.{place}"
        changed = at + timedelta(days=2 * place, hours=place)
        made.add(
            "opportunity_stage_history", opportunity_stage_history_id=key, opportunity_id=str(number), to_stage=stage, changed_at=changed
        )
