"""Where a tenant's rows lie: servers, schemas, table prefixes, discriminators, and the decoys that share tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lab_insights.errors import ConfigError
from lab_insights.names import tenant_id

Layout = Literal["schema", "prefix", "discriminator"]
Relational = Literal["crm", "lis", "audit", "messages"]
RELATIONAL: tuple[Relational, ...] = ("crm", "lis", "audit", "messages")
DECOY_KEYS = (98, 99)


@dataclass(frozen=True)
class LabTenant:
    """A tenant as the source systems know it: its id, its number, and the layout of its `crm` and `lis` tables."""

    id: str
    key: int
    layout: Layout

    def __post_init__(self) -> None:
        tenant_id(self.id)


@dataclass(frozen=True)
class Targets:
    """SQLAlchemy URLs, the DynamoDB endpoint (None: AWS) with its table, and the base name of every schema."""

    crm: str
    lis: str
    audit: str
    messages: str
    notification_table: str
    dynamodb_endpoint: str | None = None
    region: str = "us-east-1"
    base: str = "lab_insights_demo"

    def __post_init__(self) -> None:
        # `drop` removes schemas of these names, so they must be unmistakably ours.
        if not self.base.startswith("lab_insights_"):
            raise ConfigError(
                f"The schemas' base name {self.base!r} does not start with lab_insights_.",
                remedy="choose a base such as lab_insights_demo.",
            )

    def url(self, source: Relational) -> str:
        """Return the SQLAlchemy URL of a relational source."""
        return {"crm": self.crm, "lis": self.lis, "audit": self.audit, "messages": self.messages}[source]


@dataclass(frozen=True)
class Placement:
    """A source's schema, table prefix and discriminating value (None: the tables are the tenant's own)."""

    schema: str
    prefix: str = ""
    discriminator: int | None = None


def layout(source: Relational, tenant: LabTenant) -> Layout:
    """Return the layout of a tenant in a source: its own in `crm` and `lis`, fixed elsewhere."""
    fixed: dict[Relational, Layout] = {"audit": "discriminator", "messages": "schema"}
    return fixed.get(source, tenant.layout)


def placement(base: str, source: Relational, tenant: LabTenant) -> Placement:
    """Return where a tenant's tables of a source lie."""
    if source == "audit":
        return Placement(f"{base}_audit", discriminator=tenant.key)
    match layout(source, tenant):
        case "schema":
            return Placement(f"{base}_{source}_{tenant.id}")
        case "prefix":
            return Placement(f"{base}_{source}_shared", prefix=f"t{tenant.key}_")
        case "discriminator":
            return Placement(f"{base}_{source}_pooled", discriminator=tenant.key)


def decoys(tenants: Iterable[LabTenant]) -> tuple[LabTenant, ...]:
    """Return the foreign tenants whose rows share pooled tables and shared schemas with `tenants`.

    Their ids collide with the real rows' ids. Key 271 beside 27 catches `LIKE 't27_%'`, where `_` is a wildcard.
    """
    pooled = tuple(LabTenant(f"decoy_{key}", key, "discriminator") for key in DECOY_KEYS)
    shared = [tenant.key for tenant in tenants if tenant.layout == "prefix"][:1]
    return (*pooled, *(LabTenant(f"decoy_{key}1", key * 10 + 1, "prefix") for key in shared))
