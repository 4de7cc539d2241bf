"""Who may do what in the warehouse, as a pure plan from the registry: roles and grants of a tenant, virtual warehouses and their limits by tier.

A tenant's roles are account roles named after its database. Each is granted to the next, so that the owner may all of it:

- reader: `DEIDENTIFIED` and the reports' tables, which hold no row of a person.
- analyst: no PHI either, but may use the tier's warehouse for queries of its own and see the receipts.
- loader: writes, and so reads rows with PHI. The pipeline's role is granted it, and acts as it in the tenant's database (`provision.use`): what is made there
  belongs to it, whoever logged in, and a role that lacks it can load nothing. It inherits nothing that it does not need.
- owner: all of that, for people. Nobody else reads rows with PHI.

Database, schemas, `OPS` and the roles themselves belong to the role that provisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lab_insights.names import TenantId
from lab_insights.warehouse.admin import Drop, Grant, GrantRole, Make, Property, Revoke, Step, TagDatabase
from lab_insights.warehouse.names import STORE, database, identifier
from lab_insights.warehouse.session import Login

Role = Literal["READER", "ANALYST", "LOADER", "OWNER"]
ROLES: tuple[Role, ...] = ("READER", "ANALYST", "LOADER", "OWNER")
SCHEMAS = ("OPS", "CURATED", "TRANSFORMED", "REPORTS", "DEIDENTIFIED", STORE)
EVERY: tuple[Literal["ALL", "FUTURE"], ...] = ("ALL", "FUTURE")


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


def compute(tier: str) -> list[Step]:
    """Return the steps that make a tier's warehouse and its limits, or bring them up to date."""
    its, name = COMPUTE[tier], warehouse(tier)
    monitor = f"CREDIT_QUOTA = {its.credits} FREQUENCY = DAILY START_TIMESTAMP = IMMEDIATELY"
    triggers = "TRIGGERS ON 80 PERCENT DO NOTIFY ON 100 PERCENT DO SUSPEND ON 110 PERCENT DO SUSPEND_IMMEDIATE"
    size: dict[str, Property] = {"warehouse_size": its.size}
    limits: dict[str, Property] = {
        "auto_suspend": its.auto_suspend,
        "auto_resume": "true",
        "statement_timeout_in_seconds": its.statement_timeout,
    }
    return [
        f"CREATE RESOURCE MONITOR IF NOT EXISTS {identifier(name)} WITH {monitor} {triggers}",
        Make("WAREHOUSE", (name,), {**size, "initially_suspended": "true"}),
        Make("WAREHOUSE", (name,), {**size, **limits, "resource_monitor": name}, mode="or_alter"),
    ]


def permissions(tenant: TenantId, tier: str, login: Login) -> list[Step]:
    """Return the steps that make a tenant's roles and tags and grant what they may; doing them again changes nothing."""
    its, of_tenant = database(tenant), (database(tenant), "OPS", "TENANT")
    reader, analyst, loader, owner = (role(tenant, name) for name in ROLES)
    used = dict.fromkeys(filter(None, (warehouse(tier), login.warehouse)))
    writing = ("SELECT", "INSERT", "UPDATE", "DELETE")
    return [
        *(Make("ROLE", (each,)) for each in (reader, analyst, loader, owner)),
        *([GrantRole(loader, login.role)] if login.role else []),
        Make("TAG", of_tenant),
        TagDatabase(its, of_tenant, tenant),
        *(Grant(("USAGE",), "DATABASE", (its,), each) for each in (reader, loader)),
        *_reading(its, "DEIDENTIFIED", reader),
        *_reading(its, "REPORTS", reader),
        GrantRole(reader, analyst),
        Grant(("USAGE",), "WAREHOUSE", (warehouse(tier),), analyst),
        *_reading(its, "OPS", analyst),
        GrantRole(analyst, owner),
        *(Grant(("USAGE",), "WAREHOUSE", (each,), loader) for each in used),
        Grant(("CREATE SCHEMA",), "DATABASE", (its,), loader),
        Grant(("USAGE", "CREATE TABLE", "CREATE VIEW", "CREATE STAGE"), "SCHEMA", (its,), loader, "ALL"),
        # future ones too: each provisioning replaces the stages, and their grants with them
        *(Grant(("USAGE",), "STAGE", (its, "OPS"), loader, every) for every in EVERY),
        # by schema: where a schema has future grants of its own, as those below, Snowflake ignores those of its database
        *(Grant(writing, "TABLE", (its, schema), loader, every) for schema in SCHEMAS for every in EVERY),
        GrantRole(loader, owner),
        *_reading(its, "CURATED", owner),
        *_reading(its, "TRANSFORMED", owner),
        GrantRole(owner, "SYSADMIN"),
    ]


def suspension(tenant: TenantId) -> list[Step]:
    """Return the steps that keep a tenant's people out; its data and its pipeline stay as they are."""
    return [Revoke(("USAGE",), "DATABASE", (database(tenant),), role(tenant, "READER"))]


def removal(tenant: TenantId) -> list[Step]:
    """Return the steps that remove a tenant's database and roles."""
    return [Drop("DATABASE", (database(tenant),)), *(Drop("ROLE", (role(tenant, name),)) for name in ROLES)]


def _reading(its: str, schema: str, who: str) -> list[Step]:
    kinds = ("TABLE", "VIEW")
    return [
        Grant(("USAGE",), "SCHEMA", (its, schema), who),
        *(Grant(("SELECT",), kind, (its, schema), who, every) for kind in kinds for every in EVERY),
    ]
