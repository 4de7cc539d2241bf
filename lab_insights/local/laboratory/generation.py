"""All changes of one tenant on one day, in bounded chunks: the one function that the writers consume."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from lab_insights.local.laboratory import crm, lis, registration, user_defined
from lab_insights.local.laboratory.events import audit_events, notifications
from lab_insights.local.laboratory.messages import merge_rows, order_messages
from lab_insights.local.laboratory.orders import Order, orders
from lab_insights.local.laboratory.scene import Scene
from lab_insights.local.laboratory.timeline import LIFE, Change, Row, Window, changes

CHUNK = 5_000


def day_changes(scene: Scene, index: int) -> Iterator[list[Change]]:
    """Yield the changes of day `index`, a pure function of the scene; the first day holds the history too.

    Memory is bounded by the chunks, whatever the scale.
    """
    window = Window.of_day(scene.first_day, index)
    for chunk in _rows(scene, index):
        if found := list(changes(chunk, window)):
            yield found


def _rows(scene: Scene, index: int) -> Iterator[list[Row]]:
    for birth in scene.births(index, LIFE):
        yield from _chunks(chain(crm.births(scene, birth), registration.births(scene, birth), audit_events(scene, birth)))
        for chunk in orders(scene, birth):
            yield [row for order in chunk for row in _told(scene, order)]
        yield from user_defined.table_rows(scene, birth)
    if index > 0:
        touches = chain(crm.touches(scene, index), registration.touches(scene, index), merge_rows(scene, index))
        yield from _chunks(touches)


def _told(scene: Scene, order: Order) -> Iterator[Row]:
    yield from lis.order_rows(scene, order)
    yield from order_messages(scene, order)
    yield from notifications(order)


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk
