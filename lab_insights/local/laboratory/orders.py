"""An order as facts: who asked for what, when each step happened, and what came out.

The LIS rows, the HL7 and FHIR messages and the notifications are three tellings of these facts, so they agree.
Each dozen orders holds one of every trouble (`Trouble`), so that each day has all of them at every scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from random import Random

from lab_insights.local.laboratory import people
from lab_insights.local.laboratory import vocabulary as words
from lab_insights.local.laboratory.catalogue import CATALOGUE, REJECT_REASONS, Component, Test
from lab_insights.local.laboratory.people import Account, Patient
from lab_insights.local.laboratory.scene import Scene
from lab_insights.local.laboratory.values import Value, draw

ORDERS_A_DAY = 12
CHUNK = 500
_MAX_ITEMS, _MAX_RESULTS = 4, 16


class Trouble(IntEnum):
    """What is special about an order, by its number modulo twelve; higher numbers are plain."""

    REJECTED = 0
    LATE = 1
    CORRECTED = 2
    CRITICAL = 3
    DELETED = 4
    PRELIMINARY = 5
    DATE_ONLY = 6
    STAT = 7


@dataclass(slots=True)
class Result:
    """One analyte; `corrected` replaces `value` later, a `deleted` one was entered in error and leaves the database."""

    id: int
    component: Component
    value: Value
    corrected: Value | None = None
    deleted: bool = False


@dataclass(slots=True)
class Item:
    """One ordered test, with the instants its results were measured and verified."""

    id: int
    test: Test
    results: list[Result]
    added_on: bool
    resulted: datetime
    verified: datetime


@dataclass(slots=True)
class Order:
    """One order; instants are those of writing, and happened `delay` earlier when the order arrived late."""

    id: int
    patient: Patient
    account: Account
    provider_id: int
    priority: str
    trouble: int
    ordered: datetime
    collected: datetime
    received: datetime
    items: list[Item]
    lab: str
    reject_reason: str | None
    delay: timedelta

    @property
    def numbers(self) -> tuple[str, str, str]:
        """The placer number, the filler number and the accession."""
        return f"P{self.id:09d}", f"F{self.id:09d}", f"A{self.id:09d}"

    @property
    def completed(self) -> datetime:
        """The instant the last item was verified, or the specimen rejected."""
        return self.received if self.reject_reason else max(item.verified for item in self.items)

    @property
    def corrected(self) -> datetime:
        """The instant a correction is issued, where there is one: on the next day."""
        return self.completed + timedelta(hours=20)

    def happened(self, written: datetime) -> datetime:
        """Return when what was written at `written` took place."""
        return written - self.delay


def orders(scene: Scene, birth: int) -> Iterator[list[Order]]:
    """Yield the orders placed on day `birth`, at most `CHUNK` at a time."""
    total = scene.many(ORDERS_A_DAY)
    for start in range(0, total, CHUNK):
        dice = scene.dice("orders", birth, start)
        yield [_order(scene, birth, number, dice) for number in range(start, min(start + CHUNK, total))]


def _order(scene: Scene, birth: int, number: int, dice: Random) -> Order:
    trouble = number % 12
    pool = scene.many(people.PATIENTS)
    identifier = scene.identifier(birth, number)
    ordered = scene.moment(birth, dice, 5, 23)
    collected = ordered + timedelta(minutes=5 + 60 * dice.random())
    received = collected + timedelta(minutes=15 + 75 * dice.random())
    stat = trouble == Trouble.STAT
    tests = dice.sample(CATALOGUE, 1 if dice.random() < 0.6 else 2)
    if trouble in (Trouble.CRITICAL, Trouble.CORRECTED, Trouble.STAT):
        tests = [CATALOGUE[0]]
    order = Order(
        id=identifier,
        patient=people.patient(scene, people.current_patient(1 + dice.randrange(pool), birth)),
        account=people.pick_account(scene, dice.random()),
        provider_id=1 + dice.randrange(scene.many(people.PROVIDERS)),
        priority="S" if stat else dice.choice("RRRRA"),
        trouble=trouble,
        ordered=ordered,
        collected=collected,
        received=received,
        items=[],
        lab=dice.choice(words.LABS),
        reject_reason=dice.choice(tuple(REJECT_REASONS)) if trouble == Trouble.REJECTED else None,
        delay=timedelta(days=2) if trouble == Trouble.LATE else timedelta(0),
    )
    for place, test in enumerate(tests):
        order.items.append(_item(order, place, test, dice))
    return order


def _item(order: Order, place: int, test: Test, dice: Random) -> Item:
    minutes = (test.stat_target if order.priority == "S" else test.target) or 1800
    resulted = order.received + timedelta(minutes=minutes * (0.3 + 0.6 * dice.random()))
    # A preliminary value waits long enough for a daily look to see it.
    waits = 60 * 14 if order.trouble == Trouble.PRELIMINARY else 3
    item = Item(
        id=order.id * _MAX_ITEMS + place,
        test=test,
        results=[],
        added_on=place > 0 and dice.random() < 0.3,
        resulted=resulted,
        verified=resulted + timedelta(minutes=waits + 45 * dice.random()),
    )
    first = item.id * _MAX_RESULTS
    for number, component in enumerate(test.components):
        critical = order.trouble == Trouble.CRITICAL and component.code == "K"
        item.results.append(Result(first + number, component, draw(component, dice, critical)))
    if place == 0 and order.trouble == Trouble.CORRECTED:
        item.results[0].corrected = draw(test.components[0], dice)
    if place == 0 and order.trouble == Trouble.DELETED:
        item.results[-1].deleted = True
    return item
