"""The synthetic laboratory itself: create, simulate a day, drop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date

from sqlalchemy import Connection

from lab_insights.errors import StackError
from lab_insights.local.laboratory import dynamodb, schema, sql, tables
from lab_insights.local.laboratory.activities import NEW_COLUMN, NEW_COLUMN_DAY
from lab_insights.local.laboratory.events import NOTIFICATIONS
from lab_insights.local.laboratory.generation import day_changes
from lab_insights.local.laboratory.scene import Scene
from lab_insights.local.laboratory.schema import Table
from lab_insights.local.laboratory.tenancy import (
    RELATIONAL,
    LabTenant,
    Placement,
    Relational,
    Targets,
    decoys,
    layout,
    placement,
)
from lab_insights.local.laboratory.timeline import Operation
from lab_insights.local.laboratory.user_defined import user_defined_table

DECOY_SCALE = 0.25  # decoys only have to be there, however large the tenants are
MAX_SCALE = 10_000
Counts = Counter[tuple[str, str, Operation]]


class Laboratory:
    """Invented tenants in the databases of `targets`; the same seed and first day give the same rows in any process.

    `scale` multiplies volume linearly: about 2,000 rows per tenant on the first day and 300 on later ones at 1, and
    5,000 rows of 40 columns more in the one large user-defined table.
    """

    def __init__(self, targets: Targets, tenants: Sequence[LabTenant], seed: int, first_day: date, scale: float = 1.0) -> None:
        if not 0 < scale <= MAX_SCALE:
            raise ValueError(f"scale must be over 0 and at most {MAX_SCALE}, or ids of one day would run into the next")
        self.targets = targets
        self.tenants = tuple(tenants)
        self.seed = seed
        self.first_day = first_day
        self.scale = scale

    def create(self) -> None:
        """Make every schema and table; raise `StackError`, having made nothing, when one of them is there already."""
        if there := self.existing():
            raise StackError(
                f"There already is {', '.join(there)}.",
                remedy="drop the older laboratory first, or choose another base name for the schemas.",
            )
        for source in RELATIONAL:
            with sql.connected(source, self.targets.url(source)) as (connection, dialect):
                for name in self._schemas(source):
                    connection.exec_driver_sql(schema.create_schema(name, dialect))
                for place, table in self._physical(source):
                    for statement in schema.create_table(table, place, dialect):
                        connection.exec_driver_sql(statement)
        dynamodb.create_table(self.targets)

    def existing(self) -> list[str]:
        """Return the names of this laboratory's schemas and DynamoDB table that exist."""
        found = []
        for source in RELATIONAL:
            with sql.connected(source, self.targets.url(source)) as (connection, _):
                there = sql.schemas(connection)
            found += [name for name in self._schemas(source) if name in there]
        return found + ([self.targets.notification_table] if dynamodb.exists(self.targets) else [])

    def simulate_day(self, day: date) -> Counts:
        """Write the changes of one UTC day and return how many, by tenant, `source.table` and operation.

        Call it once for each day from the first day on, in order. The day is one transaction in each relational source.
        """
        index = (day - self.first_day).days
        if index < 0:
            raise ValueError(f"{day} is before the first day {self.first_day}")
        if index == NEW_COLUMN_DAY:
            self._add_column()
        counts: Counts = Counter()
        with ExitStack() as stack:
            connections = {source: stack.enter_context(sql.connected(source, self.targets.url(source)))[0] for source in RELATIONAL}
            for tenant in self.tenants:
                counts += self._write(Scene(tenant, self.seed, self.first_day, self.scale), index, connections)
            for decoy in decoys(self.tenants):
                shared = {source: connections[source] for source in RELATIONAL if self._shares(source, decoy)}
                self._write(Scene(decoy, self.seed, self.first_day, DECOY_SCALE), index, shared)
        return counts

    def drop(self) -> None:
        """Drop this laboratory's schemas and DynamoDB table, as far as they are there, and nothing else."""
        for source in RELATIONAL:
            with sql.connected(source, self.targets.url(source)) as (connection, dialect):
                for name in self._schemas(source):
                    connection.exec_driver_sql(schema.drop_schema(name, dialect))
        dynamodb.drop_table(self.targets)

    def _write(self, scene: Scene, index: int, connections: Mapping[Relational, Connection]) -> Counts:
        tenant, counts = scene.tenant, Counts()
        by_source = {source: {table.name: table for table in _tables(source, tenant)} for source in connections}
        for chunk in day_changes(scene, index):
            for source, known in by_source.items():
                mine = [change for change in chunk if change.table in known]
                sql.write(connections[source], known, placement(self.targets.base, source, tenant), mine)
                counts.update((tenant.id, f"{source}.{change.table}", change.operation) for change in mine)
            calls = [change for change in chunk if change.table == NOTIFICATIONS]
            dynamodb.write(self.targets, tenant, calls)
            counts.update((tenant.id, f"notifications.{NOTIFICATIONS}", change.operation) for change in calls)
        return counts

    def _add_column(self) -> None:
        table, column, word, default = NEW_COLUMN
        with sql.connected("crm", self.targets.crm) as (connection, dialect):
            for place, found in self._physical("crm"):
                if found.name == table:
                    connection.exec_driver_sql(schema.add_column(table, column, word, default, place, dialect))

    def _shares(self, source: Relational, decoy: LabTenant) -> bool:
        """Tell whether a decoy's rows of a source lie in a schema that a real tenant uses."""
        return layout(source, decoy) != "schema" and self._schema(source, decoy) in self._schemas(source)

    def _schema(self, source: Relational, tenant: LabTenant) -> str:
        return placement(self.targets.base, source, tenant).schema

    def _schemas(self, source: Relational) -> list[str]:
        return list(dict.fromkeys(self._schema(source, tenant) for tenant in self.tenants))

    def _physical(self, source: Relational) -> Iterator[tuple[Placement, Table]]:
        """Yield each table that is to exist once, with its place: pooled tenants share theirs, decoys have prefixes."""
        seen = set()
        sharing = [decoy for decoy in decoys(self.tenants) if self._shares(source, decoy)]
        for tenant in (*self.tenants, *sharing):
            place = placement(self.targets.base, source, tenant)
            for table in _tables(source, tenant):
                name = (place.schema, place.prefix + table.name)
                if name not in seen:
                    seen.add(name)
                    yield place, table


def _tables(source: Relational, tenant: LabTenant) -> tuple[Table, ...]:
    if source == "crm":
        return (*tables.CRM, user_defined_table(tenant))
    return {"lis": tables.LIS, "audit": tables.AUDIT, "messages": tables.MESSAGES}[source]
