"""The answer as a whole, for a table on a screen, for JSON, and for an exit code."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import date
from typing import Any, get_args

from lab_insights.findings import STATUSES, Finding, Held, Status, worst
from lab_insights.names import TenantId

LAYERS: tuple[Held, ...] = get_args(Held)


@dataclass(frozen=True)
class Row:
    """One tenant's layer on one day (None: its tables as a whole): what lies there, and the worst of its findings."""

    tenant: TenantId
    layer: Held
    day: date | None
    tables: int
    batches: int
    rows: int
    status: Status


@dataclass(frozen=True)
class Report:
    """Every finding, tenants in the order they were asked for."""

    findings: tuple[Finding, ...]
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is broken; what is pending or not proven does not count as broken."""
        return not self.of("broken")

    @property
    def proven(self) -> bool:
        """Whether every finding is ok."""
        return all(finding.status == "ok" for finding in self.findings)

    def of(self, *statuses: Status) -> list[Finding]:
        """Return the findings that have one of these statuses."""
        return [finding for finding in self.findings if finding.status in statuses]

    def counts(self) -> dict[Status, int]:
        """Return how many findings have each status."""
        return {status: len(self.of(status)) for status in STATUSES}

    def summary(self) -> list[Row]:
        """Return a row for each tenant, layer and day, in that order."""
        groups: dict[tuple[TenantId, Held, date | None], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault((finding.tenant, finding.layer, finding.day), []).append(finding)
        tenants = list(dict.fromkeys(finding.tenant for finding in self.findings))
        order = sorted(groups, key=lambda of: (tenants.index(of[0]), LAYERS.index(of[1]), of[2] or date.min))
        return [_row(groups[of]) for of in order]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        findings = [dataclasses.asdict(finding) | {"day": _day(finding.day)} for finding in self.findings]
        summary = [dataclasses.asdict(row) | {"day": _day(row.day)} for row in self.summary()]
        head = {"ok": self.ok, "proven": self.proven, "seconds": self.seconds, "counts": self.counts()}
        return {**head, "summary": summary, "findings": findings}


def _row(findings: list[Finding]) -> Row:
    first = findings[0]
    tables = len({finding.table for finding in findings})
    batches, rows = (sum(getattr(finding, name) for finding in findings) for name in ("batches", "rows"))
    return Row(first.tenant, first.layer, first.day, tables, batches, rows, worst(finding.status for finding in findings))


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None
