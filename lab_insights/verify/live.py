"""The first link once more, with the source as it is now: does the lake still hold every row that was read?"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from lab_insights.errors import LabInsightsError
from lab_insights.extract.live import Compared, Counted
from lab_insights.extract.sources import Sources
from lab_insights.findings import Finding, Status
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Registry

FULL = "materialize raw for today with `mode: full`; where it comes back, look for who writes rows with an older cursor"
COMPARE = "materialize raw for today, then verify again before the source changes"


@dataclass(frozen=True)
class Live:
    """The sources of a deployment, read again for one verification."""

    sources: Sources
    registry: Registry
    # A tenant's catalog is crawled once, however many of its tables are looked at side by side.
    _crawling: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, tenant: TenantId, table: str) -> list[Finding]:
        """Return the finding of one raw table as a whole; what can not be reached or asked is not proven."""
        import duckdb
        import pyarrow as pa

        try:
            with self._crawling:
                name = table.partition(".")[0]
                if name not in self.sources.names():
                    return [
                        _finding(tenant, table, "not proven", f"no source is called {name} any more", "nothing: there is nothing to read")
                    ]
                its = self.sources.table(self.registry.get(tenant), table)
            found = self.sources.look(its)
        except LabInsightsError as error:
            return [_finding(tenant, table, "not proven", f"the source was not read again: {error.message}", error.remedy)]
        except (OSError, pa.ArrowException, duckdb.Error) as error:
            return [_finding(tenant, table, "not proven", f"the lake can not be read ({type(error).__name__})", "mend the lake first")]
        return [_of_counts(tenant, table, found) if isinstance(found, Counted) else _of_rows(tenant, table, found)]


def _of_counts(tenant: TenantId, table: str, found: Counted) -> Finding:
    if found.rows == found.source:
        return _finding(
            tenant, table, "ok", f"the source holds {found.source} rows, as the lake does; only counts are compared", rows=found.rows
        )
    message = f"the lake holds {found.rows} rows, the source {found.source} now; counts do not tell changes since from losses"
    return _finding(tenant, table, "not proven", message, COMPARE, rows=found.rows)


def _of_rows(tenant: TenantId, table: str, found: Compared) -> Finding:
    wrong, beyond = found.lost + found.altered, "" if found.whole else "at least "
    if found.high is None:
        differing = wrong + found.gone
        if not differing:
            return _finding(tenant, table, "ok", "the source equals the lake", rows=found.rows)
        message = (
            f"{beyond}{differing} rows differ from the source; without a cursor nothing tells whether they changed since they were read"
        )
        return _finding(tenant, table, "not proven", message, COMPARE, rows=found.rows)
    since = f"since {found.high:%Y-%m-%d %H:%M:%S}"
    moved = f"{found.newer} rows are new or changed {since}, {beyond}{found.gone} are gone"
    count = found.newer + found.gone
    if wrong:
        keys = ", ".join(found.keys)
        message = f"{beyond}{found.lost} rows that were read are missing and {found.altered} are other in the lake (keys {keys}); {moved}"
        return _finding(tenant, table, "broken", message, FULL, rows=found.rows, moved_on=count)
    if not found.whole:
        message = f"more differs than is read again, and all of it that was read has moved on: {moved}"
        return _finding(tenant, table, "not proven", message, COMPARE, rows=found.rows, moved_on=count)
    return _finding(tenant, table, "ok", f"what was read lies in the lake; {moved}", rows=found.rows, moved_on=count)


def _finding(tenant: TenantId, table: str, status: Status, message: str, remedy: str = "", *, rows: int = 0, moved_on: int = 0) -> Finding:
    return Finding("source → raw", tenant, "raw", table, None, status, message, remedy, rows=rows, moved_on=moved_on)
