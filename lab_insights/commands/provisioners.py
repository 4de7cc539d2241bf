"""What a tenant has, place by place: each provisioner makes, closes, counts and removes what is the tenant's in one place, as often as one likes.

`provisioners` is the list: `tenant add` goes through it from its start, `tenant offboard` from its end. The registry is not in it: its entry is what the
others hang on, written first and last (`commands.life`, `commands.offboarding`).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from lab_insights.config import Config
from lab_insights.governance import glue, lake_formation, people
from lab_insights.lake.commit import Lake
from lab_insights.lake.erase import erase_items, erase_objects, held_items, held_objects
from lab_insights.lake.layout import LAYERS
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse import provision, roles, sharing
from lab_insights.warehouse.admin import apply, means
from lab_insights.warehouse.names import database
from lab_insights.warehouse.report_page import LAYER as REPORTS
from lab_insights.warehouse.session import Session

Counts = dict[str, int]


class Provisioner(ABC):
    """One place. What it says is told to a person, and kept in certificates: counts and names, never a value."""

    name: str

    def plan(self, tenant: Tenant) -> Iterable[str]:  # noqa: ARG002
        """Yield what `add` would do, a line each, without doing it."""
        return ()

    def add(self, tenant: Tenant) -> str:  # noqa: ARG002
        """Make what is missing, and say what is there now; nothing where loads make what is needed."""
        return ""

    def suspend(self, tenant: Tenant) -> str:  # noqa: ARG002
        """Close the place to the tenant's people, which `add` opens again, and say so; nothing where they have no access."""
        return ""

    @abstractmethod
    def found(self, tenant: TenantId) -> Counts:
        """Return how much of the tenant lies here."""

    @abstractmethod
    def remove(self, tenant: TenantId) -> Counts:
        """Remove all of it; return what `found` can not count."""


def provisioners(config: Config, lake: Lake, session: Session) -> list[Provisioner]:
    """Return every place of a deployment, in the order in which a tenant gets them."""
    local = "; roles, grants and warehouses are recorded, not enforced" if config.snowflake.host else ""
    return [State(lake), Catalog(lake), Prefixes(lake), Permissions(lake), Database(lake, session, local), Partitions()]


@dataclass(frozen=True)
class Prefixes(Provisioner):
    """The tenant's prefix in each bucket of the lake; S3 makes it with the first object."""

    lake: Lake
    name: str = "lake"

    def plan(self, tenant: Tenant) -> Iterable[str]:
        """Yield each prefix."""
        return [self.lake.storage.uri(layer, f"tenant={tenant.id}/") for layer in (*LAYERS, REPORTS)]

    def add(self, tenant: Tenant) -> str:
        """Look whether each bucket answers."""
        objects = sum(held_objects(self.lake, layer, tenant.id).objects for layer in (*LAYERS, REPORTS))
        return f"prefix tenant={tenant.id}/ in {len(LAYERS) + 1} buckets, {objects:,} objects"

    def found(self, tenant: TenantId) -> Counts:
        """Count versions of objects in every layer, reports included."""
        there = [held_objects(self.lake, layer, tenant) for layer in (*LAYERS, REPORTS)]
        return {"objects": sum(each.objects for each in there), "bytes": sum(each.bytes for each in there)}

    def remove(self, tenant: TenantId) -> Counts:
        """Erase every version of every object."""
        for layer in (*LAYERS, REPORTS):
            erase_objects(self.lake, layer, tenant)
        return {}


@dataclass(frozen=True)
class Catalog(Provisioner):
    """The tenant in the Glue Data Catalog: databases of its own, and its partitions in everybody's tables, which crawls write."""

    lake: Lake
    name: str = "catalog"

    def plan(self, tenant: Tenant) -> Iterable[str]:
        """Yield the databases."""
        return [glue.database(self.lake.storage.prefix, layer, tenant.id) for layer in glue.SHOWN]

    def add(self, tenant: Tenant) -> str:
        """Make its databases."""
        glue.establish(self.lake.storage.aws, self.lake.storage.prefix, tenant.id)
        return f"databases {', '.join(self.plan(tenant))}"

    def found(self, tenant: TenantId) -> Counts:
        """Count partitions of all tables, and databases."""
        partitions, databases = glue.held(self.lake.storage.aws, self.lake.storage.prefix, tenant)
        return {"partitions": partitions, "databases": databases}

    def remove(self, tenant: TenantId) -> Counts:
        """Take it from every table, which are other tenants' too, and drop its databases."""
        glue.forget(self.lake.storage.aws, self.lake.storage.prefix, tenant)
        return {}


