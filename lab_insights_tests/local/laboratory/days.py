"""What the tests of the laboratory share: tenants, and the generated days as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from lab_insights.local.laboratory import LabTenant
from lab_insights.local.laboratory.generation import day_changes
from lab_insights.local.laboratory.scene import Scene
from lab_insights.local.laboratory.schema import Table
from lab_insights.local.laboratory.tables import AUDIT, CRM, LIS, MESSAGES
from lab_insights.local.laboratory.timeline import Change
from lab_insights.local.laboratory.user_defined import user_defined_table

FIRST_DAY = date(2026, 3, 2)
SEED = 11
AURORA = LabTenant("aurora_clinic", 12, "schema")
BIRCHWOOD = LabTenant("birchwood", 27, "prefix")
CEDAR = LabTenant("cedar_valley", 31, "discriminator")
TENANTS = (AURORA, BIRCHWOOD, CEDAR)


def scene(tenant: LabTenant = BIRCHWOOD, seed: int = SEED, scale: float = 1.0) -> Scene:
    """Return the frame of one tenant's generation."""
    return Scene(tenant, seed, FIRST_DAY, scale)


def day(frame: Scene, index: int) -> Iterator[Change]:
    """Yield every change of one day."""
    for chunk in day_changes(frame, index):
        yield from chunk


def keys(tenant: LabTenant = BIRCHWOOD) -> dict[str, tuple[str, ...]]:
    """Return the key columns by table; DynamoDB's included."""
    every: tuple[Table, ...] = (*CRM, *LIS, *AUDIT, *MESSAGES, user_defined_table(tenant))
    return {**{table.name: table.key for table in every}, "critical_notification": ("notification_id",)}


def state_after(frame: Scene, last_index: int) -> dict[str, dict[Any, dict[str, Any]]]:
    """Replay the days up to `last_index` and return the rows by table and key; a change of a missing row fails."""
    known = keys(frame.tenant)
    state: dict[str, dict[Any, dict[str, Any]]] = {name: {} for name in known}
    for index in range(last_index + 1):
        for change in day(frame, index):
            rows, columns = state[change.table], known[change.table]
            key = tuple(change.first[column] for column in columns) if columns else len(rows)
            if change.operation == "insert":
                assert key not in rows, f"{change.table} has this key twice on day {index}"
                rows[key] = dict(change.values)
            elif change.operation == "update":
                rows[key].update(change.values)
            else:
                del rows[key]
    return state
