"""Cases, tasks, opportunities, audit events and messages of a laboratory, made from a seed."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal

from lab_insights_tests.warehouse.kpi_tables import Tables


def activities(rng: random.Random, made: Tables, start: datetime) -> None:
    for number in range(70):
        opened = start + timedelta(minutes=rng.randrange(26 * 1440))
        _case(rng, made, number, opened, rng.choice(["open", "closed", "closed", "reopened"]))
        _task(rng, made, number, start)
        made.add(
            "audit_event",
            audit_event_id=str(number),
            occurred_at=opened if number % 23 else None,
            user_name=rng.choice(["ann", "bob", None]),
            action=rng.choice(["read", "login", None]),
            outcome=rng.choice(["success", "refused"]),
        )
    # A day on which many cases are closed, most of them of one account and cause.
    for number in range(70, 100):
        _case(rng, made, number, start + timedelta(days=8, minutes=rng.randrange(600)), "closed")
    for number in range(24):
        _opportunity(made, number, start + timedelta(days=number if number != 2 else -150, hours=3))


def _case(rng: random.Random, made: Tables, number: int, opened: datetime, status: str) -> None:
    hours = (rng.randrange(0, 90) if number < 70 else rng.randrange(2, 4)) if number % 17 else -5
    made.add(
        "crm_case",
        case_id=str(number),
        account_id=str(rng.randrange(4) if number < 72 else 0) if number % 19 else None,
        status=status,
        root_cause=rng.choice(["Courier delay", None]) if number < 72 else "Courier delay",
        opened_at=opened,
        closed_at=opened + timedelta(hours=hours, seconds=rng.randrange(3600)) if status == "closed" else None,
        is_removed=rng.random() < 0.1,
    )
    for place, to in enumerate(("open", "closed", "reopened", "closed")[: number % 5]):
        made.add("case_status_history", case_status_history_id=f"{number}.{place}", case_id=str(number), to_status=to)


def _task(rng: random.Random, made: Tables, number: int, start: datetime) -> None:
    created = start + timedelta(minutes=rng.randrange(26 * 1440))
    done = created + timedelta(hours=rng.randrange(1, 60)) if rng.random() < 0.8 else None
    made.add(
        "crm_task",
        task_id=str(number),
        account_id=str(rng.randrange(4)),
        status="done" if done else "open",
        created_at=created,
        due_at=created + timedelta(days=1) if number % 9 else None,
        completed_at=done,
    )


def _opportunity(made: Tables, number: int, at: datetime) -> None:
    """One of every course that an opportunity takes; the CRM keeps no history of the last."""
    courses = (("prospecting", "qualified", "won"), ("prospecting", "lost"), ("prospecting", "won", "lost", "won"), ("qualified",), ())
    course = courses[number % 5]
    made.add(
        "opportunity",
        opportunity_id=str(number),
        account_id=str(number % 4) if number != 15 else None,
        stage=course[-1] if course else "proposal",
        amount=Decimal(1000 + number),
        created_at=at,
    )
    for place, stage in enumerate(course):
        key, changed = f"{number}.{place}", at + timedelta(days=2 * place, hours=place)
        made.add(
            "opportunity_stage_history", opportunity_stage_history_id=key, opportunity_id=str(number), to_stage=stage, changed_at=changed
        )


def messages(rng: random.Random, made: Tables, start: datetime) -> None:
    for number in range(60):
        made.add("message_log", message_id=str(number), received_at=start + timedelta(minutes=rng.randrange(26 * 1440)))
        if number % 12 == 0:
            made.add("message_reject", message_id=str(number), reason="no MSH")
    made.add("message_reject", message_id="lost", reason="no MSH")