@dataclass(frozen=True)
class Permissions(Provisioner):
    """The roles of the tenant's people in AWS, and what Lake Formation lets them see of the catalog."""

    lake: Lake
    name: str = "permissions"

    def plan(self, tenant: Tenant) -> Iterable[str]:
        """Yield the roles."""
        return [people.role_name(self.lake.storage.prefix, tenant.id, kind) for kind in get_args(people.Kind)]

    def add(self, tenant: Tenant) -> str:
        """Make its roles, and grant them what they may see."""
        aws, prefix = self.lake.storage.aws, self.lake.storage.prefix
        roles_ = people.establish(aws, prefix, people.account(aws), tenant.id)
        return f"{roles_} roles in AWS, {self._governed(tenant, open_=True)}"

    def suspend(self, tenant: Tenant) -> str:
        """Revoke what its roles were granted."""
        return f"its people see nothing in AWS, {self._governed(tenant, open_=False)}"

    def found(self, tenant: TenantId) -> Counts:
        """Count grants and roles."""
        aws, prefix = self.lake.storage.aws, self.lake.storage.prefix
        return {"grants": lake_formation.held(aws, prefix, tenant), "roles": people.held(aws, prefix, tenant)}

    def remove(self, tenant: TenantId) -> Counts:
        """Revoke the grants, and delete the roles."""
        lake_formation.forget(self.lake.storage.aws, self.lake.storage.prefix, tenant)
        people.remove(self.lake.storage.aws, self.lake.storage.prefix, tenant)
        return {}

    def _governed(self, tenant: Tenant, *, open_: bool) -> str:
        aws, prefix = self.lake.storage.aws, self.lake.storage.prefix
        count = lake_formation.govern(aws, prefix, people.account(aws), tenant.id, open_=open_).in_force
        return f"{count} tags and grants in Lake Formation{'; recorded, not enforced' if aws.endpoint_url else ''}"


@dataclass(frozen=True)
class State(Provisioner):
    """The tenant's bookmarks, statuses, schema histories and judgements, which loads and checks write."""

    lake: Lake
    name: str = "state"

    def found(self, tenant: TenantId) -> Counts:
        """Count items of both tables."""
        return {"items": held_items(self.lake, tenant)}

    def remove(self, tenant: TenantId) -> Counts:
        """Erase them."""
        erase_items(self.lake, tenant)
        return {}


@dataclass(frozen=True)
class Database(Provisioner):
    """The tenant's Snowflake database, its roles and grants, and its tier's warehouse. `remark` says what of that is not enforced."""

    lake: Lake
    session: Session
    remark: str = ""
    name: str = "database"

    def plan(self, tenant: Tenant) -> Iterable[str]:
        """Yield every step of the plan as the SQL that it stands for."""
        shared = sharing.plan(tenant.id, tenant.share_with, ())
        for step in [*provision.plan(self.lake.storage, tenant.id, tenant.tier, self.session.login), *shared]:
            yield f"{means(step)}: {' '.join(str(step).split())}"

    def add(self, tenant: Tenant) -> str:
        """Apply the plan."""
        count = provision.provision(self.session, self.lake.storage, tenant.id, tenant.tier)
        count += sharing.apply(self.session, tenant.model_copy(update={"suspended": False}))
        return f"{tenant.database} with roles, and warehouse {roles.warehouse(tenant.tier)} ({count} steps){self.remark}"

    def suspend(self, tenant: Tenant) -> str:
        """Take the database from its readers and analysts, and end its share."""
        apply(self.session, [*roles.suspension(tenant.id), *sharing.removal(tenant.id)])
        return f"readers and analysts can not use {tenant.database}{self.remark}"

    def found(self, tenant: TenantId) -> Counts:
        """Count tables and their rows, by Snowflake's own count."""
        name = database(tenant)
        # LIKE takes the name's underscores for any letter
        if not any(name in map(str, row) for row in self.session.execute(f"SHOW DATABASES LIKE '{name}'")):
            return {"databases": 0, "tables": 0, "rows": 0}
        its = f"SELECT COUNT(*), SUM(ROW_COUNT) FROM \"{name}\".INFORMATION_SCHEMA.TABLES WHERE TABLE_TYPE = 'BASE TABLE'"
        tables, rows = self.session.execute(its)[0]
        return {"databases": 1, "tables": int(tables), "rows": int(rows or 0)}

    def remove(self, tenant: TenantId) -> Counts:
        """End the share, and drop the database and the roles; the warehouse is the tier's."""
        apply(self.session, [*sharing.removal(tenant), *roles.removal(tenant)])
        return {"roles": len(roles.ROLES)}


@dataclass(frozen=True)
class Partitions(Provisioner):
    """The tenant in the dynamic partitions of the Dagster instance at `$DAGSTER_HOME`; without one, the sensor follows the registry within a minute."""

    name: str = "partitions"

    def plan(self, tenant: Tenant) -> Iterable[str]:
        """Say where they will come from."""
        return [f"tenant={tenant.id} in Dagster" if os.environ.get("DAGSTER_HOME") else "by the sensor on the tenant registry"]

    def add(self, tenant: Tenant) -> str:
        """Add the tenant unless it is there."""
        import dagster as dg

        from lab_insights.runs import add_tenants

        if not os.environ.get("DAGSTER_HOME"):
            return "by the sensor on the tenant registry, within a minute"
        with dg.DagsterInstance.get() as instance:
            add_tenants(instance, [tenant.id])
        return f"tenant={tenant.id} in Dagster"

    def found(self, tenant: TenantId) -> Counts:
        """Count the one."""
        import dagster as dg

        from lab_insights.partitions import TENANTS

        if not os.environ.get("DAGSTER_HOME"):
            return {"partitions": 0}
        with dg.DagsterInstance.get() as instance:
            return {"partitions": int(tenant in instance.get_dynamic_partitions(str(TENANTS.name)))}

    def remove(self, tenant: TenantId) -> Counts:
        """Delete the one; what Dagster logged of its runs holds no value."""
        import dagster as dg

        from lab_insights.partitions import TENANTS

        if os.environ.get("DAGSTER_HOME"):
            with dg.DagsterInstance.get() as instance:
                instance.delete_dynamic_partition(str(TENANTS.name), tenant)
        return {}
