"""A secure share of a tenant's DEIDENTIFIED, for the accounts that its registry entry names in `share_with`; planned and applied as grants are.

A share holds nothing: it shows the views of one schema to other accounts. It is brought into line with the registry each time, so that an account that
is named no longer loses it, and without any account there is no share. A view that is made by a later load is in it after the next `schema_sync`.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse.deidentified import SCHEMA
from lab_insights.warehouse.names import database, identifier
from lab_insights.warehouse.session import Session

_VIEWS = "SELECT DISTINCT TABLE_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = 'DEIDENTIFIED' ORDER BY 1"


def share(tenant: TenantId) -> str:
    """Return the name of a tenant's share, not quoted."""
    return f"{database(tenant)}_{SCHEMA}"


def plan(tenant: TenantId, accounts: Sequence[str], views: Sequence[str]) -> list[str]:
    """Return the statements after which exactly `accounts` (each `organization.account`) see `views` of the tenant's DEIDENTIFIED."""
    if not accounts:
        return removal(tenant)
    its, name = identifier(database(tenant)), identifier(share(tenant))
    schema = f"{its}.{identifier(SCHEMA)}"
    return [
        f"CREATE SHARE IF NOT EXISTS {name}",
        f"GRANT USAGE ON DATABASE {its} TO SHARE {name}",
        f"GRANT USAGE ON SCHEMA {schema} TO SHARE {name}",
        *(f"GRANT SELECT ON VIEW {schema}.{identifier(view)} TO SHARE {name}" for view in views),
        # the whole list, where ADD would keep who is no longer named
        f"ALTER SHARE {name} SET ACCOUNTS = {', '.join(accounts)}",
    ]


def removal(tenant: TenantId) -> list[str]:
    """Return the statement that ends the share."""
    return [f"DROP SHARE IF EXISTS {identifier(share(tenant))}"]


def apply(session: Session, tenant: Tenant) -> int:
    """Bring a tenant's share into line with its registry entry and return how many statements that took; a suspended tenant shares nothing."""
    session.resume()  # a share belongs to the login's own role, as the database does
    accounts = () if tenant.suspended else tenant.share_with
    views: list[str] = []
    if accounts:
        session.use(database(tenant.id), "OPS", tenant.id)
        views = [str(name) for (name,) in session.execute(_VIEWS)]
    statements = plan(tenant.id, accounts, views)
    for statement in statements:
        session.execute(statement)
    return len(statements)
