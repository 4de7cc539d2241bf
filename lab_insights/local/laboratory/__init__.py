"""The synthetic laboratory: invented tenants in real source databases, deterministic from a seed.

`Laboratory.create()` makes schemas and tables, `simulate_day()` writes one UTC day's changes, `drop()` removes it.
Every row is a pure function of (seed, tenant, day), so days can be written by different processes, in order.
Every name is invented and looks it; nothing here describes a person.
"""

from __future__ import annotations

from lab_insights.local.laboratory.laboratory import Laboratory
from lab_insights.local.laboratory.tenancy import LabTenant, Targets

__all__ = ["LabTenant", "Laboratory", "Targets"]
