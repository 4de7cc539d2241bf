"""What commands leave in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab_insights.config import Config
    from lab_insights.governance.audit import Action, Outcome
    from lab_insights.names import TenantId


def record(
    config: Config,
    action: Action,
    tenant: TenantId | None = None,
    *,
    outcome: Outcome = "done",
    subject: str = "",
    days: str = "",
    **counts: int,
) -> None:
    """Write what the person at this terminal did for a tenant, or for the whole deployment, before it is told."""
    from lab_insights.governance.audit import Event, Log
    from lab_insights.resources.lake import open_lake

    event = Event(action=action, outcome=outcome, subject=subject, days=days, counts=counts)
    Log(open_lake(config).storage).append(event, tenant)
