"""What happens beside the records: the audit trail, and the telephone calls for critical values (DynamoDB)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from lab_insights.local.laboratory import people
from lab_insights.local.laboratory.lis import result_status
from lab_insights.local.laboratory.orders import ORDERS_A_DAY, Order
from lab_insights.local.laboratory.scene import Scene
from lab_insights.local.laboratory.timeline import Row
from lab_insights.local.laboratory.values import is_critical

_ACTIONS = (
    ("login", "session"),
    ("read", "result"),
    ("read", "patient"),
    ("update", "lab_order"),
    ("export", "report"),
)
_EVENTS_A_DAY = 25
NOTIFICATIONS = "critical_notification"


def audit_events(scene: Scene, birth: int) -> Iterator[Row]:
    """Yield the audit events of day `birth`: who did what to which record; about one in twelve is refused."""
    dice = scene.dice("audit", birth)
    for number in range(scene.many(_EVENTS_A_DAY)):
        at = scene.moment(birth, dice)
        action, entity = dice.choice(_ACTIONS)
        values = {
            "id": scene.identifier(birth, number),
            "occurred_at": at,
            "user_name": people.user_name(1 + dice.randrange(people.USERS)),
            "action": action,
            "entity_type": entity,
            "entity_id": str(scene.identifier(birth, dice.randrange(scene.many(ORDERS_A_DAY)))),
            "outcome": "refused" if dice.random() < 0.08 else "success",
            "client_address": f"192.0.2.{dice.randrange(1, 255)}",
            "details": json.dumps({"module": "portal", "seconds": 1.10, "rows": dice.randrange(50)}),
            "updated_at": at,
        }
        yield Row.born("audit_event", at, values)


def notifications(order: Order) -> Iterator[Row]:
    """Yield the calls that an order's critical values ask for; some are never documented."""
    for item in order.items:
        for result in item.results:
            if not is_critical(result.value) or result_status(order) == "X" or item.verified.microsecond % 5 == 4:
                continue
            called = item.verified + timedelta(minutes=4 + result.id % 50)
            # Every fourth call is answered by the day shift only.
            answered = called + timedelta(minutes=1 + result.id % 20, hours=0 if item.verified.second % 4 else 14)
            attempt = {"1": {"at": _text(called), "channel": "phone", "outcome": "no answer"}}
            reached = {"2": {"at": _text(answered), "channel": "phone", "outcome": "read back"}}
            values = {
                "notification_id": f"n-{result.id}",
                "result_id": result.id,
                "patient_mrn": order.patient.mrn,
                "value_text": result.value.raw,
                "notified_at": _text(order.happened(called)),
                "notified_to": f"Prov{1000 + order.provider_id}",
                "channel": "phone",
                "acknowledged_at": None,
                "updated_at": _text(called),
                "attempts": attempt,
            }
            changed = {"acknowledged_at": _text(order.happened(answered)), "attempts": attempt | reached}
            row = Row.born(NOTIFICATIONS, called, values)
            row.versions.append((answered, {**changed, "updated_at": _text(answered)}))
            yield row


def _text(instant: datetime) -> str:
    """Return an instant as this source stores it: ISO 8601 text, fixed width, so that it sorts."""
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
