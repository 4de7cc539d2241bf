"""User-defined tables succeed and fail one by one: one customer's odd table must not hold up the others of that customer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lab_insights.assets.receipts import Receipt, total
from lab_insights.errors import LabInsightsError, LandingMismatch, SourceError, told
from lab_insights.names import TenantId

# What cannot be described, read, typed or computed is the table's own fault; what is refused, in conflict or out of reach would be any table's.
_OWN = (SourceError, LandingMismatch)
_ENGINES = {"duckdb", "_duckdb", "pyarrow", "ibis"}


def one_by_one(
    tenant: TenantId,
    tables: Iterable[str],
    make: Callable[[str], Receipt],
    warn: Callable[[str], None],
    broken: Iterable[LabInsightsError] = (),
    **more: str,
) -> Receipt:
    """Return the receipt of a tenant's tables, with `more` and each quarantined table's name and reason; `broken` can not even be tried.

    Raises `SourceError` after the last table when nothing is left, or when a fault was no table's own.
    """
    receipts: list[Receipt] = []
    refused: list[str] = []
    reasons: dict[str, str] = {str(each.table): f"{each.message} Remedy: {each.remedy}" for each in broken}
    for table in tables:
        try:
            receipts.append(make(table))
        except LabInsightsError as error:
            if isinstance(error, _OWN):
                reasons[table] = f"{error.message} Remedy: {error.remedy}"
            else:
                refused.append(str(error))
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in _ENGINES:
                raise
            reasons[table] = f"{told(error)}. Remedy: look at the table's newest batches with `lab-insights verify`, or exclude it."
    if refused or (reasons and not receipts):
        first = refused[0] if refused else "[table {}] {}".format(*next(iter(reasons.items())))
        failed = len(refused) + len(reasons)
        raise SourceError(
            f"{failed} of {failed + len(receipts)} tables failed; the others are done. First: {first}",
            remedy="mend or exclude them, and materialize the partition again.",
            tenant=tenant,
        )
    for table, reason in reasons.items():
        warn(f"quarantined: [tenant {tenant}, table {table}] {reason}")
    return total(receipts, quarantined_tables=len(reasons), **({"quarantine": reasons} if reasons else {}), **more)
