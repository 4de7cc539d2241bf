"""Masking policies, tags and the row access policy of a tenant's database, and the clause that gives a column its own in the statement that makes it.

A policy for each PHI class and type: the tenant's owner, and its loader, which must read what it merges, see the value; anybody else sees null. The types
that a policy takes and returns have to be those of its column, so NUMBER has one for each scale: those of contracts are made with the database, any
other before the first column that needs it. A row whose tenant is another one is seen by nobody. Columns without PHI carry their tag alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab_insights.config import PhiSection
from lab_insights.governance.classes import PHI, STRICTEST, PhiClass, phi_class
from lab_insights.lab.contracts import contracts
from lab_insights.lab.types import arrow
from lab_insights.names import TenantId
from lab_insights.warehouse.admin import Grant, Make, Step
from lab_insights.warehouse.catalog import Table
from lab_insights.warehouse.names import PASSING, STORE, VARIANT, database, identifier, relation
from lab_insights.warehouse.roles import role
from lab_insights.warehouse.types import DIGITS, ColumnType, from_arrow

_BESIDE = re.compile(f"({'|'.join((*PASSING, VARIANT))})+$")
TAG, ROWS, TENANT = "PHI", "ONLY_TENANT", "TENANT_ID"
_KINDS = [ColumnType(kind) for kind in ("VARCHAR", "BOOLEAN", "DATE", "TIME", "TIMESTAMP_NTZ", "FLOAT", "BINARY")]


@dataclass(frozen=True)
class Protection:
    """The policies of one tenant's database; `phi` classifies what no contract does."""

    tenant: TenantId
    phi: PhiSection

    def phi_class(self, table: Table, column: str) -> PhiClass:
        """Return the class of a column by its names in the warehouse; columns of ours beside it are of its class."""
        schema, name = table
        if schema == STORE:
            # what identifies is not there; `warehouse.deidentified` says what is
            return "unclassified" if column == "RECORD_HASH" else "none"
        base = _BESIDE.sub("", column)
        return phi_class("curated" if schema == "CURATED" else "transformed", name, base, self.phi)

    def clause(self, table: Table, column: str, kind: ColumnType) -> str:
        """Return what follows a column's type where it is made: its masking policy, if it needs one, and its tag."""
        phi = self.phi_class(table, column)
        masked = f" WITH MASKING POLICY {relation('OPS', policy(phi, kind))}" if phi in PHI else ""
        return f"{masked} WITH TAG ({relation('OPS', TAG)} = '{phi}')"

    def rows_clause(self, columns: Iterable[str]) -> str:
        """Return what follows a table's columns where it is made: the row access policy, where rows carry their tenant."""
        return f" WITH ROW ACCESS POLICY {relation('OPS', ROWS)} ON ({identifier(TENANT)})" if TENANT in columns else ""

    def missing(self, table: Table, columns: Mapping[str, ColumnType]) -> list[str]:
        """Return the statements that make the policies that these columns need and the database was not made with."""
        needed = {(self.phi_class(table, name), kind.scale) for name, kind in columns.items() if kind.kind == "NUMBER"}
        return [
            create_policy(self.tenant, phi, ColumnType("NUMBER", DIGITS, scale))
            for phi, scale in sorted(needed)
            if phi in PHI and ColumnType("NUMBER", DIGITS, scale) not in provisioned()
        ]

    def reclassified(self, table: Table, column: str, kind: ColumnType) -> list[str]:
        """Return the statements that give a column that is there the policy and the tag of its class."""
        phi, place = self.phi_class(table, column), f"ALTER TABLE {relation(*table)} MODIFY COLUMN {identifier(column)}"
        masked = f"SET MASKING POLICY {relation('OPS', policy(phi, kind))} FORCE" if phi in PHI else "UNSET MASKING POLICY"
        return [*self.missing(table, {column: kind}), f"{place} {masked}", f"{place} SET TAG {relation('OPS', TAG)} = '{phi}'"]


def policy(phi: PhiClass, kind: ColumnType) -> str:
    """Return the name of the masking policy of a class and a type, not quoted."""
    return f"MASK_{phi.upper()}_{kind.kind}" + (f"_{kind.scale}" if kind.kind == "NUMBER" else "")


@functools.cache
def provisioned() -> tuple[ColumnType, ...]:
    """Return the types that each database has policies for from the beginning: every one but NUMBERs of scales that no contract has."""
    kinds = [from_arrow(arrow(column.type)) for contract in contracts().values() for column in contract.columns]
    scales = sorted({0} | {kind.scale for kind in kinds if kind.kind == "NUMBER"})
    return (*_KINDS, *(ColumnType("NUMBER", DIGITS, scale) for scale in scales))


def policies(tenant: TenantId) -> list[Step]:
    """Return the steps that make a tenant's tag and policies in its database, which is current, before any table."""
    return [
        Make("TAG", (database(tenant), "OPS", TAG), {"allowed_values": tuple(STRICTEST)}),
        *(create_policy(tenant, phi, kind) for phi, kind in _every()),
        f"CREATE ROW ACCESS POLICY IF NOT EXISTS {relation('OPS', ROWS)} AS (ITS VARCHAR) RETURNS BOOLEAN -> ITS IS NULL OR ITS = '{tenant}'",
    ]


def grants(tenant: TenantId) -> list[Step]:
    """Return the steps that let the loader put the tag and the policies of this database, and no other's, on columns that it makes."""
    loader, place = role(tenant, "LOADER"), (database(tenant), "OPS")
    applied = [("TAG", TAG), *(("MASKING POLICY", policy(phi, kind)) for phi, kind in _every()), ("ROW ACCESS POLICY", ROWS)]
    return [
        Grant(("CREATE MASKING POLICY",), "SCHEMA", place, loader),
        *(Grant(("APPLY",), kind, (*place, name), loader) for kind, name in applied),
    ]


def create_policy(tenant: TenantId, phi: PhiClass, kind: ColumnType) -> str:
    """Return the statement that makes the policy of a class and a type where there is none."""
    seen = " OR ".join(f"IS_ROLE_IN_SESSION('{role(tenant, name)}')" for name in ("OWNER", "LOADER"))
    name = relation("OPS", policy(phi, kind))
    return f"CREATE MASKING POLICY IF NOT EXISTS {name} AS (VAL {kind.sql}) RETURNS {kind.sql} -> CASE WHEN {seen} THEN VAL END"


def _every() -> list[tuple[PhiClass, ColumnType]]:
    return [(phi, kind) for phi in STRICTEST if phi in PHI for kind in provisioned()]
