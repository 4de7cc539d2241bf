"""What the laboratory's people write down each day: cases with attachments, tasks, memos, opportunities, campaigns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from lab_insights.local.laboratory import people
from lab_insights.local.laboratory import vocabulary as words
from lab_insights.local.laboratory.scene import Scene
from lab_insights.local.laboratory.timeline import Row
from lab_insights.local.laboratory.user_defined import slot_values

NEW_COLUMN_DAY = 3
_VERSIONS = 8
NEW_COLUMN = ("opportunity", "forecast_category", "text:20", "pipeline")


def activities(scene: Scene, birth: int) -> Iterator[Row]:
    """Yield the activities opened on day `birth`, with what becomes of them within three days."""
    dice = scene.dice("activities", birth)
    for number in range(scene.many(3)):
        identifier, opened = scene.identifier(birth, number), scene.moment(birth, dice, 8, 18)
        for row in _case(scene, identifier, number, opened, dice):
            yield row
            if row.table == "crm_case":
                yield from _links(scene, "case", row)
                yield from _history("case_status_history", "case_id", "status", row)
        for kind, row in (
            ("task", _task(scene, identifier, number, scene.moment(birth, dice, 8, 18), dice)),
            ("memo", _memo(scene, identifier, number, scene.moment(birth, dice, 8, 18), dice)),
        ):
            yield row
            yield from _links(scene, kind, row)
    for number in range(scene.many(1)):
        row = _opportunity(scene, scene.identifier(birth, number), birth, scene.moment(birth, dice, 8, 18), dice)
        yield row
        yield from _history("opportunity_stage_history", "opportunity_id", "stage", row)
    if birth % 3 == 0:
        yield _campaign(scene, birth, scene.moment(birth, dice, 8, 18))


def _about(scene: Scene, dice: Random) -> dict[str, Any]:
    account = people.pick_account(scene, dice.random())
    return {"account_id": account.id, "account_name": account.name}


def _links(scene: Scene, kind: str, activity: Row) -> Iterator[Row]:
    """The records that an activity is about, by key: its names go stale, these do not. Tasks and memos name their account alone."""
    at, first = activity.versions[0]
    values = first or {}
    number = values["id"]
    about = {"account": values["account_id"], "contact": values.get("provider_id"), "patient": values.get("patient_mrn")}
    if kind != "case":
        about["contact"] = 1 + number % scene.many(people.PROVIDERS)
        about["patient"] = people.patient(scene, 1 + number % scene.many(people.PATIENTS)).mrn if number % 2 else None
    for record_type, record in about.items():
        if record is not None:
            link = {"activity_type": kind, "activity_id": values["id"], "record_type": record_type, "record_id": str(record)}
            yield Row.born("activity_link", at, {**link, "updated_at": at})


def _history(table: str, owner: str, column: str, of: Row) -> Iterator[Row]:
    """The values that a column of a row went through, one row each, as applications keep them beside it."""
    before = None
    identifier = (of.versions[0][1] or {})["id"]
    for number, (at, values) in enumerate(of.versions):
        if values and column in values:
            changed = {f"from_{column}": before, f"to_{column}": values[column], "changed_at": at, "updated_at": at}
            user = {"changed_by_user_id": 1 + number % people.USERS} if column == "status" else {}
            yield Row.born(table, at, {"id": identifier * _VERSIONS + number, owner: identifier, **changed, **user})
            before = values[column]


def _case(scene: Scene, identifier: int, number: int, opened: datetime, dice: Random) -> Iterator[Row]:
    patient = people.patient(scene, 1 + dice.randrange(scene.many(people.PATIENTS)))
    row = Row.born(
        "crm_case",
        opened,
        {
            "id": identifier,
            **_about(scene, dice),
            "patient_mrn": patient.mrn if number % 3 else None,
            "provider_id": 1 + dice.randrange(scene.many(people.PROVIDERS)),
            "assigned_user_id": 1 + dice.randrange(people.USERS),
            "subject": dice.choice(words.CASE_SUBJECTS),
            "body": f"The office of {patient.family_name} called.\nCall back: {patient.phone}.",
            "status": "open",
            "root_cause": None,
            "opened_at": opened,
            "closed_at": None,
            "deleted": 0,
            "updated_at": opened,
        },
    )
    yield row
    if number % 3 == 2:
        row.then(opened + timedelta(hours=5), deleted=1)  # the soft delete
    else:
        closed = opened + timedelta(hours=20 + 10 * dice.random())
        row.then(opened + timedelta(hours=2), status="in_progress")
        row.then(closed, status="closed", root_cause=dice.choice(words.ROOT_CAUSES), closed_at=closed)
        if number % 3 == 1 and dice.random() < 0.5:
            row.then(closed + timedelta(hours=20), status="reopened", closed_at=None)
    if number % 3 == 0:
        content = b"%PDF-1.4\n" + dice.randbytes(64)
        attachment = {
            "id": identifier,
            "case_id": identifier,
            "file_name": f"scan-{identifier}.pdf",
            "content": content,
        }
        yield Row.born("attachment", opened, {**attachment, "updated_at": opened})


def _task(scene: Scene, identifier: int, number: int, at: datetime, dice: Random) -> Row:
    row = Row.born(
        "task",
        at,
        {
            "id": identifier,
            **_about(scene, dice),
            "assigned_user_id": 1 + dice.randrange(people.USERS),
            "subject": dice.choice(words.TASK_SUBJECTS),
            "status": "open",
            "due_at": at + timedelta(days=1),
            "completed_at": None,
            **slot_values(scene, "task", identifier),
            "created_at": at,
            "updated_at": at,
        },
    )
    if number % 3 == 2:
        return row.deleted(at + timedelta(days=1))
    done = at + timedelta(hours=6 + 30 * dice.random())
    return row.then(done, status="done", completed_at=done)


def _memo(scene: Scene, identifier: int, number: int, at: datetime, dice: Random) -> Row:
    about = _about(scene, dice)
    row = Row.born(
        "memo",
        at,
        {
            "id": identifier,
            **about,
            "author_user_id": 1 + dice.randrange(people.USERS),
            "memo_type": dice.choice(words.MEMO_TYPES),
            "body": f"Visited {about['account_name']}.\r\nThey asked for “faster” results, ½ day at most.",
            "visited_on": at.date(),
            "visited_time": at.time().replace(microsecond=0),
            "deleted": 0,
            "created_at": at,
            "updated_at": at,
        },
    )
    return row.then(at + timedelta(days=1), deleted=1) if number % 3 == 1 else row


def _opportunity(scene: Scene, identifier: int, birth: int, at: datetime, dice: Random) -> Row:
    about = _about(scene, dice)
    values = {
        "id": identifier,
        **about,
        "name": f"More volume at {about['account_name']}",
        "stage": "prospecting",
        "amount": Decimal(dice.randrange(1_000, 90_000)),
        # Both spellings of a percentage are in use.
        "probability": dice.choice(("0.10", "50", "0.75")),
        "close_on": at.date() + timedelta(days=60),
        "created_at": at,
        "updated_at": at,
    }
    if birth >= NEW_COLUMN_DAY:
        values[NEW_COLUMN[1]] = dice.choice(("commit", "best case", "pipeline"))
    row = Row.born("opportunity", at, values)
    return row.then(at + timedelta(days=1), stage="qualified").then(at + timedelta(days=2), stage=dice.choice(words.STAGES[2:]))


def _campaign(scene: Scene, birth: int, at: datetime) -> Row:
    values = {
        "id": scene.identifier(birth, 0),
        "name": f"Outreach {birth}",
        "starts_on": at.date(),
        "ends_on": at.date() + timedelta(days=30),
        "settings": json.dumps({"channel": "e-mail", "discount": 1.10, "cities": [city for city, _, _ in words.CITIES[:2]]}),
        # The cursor is empty until the first edit: no one may plan an incremental load on it.
        "updated_at": None,
    }
    return Row.born("campaign", at, values).then(at + timedelta(days=2), name=f"Outreach {birth}, extended")
