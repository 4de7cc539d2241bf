"""Materialises the KPIs in a tenant's REPORTS schema, and those of persons in TRANSFORMED.

Each table is computed over the whole database and replaced by one statement, which is atomic: so a late row, a corrected
result that leaves its old day, or a deleted one all reach every day that they touch, and a second run changes nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from lab_insights.governance.classes import PHI
from lab_insights.lab.kpis import REPORTS, Report
from lab_insights.lab.kpis.declared import inputs, reports
from lab_insights.names import TenantId
from lab_insights.warehouse.masking import policy
from lab_insights.warehouse.names import identifier, live_view, relation, table_name
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.types import ColumnType, from_catalog

# Where the views lie that hold the definitions, and how they begin: they read rows of persons, as the owner may, and no table of the lake has such a name.
OWNERS, PREFIX = "TRANSFORMED", "KPI:"
# Where they lay before, and analysts read.
_FORMER = ("OPS", "KPI_")


@dataclass(frozen=True)
class ReportReceipt:
    """What a KPI table holds: its rows, their keys (0 where they were not counted), the rows of the day that was asked for, and the seconds that it took."""

    table: str
    rows: int
    keys: int
    day_rows: int
    seconds: float = 0.0


def refresh(session: Session, tenant: TenantId, zone: str, day: date, every: Sequence[Report] | None = None) -> list[ReportReceipt]:
    """Recompute KPI tables of a tenant (None: all), by event day in its IANA `zone`, and return a receipt each, with the rows of `day`."""
    use(session, tenant)
    every = reports() if every is None else every
    seconds = _replace_all(session, zone, every)
    return [replace(made, seconds=seconds[made.table]) for made in receipts(session, tenant, day, every, keys=True)]


def receipts(session: Session, tenant: TenantId, day: date, every: Sequence[Report], *, keys: bool = False) -> list[ReportReceipt]:
    """Return what KPI tables of a tenant hold of one more `day` since they were refreshed; their `keys` are counted where that is asked for."""
    use(session, tenant)
    counted = " UNION ALL ".join(
        f"SELECT {index}, COUNT(*), {_keys(report) if keys else 0}, COUNT(CASE WHEN {report.day} = CAST('{day}' AS DATE) THEN 1 END) "
        f"FROM {table(report.name)}"
        for index, report in enumerate(every)
    )
    return [ReportReceipt(every[int(index)].name, *map(int, counts)) for index, *counts in sorted(session.execute(counted))]


def _keys(report: Report) -> str:
    return f"COUNT(DISTINCT {', '.join(map(identifier, report.key))})"


def schema(name: str) -> str:
    """Return the schema of a KPI table: rows of persons lie where the owner alone reads."""
    return OWNERS if name in {report.name for report in REPORTS if report.personal} else "REPORTS"


def table(name: str) -> str:
    """Return the quoted name of a KPI table."""
    return relation(schema(name), name)


def relations(session: Session) -> dict[str, str]:
    """Return the relation of each input and KPI table in the tenant's current database."""
    return _Definitions(session).relations


def _replace_all(session: Session, zone: str, every: Sequence[Report]) -> dict[str, float]:
    """Replace each KPI table by what its view says, and return the seconds that each took."""
    definitions = _Definitions(session)
    seconds: dict[str, float] = {}
    for report in every:
        started = time.monotonic()
        view = definitions.view(report.name, report.select(definitions.relations, zone))
        session.execute(f"CREATE OR REPLACE TABLE {table(report.name)}{_masked(report)} COPY GRANTS AS SELECT * FROM {view}")
        seconds[report.name] = round(time.monotonic() - started, 3)
    definitions.drop_others()
    return seconds


def _masked(report: Report) -> str:
    """Return the columns of a table that has any of a person, each with the masking policy of its class; empty for any other table."""
    if not any(column.phi in PHI for column in report.columns.values()):
        return ""
    made = []
    for name, column in report.columns.items():
        kind = _kind(column.type)
        masked = f" WITH MASKING POLICY {relation('OPS', policy(column.phi, kind))}" if column.phi in PHI else ""
        made.append(f"{identifier(name)} {kind.sql}{masked}")
    return f" ({', '.join(made)})"


def _kind(declared: str) -> ColumnType:
    kind, _, digits = declared.rstrip(")").partition("(")
    precision, scale = (int(each) for each in digits.split(",")) if digits else (None, None)
    return from_catalog(kind, precision, scale)


class _Definitions:
    """The views that define inputs and KPI tables, each named by the digest of its text.

    So a definition is sent and compiled when it or the tables below it change, not each day.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        located = {name: (each.layer.upper(), table_name(each.table)) for name, each in inputs().items()}
        held: dict[tuple[str, str], list[str]] = {}
        rows = session.execute(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA IN ('CURATED', 'TRANSFORMED') "
            f"AND TABLE_NAME IN ({', '.join('?' * len(located))}) OR TABLE_SCHEMA = '{OWNERS}' AND STARTSWITH(TABLE_NAME, '{PREFIX}') "
            f"OR TABLE_SCHEMA = '{_FORMER[0]}' AND STARTSWITH(TABLE_NAME, '{_FORMER[1]}') "
            "ORDER BY ORDINAL_POSITION",
            *(name for _, name in located.values()),
        )
        for schema, name, column in rows:
            held.setdefault((schema, name), []).append(column)
        self._there = {of for of in held if of[0] == _FORMER[0] or of[1].startswith(PREFIX)}
        self._used: set[tuple[str, str]] = set()
        self.relations = {report.name: table(report.name) for report in reports()}
        detail = inputs()["order_detail"]
        linked = live_view(detail.layer, detail.table) if "LINKED_ORDER_ID" in held.get(located["order_detail"], ()) else None
        for name, each in inputs().items():
            columns = held.get(located[name])
            self.relations[name] = self.view(
                name, each.select(live_view(each.layer, each.table), columns, linked) if columns else each.nothing()
            )

    def view(self, name: str, text: str) -> str:
        """Return the view of a definition, made where it is missing."""
        view = OWNERS, f"{PREFIX}{name.upper()}_{hashlib.sha256(text.encode()).hexdigest()[:12].upper()}"
        if view not in self._there:
            self._session.execute(f"CREATE OR REPLACE VIEW {relation(*view)} AS {text}")
        self._used.add(view)
        return relation(*view)

    def drop_others(self) -> None:
        """Drop the views of definitions that are no more."""
        for old in self._there - self._used:
            self._session.execute(f"DROP VIEW {relation(*old)}")
