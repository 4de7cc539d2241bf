"""The master data of the LIS: patients with their moves and merges, analytes and reject reasons."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from lab_insights.local.laboratory import people
from lab_insights.local.laboratory import vocabulary as words
from lab_insights.local.laboratory.catalogue import CATALOGUE, COMPOSITE_PARTS, REJECT_REASONS, Component
from lab_insights.local.laboratory.scene import Scene
from lab_insights.local.laboratory.timeline import Row


def births(scene: Scene, birth: int) -> Iterator[Row]:
    """Yield the patients registered on day `birth`; the first day also brings the catalogue."""
    if birth == 0:
        yield from _catalogue(scene)
        numbers = range(1, scene.many(people.PATIENTS) + 1)
    else:
        first = scene.identifier(birth, 0)
        numbers = range(first, first + scene.many(people.NEW_PATIENTS_A_DAY)) if birth > 0 else range(0)
    dice = scene.dice("registration", birth)
    for number in numbers:
        # History was registered over the months before the first day.
        back = dice.randrange(1, 90) if birth == 0 else 0
        yield from _registered(people.patient(scene, number), scene.moment(birth - back, dice))


def touches(scene: Scene, index: int) -> Iterator[Row]:
    """Yield the changes that day `index` makes to patients of the first day: moves and merges."""
    dice = scene.dice("moves", index)
    merged = people.merged_patient(scene, index)
    for number in dice.sample(range(1, scene.many(people.PATIENTS) + 1), scene.many(2)):
        at = scene.moment(index, dice, 8, 18)
        if number != merged:
            moved = {
                "postal_code": dice.choice(words.CITIES)[2],
                "phone": people.phone(number + index),
                "updated_at": at,
            }
            yield Row.existing("patient", {"id": number}, at, moved)
    if merged is not None:
        at = merge_instant(scene, index)
        yield Row.existing("patient", {"id": merged}, at, {"merged_into_id": people.SURVIVOR, "updated_at": at})
    if index == 2:
        # A lookup without a cursor changes too: only a full load sees it.
        at = scene.midnight(index) + timedelta(hours=7)
        yield Row.born("reject_reason", at, {"code": "EXP", "label": "Expired transport medium"})


def merge_instant(scene: Scene, index: int) -> datetime:
    """Return when the merge of day `index` is written."""
    return scene.midnight(index) + timedelta(hours=13, microseconds=4711)


def _registered(patient: people.Patient, at: datetime) -> Iterator[Row]:
    values = {name: getattr(patient, name) for name in people.Patient.__dataclass_fields__}
    yield Row.born("patient", at, {**values, "merged_into_id": None, "updated_at": at})
    identifiers = [("Main Laboratory", "MR", patient.mrn)]
    if patient.id % 3 == 0:
        identifiers.append(("Example Health Plan", "MB", f"MB{patient.id:08d}"))
    for authority, kind, identifier in identifiers:
        its = {"authority": authority, "identifier_type": kind, "identifier": identifier, "patient_id": patient.id}
        yield Row.born("patient_identifier", at, {**its, "updated_at": at})


def _catalogue(scene: Scene) -> Iterator[Row]:
    at = scene.midnight(-30)
    for code, label in REJECT_REASONS.items():
        yield Row.born("reject_reason", at, {"code": code, "label": label})
    for test in CATALOGUE:
        parts = COMPOSITE_PARTS if test.code == "UA" else test.components
        for sequence, component in enumerate(parts, start=1):
            yield _component(test.code, sequence, component, at)


def _component(test_code: str, sequence: int, component: Component, at: datetime) -> Row:
    bounded = component.kind == "number"
    values = {
        "test_code": test_code,
        "component_code": component.code,
        "sequence": sequence,
        "name": component.name,
        "loinc": component.loinc,
        "unit": component.unit,
        "range_low": Decimal(str(component.low)) if bounded else None,
        "range_high": Decimal(str(component.high)) if bounded else None,
        "updated_at": at,
    }
    return Row.born("test_component", at, values)
