"""What customers define themselves: names of slot columns, a side table, a table of their own (one is large)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

from lab_insights.local.laboratory.scene import Scene
from lab_insights.local.laboratory.schema import Table, columns
from lab_insights.local.laboratory.tenancy import LabTenant, Layout
from lab_insights.local.laboratory.timeline import Row

CHUNK = 2_000
# (record type, slot) → (label, type, picklist)
_SLOTS: dict[tuple[str, str], tuple[str, str, str | None]] = {
    ("contact", "text_1"): ("Preferred report format", "picklist", "paper^portal^fax"),
    ("contact", "text_2"): ("Fluent in", "multi-picklist", "english^spanish^french"),
    ("contact", "numeric_1"): ("Satisfaction", "percentage", None),
    ("contact", "date_1"): ("Last training", "date", None),
    ("task", "text_1"): ("Escalated", "checkbox", None),
    ("task", "text_2"): ("Ticket", "hyperlink", None),
    ("task", "numeric_1"): ("Effort in hours", "numeric", None),
}
_EMPTY = {f"{kind}_{number}": None for kind in ("text", "numeric", "date") for number in range(1, 11)}
_HEAD = "id:big created_at:stamp updated_at:stamp "
_MEASURES = "".join(f"channel_{n:02d}:decimal:20,6? " for n in range(1, 21)) + "".join(
    f"flag_{n:02d}:flag? note_{n:02d}:text:80? " for n in range(1, 9)
)
# A table per layout, since pooled tenants share theirs: columns, rows of the first day, and the column that is edited
# later. The first is the large one: 40 columns; what it holds comes once a week.
_TABLES: dict[Layout, tuple[str, str, float, str]] = {
    "schema": ("udt_instrument_log", f"{_HEAD}instrument:text:40 {_MEASURES}", 5_000, "instrument"),
    "prefix": (
        "udt_courier_pickup",
        f"{_HEAD}stop:text:80 driver:text:80? pickup_on:date? pickup_time:time? tubes:int? temperature:decimal:5,2?",
        80,
        "driver",
    ),
    "discriminator": (
        "udt_supply_request",
        f"{_HEAD}item:text:60 quantity:int? unit_price:decimal:10,4? urgent:flag? options:json? remark:latin1:80?",
        60,
        "item",
    ),
}


def user_defined_table(tenant: LabTenant) -> Table:
    """Return the table that a tenant has defined for itself, in its CRM."""
    name, spec, _, _ = _TABLES[tenant.layout]
    return Table(name, "crm", columns(spec))


def table_rows(scene: Scene, birth: int) -> Iterator[list[Row]]:
    """Yield the rows made on day `birth` in the tenant's own table, at most `CHUNK` at a time; none in history."""
    name, _, volume, edited = _TABLES[scene.tenant.layout]
    made = _made(scene.tenant.layout, volume, birth)
    total = scene.many(made) if made else 0
    for start in range(0, total, CHUNK):
        dice = scene.dice(name, birth, start)
        chunk = []
        for number in range(start, min(start + CHUNK, total)):
            at = scene.moment(birth, dice)
            row = Row.born(name, at, _own_row(scene, scene.identifier(birth, number), at, dice.random()))
            if number % 40 == 1:
                row.then(at + timedelta(days=1), **{edited: f"edited {number}"})
            if number % 40 == 2:
                row.deleted(at + timedelta(days=2))
            chunk.append(row)
        yield chunk


def _made(layout: Layout, volume: float, birth: int) -> float:
    """Return how many rows of a table are made on a day."""
    if birth <= 0:
        return volume if birth == 0 else 0
    if layout == "schema":
        return volume / 7 if birth % 7 == 0 else 0
    return volume / 50


def definitions(scene: Scene, at: datetime) -> Iterator[Row]:
    """Yield the definitions of the slot columns; labels differ from tenant to tenant."""
    for number, ((record_type, slot), (label, kind, picklist)) in enumerate(_SLOTS.items(), start=1):
        values = {"id": number, "record_type": record_type, "slot": slot, "label": f"{label} ({scene.tenant.key})"}
        yield Row.born("udf_definition", at, {**values, "udf_type": kind, "picklist": picklist, "updated_at": at})


def slot_values(scene: Scene, record_type: str, number: int) -> dict[str, Any]:
    """Return the thirty slot columns of a record; only defined ones hold something."""
    values: dict[str, Any] = dict(_EMPTY)
    if record_type == "contact":
        values |= {
            "text_1": ("paper", "portal", "fax")[number % 3],
            "text_2": "english^spanish" if number % 4 else None,
        }
        # 0.10 and 50 are both legal percentages.
        values |= {"numeric_1": Decimal("0.10") if number % 2 else Decimal(50)}
        values |= {"date_1": scene.first_day - timedelta(days=number % 400)}
    else:
        values |= {"text_1": "yes" if number % 3 == 0 else None, "text_2": f"https://tickets.example.org/{number}"}
        values |= {"numeric_1": Decimal(number % 16) / 4}
    return values


def side_row(scene: Scene, number: int) -> dict[str, Any]:
    """Return the row beside an account in `accounts_cstm`, which has no cursor."""
    return {
        "id_c": number,
        "lab_director_c": f"Dr. Sampledottir {number}" if number % 3 else None,
        "is_vip_c": number % 3,
        "contract_discount_c": Decimal(number % 20) / 4,
        "courier_cutoff_c": time(17, number % 60),
        # More than a day: MySQL's TIME may hold it, most readers may not.
        "turnaround_allowance_c": "26:30:00" if number % 4 == 0 else "08:00:00",
        "portal_url_c": f"https://portal.example.org/{scene.tenant.id}/{number}",
    }


def _own_row(scene: Scene, identifier: int, at: datetime, roll: float) -> dict[str, Any]:
    head = {"id": identifier, "created_at": at, "updated_at": at}
    match scene.tenant.layout:
        case "schema":
            digits = int(roll * 1_000_000_000)
            return head | {
                "instrument": f"analyzer-{digits % 7}",
                **{f"channel_{n:02d}": Decimal(digits * n % 99_999_999).scaleb(-6) for n in range(1, 21)},
                **{f"flag_{n:02d}": digits >> n & 1 for n in range(1, 9)},
                **{f"note_{n:02d}": f"µ={digits * n % 9973}" if n % 2 else None for n in range(1, 9)},
            }
        case "prefix":
            return head | {
                "stop": f"Stop {int(roll * 90)}",
                "driver": "Driver Mockwell" if roll < 0.8 else None,
                "pickup_on": at.date(),
                "pickup_time": at.time().replace(microsecond=0),
                "tubes": int(roll * 60),
                "temperature": Decimal(f"{2 + 6 * roll:.2f}"),
            }
        case "discriminator":
            return head | {
                "item": f"Tube kit {int(roll * 12)}",
                "quantity": int(roll * 500),
                "unit_price": Decimal(f"{roll * 10:.4f}"),
                "urgent": int(roll * 3),
                "options": '{"colour": "blå", "size": 1.10}',
                "remark": "Kühl lagern ½" if roll < 0.3 else None,
            }
