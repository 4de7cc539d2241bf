"""Who may do what in the warehouse, as a pure plan from the registry: roles and grants of a tenant, virtual warehouses and their limits by tier.

A tenant's roles are account roles named after its database. Each is granted to the next, so that the owner may all of it:

- reader: `DEIDENTIFIED` and the reports' tables, which hold no row of a person.
- analyst: no PHI either, but may use the tier's warehouse for queries of its own and see the receipts.
- loader: writes; the role of the pipeline. It inherits nothing that it does not need.
- owner: owns the database, and is the only one who reads rows with PHI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lab_insights.names import TenantId
from lab_insights.warehouse.names import database, identifier

Role = Literal["READER", "ANALYST", "LOADER", "OWNER"]
ROLES: tuple[Role, ...] = ("READER", "ANALYST", "LOADER", "OWNER")


@dataclass(frozen=True)
class Compute:
    """The virtual warehouse of a tier: idle seconds until it sleeps, seconds that a statement may run, credits a day until it is stopped."""

    size: str
    auto_suspend: int
    statement_timeout: int
    credits: int


COMPUTE: dict[str, Compute] = {"daily": Compute("XSMALL", 60, 3600, 24), "frequent": Compute("SMALL", 120, 1800, 96)}


def role(tenant: TenantId, name: Role) -> str:
    """Return the name of a tenant's role, not quoted."""
    return f"{database(tenant)}_{name}"


def warehouse(tier: str) -> str:
    """Return the name of a tier's virtual warehouse, not quoted."""
    return f"LAB_INSIGHTS_{tier.upper()}"


def compute(tier: str) -> list[str]:
    """Return the statements that make a tier's warehouse and its limits, or bring them up to date."""
    its, name = COMPUTE[tier], identifier(warehouse(tier))
    limits = f"AUTO_SUSPEND = {its.auto_suspend} AUTO_RESUME = TRUE STATEMENT_TIMEOUT_IN_SECONDS = {its.statement_timeout}"
    monitor = f"CREDIT_QUOTA = {its.credits} FREQUENCY = DAILY START_TIMESTAMP = IMMEDIATELY"
    triggers = "TRIGGERS ON 80 PERCENT DO NOTIFY ON 100 PERCENT DO SUSPEND ON 110 PERCENT DO SUSPEND_IMMEDIATE"
    return [
        f"CREATE RESOURCE MONITOR IF NOT EXISTS {name} WITH {monitor} {triggers}",
        f"CREATE WAREHOUSE IF NOT EXISTS {name} WITH WAREHOUSE_SIZE = {its.size} {limits} INITIALLY_SUSPENDED = TRUE",
        f"ALTER WAREHOUSE {name} SET WAREHOUSE_SIZE = {its.size} {limits} RESOURCE_MONITOR = {name}",
    ]


def permissions(tenant: TenantId, tier: str) -> list[str]:
    """Return the statements that make a tenant's roles and tags and grant what they may; running them again changes nothing."""
    its = identifier(database(tenant))
    roles = {name: identifier(role(tenant, name)) for name in ROLES}
    reader, analyst, loader, owner = (roles[name] for name in ROLES)
    everyone = [f"GRANT USAGE ON DATABASE {its} TO ROLE {each}" for each in (reader, loader)]
    return [
        *(f"CREATE ROLE IF NOT EXISTS {each}" for each in roles.values()),
        f"CREATE TAG IF NOT EXISTS {its}.OPS.TENANT",
        f"ALTER DATABASE {its} SET TAG {its}.OPS.TENANT = '{tenant}'",
        *everyone,
        *_reading(its, "DEIDENTIFIED", reader),
        *_reading(its, "REPORTS", reader),
        f"GRANT ROLE {reader} TO ROLE {analyst}",
        f"GRANT USAGE ON WAREHOUSE {identifier(warehouse(tier))} TO ROLE {analyst}",
        *_reading(its, "OPS", analyst),
        f"GRANT ROLE {analyst} TO ROLE {owner}",
        f"GRANT USAGE ON WAREHOUSE {identifier(warehouse(tier))} TO ROLE {loader}",
        f"GRANT CREATE SCHEMA ON DATABASE {its} TO ROLE {loader}",
        f"GRANT USAGE, CREATE TABLE, CREATE VIEW, CREATE STAGE ON ALL SCHEMAS IN DATABASE {its} TO ROLE {loader}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN DATABASE {its} TO ROLE {loader}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON FUTURE TABLES IN DATABASE {its} TO ROLE {loader}",
        f"GRANT ROLE {loader} TO ROLE {owner}",
        *_reading(its, "CURATED", owner),
        *_reading(its, "TRANSFORMED", owner),
        f"GRANT ROLE {owner} TO ROLE SYSADMIN",
    ]


def suspension(tenant: TenantId) -> list[str]:
    """Return the statements that keep a tenant's people out; its data and its pipeline stay as they are."""
    its = identifier(database(tenant))
    return [f"REVOKE USAGE ON DATABASE {its} FROM ROLE {identifier(role(tenant, 'READER'))}"]


def removal(tenant: TenantId) -> list[str]:
    """Return the statements that remove a tenant's database and roles."""
    return [
        f"DROP DATABASE IF EXISTS {identifier(database(tenant))}",
        *(f"DROP ROLE IF EXISTS {identifier(role(tenant, name))}" for name in ROLES),
    ]


def _reading(its: str, schema: str, who: str) -> list[str]:
    place = f"{its}.{identifier(schema)}"
    kinds = ("TABLES", "VIEWS")
    return [
        f"GRANT USAGE ON SCHEMA {place} TO ROLE {who}",
        *(f"GRANT SELECT ON {which} {kind} IN SCHEMA {place} TO ROLE {who}" for kind in kinds for which in ("ALL", "FUTURE")),
    ]
