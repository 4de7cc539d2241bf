"""A client database that one test after another finds empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab_insights.aws import Aws
from lab_insights.lake.commit import Lake
from lab_insights.names import TenantId
from lab_insights.warehouse import provision
from lab_insights.warehouse.admin import Make, apply
from lab_insights.warehouse.deidentified import SCHEMA
from lab_insights.warehouse.names import STORE, identifier
from lab_insights.warehouse.session import Session
from lab_insights_tests.lake.world import fresh_tenant, instant, make_lake
from lab_insights_tests.warehouse.people import stages_left


@dataclass
class Client:
    """A tenant with its database, for one history after the other: making it takes longer than one lives. Each finds it empty, with a lake of its own.

    `holder` is a second session, which a rebuild takes.
    """

    session: Session
    holder: Session
    aws: Aws
    clock: Path
    tenant: TenantId = field(default_factory=fresh_tenant)

    @contextmanager
    def emptied(self) -> Iterator[Lake]:
        """A new lake, on which the database's stages are; what a history has left in the database, and its killed loads, is gone afterwards."""
        lake = make_lake(str(self.aws.endpoint_url), self.clock, instant(1, 1))
        apply(
            self.session,
            [step for step in provision.contents(lake.storage, self.tenant) if isinstance(step, Make) and step.kind == "STAGE"],
        )
        provision.use(self.session, self.tenant)
        try:
            yield lake
        finally:
            filled = ("CURATED", STORE, SCHEMA)
            for left in [*filled, *(stage for (stage,) in stages_left(self.session))]:
                self.session.execute(f"DROP SCHEMA IF EXISTS {identifier(left)} CASCADE")
            for schema in filled:
                self.session.execute(f"CREATE SCHEMA {identifier(schema)}")
            for kept in ("LEDGER", "HEADS", "SCHEMA_CHANGES"):
                self.session.execute(f"DELETE FROM OPS.{kept}")
