"""Whether a tenant's database holds what the lake holds: by its ledger when a day was just loaded, by every row when a whole table is compared.

The ledger is written in the transaction of the load, so it tells what was copied, at the price of one statement for a tenant's day. What somebody
else did to a table since is only found by comparing it, which reads the table's state in the lake and computes a checksum in the warehouse.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date

from lab_insights.checks.verdicts import RECONCILED, Judgement, Subject
from lab_insights.errors import WarehouseError
from lab_insights.findings import Finding, Held
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights.verify import verify
from lab_insights.verify.warehouse import EVERY
from lab_insights.warehouse import ledger
from lab_insights.warehouse.session import Session

# Batches of a day as the ledger has them, by what identifies them: rows copied, and the checksum of the manifest.
_LOADED = """
SELECT LAYER, TABLE_NAME, TO_VARCHAR(DAY), BATCH_ID, STAGED, CHECKSUM FROM OPS.LEDGER WHERE DAY = CAST(? AS DATE)"""
_WAREHOUSE: tuple[Held] = ("snowflake",)
# Keys that a message names; `lab-insights verify` names all.
_SAID = 3


def by_ledger(session: Session, asset_of: Callable[[str, str], str], batches: Sequence[Manifest]) -> list[Judgement]:
    """Judge a tenant's day that was just loaded: every live batch is in the ledger with its rows and its checksum, one judgement a table.

    The tenant's database is in use; `asset_of` names the asset of a layer's table.
    """
    if not batches:
        return []
    held: dict[ledger.Entry, tuple[int, str | None]] = {}
    for layer, name, day, batch, staged, checksum in session.execute(_LOADED, str(batches[0].day)):
        held[str(layer), str(name), str(day), str(batch)] = int(staged), checksum
    found = []
    for layer, name in dict.fromkeys(map(ledger.series, batches)):
        mine = [batch for batch in batches if ledger.series(batch) == (layer, name)]
        of = Subject(RECONCILED, asset_of(layer, name), mine[0].tenant, f"{layer}/{name}", mine[0].day)
        entries = [held.get(ledger.entry(batch)) for batch in mine]
        lake, warehouse = sum(batch.rows for batch in mine), sum(entry[0] for entry in entries if entry)
        absent = sum(entry is None for entry in entries)
        unlike = sum(entry is not None and entry[1] != _told(batch) for batch, entry in zip(mine, entries, strict=True))
        numbers = {"rows_in_the_lake": lake, "rows_loaded": warehouse, "batches": len(mine), "batches_not_loaded": absent}
        message = f"the lake has {lake} rows in {len(mine)} batches, {warehouse} rows were loaded; {absent} batches are not in the ledger"
        message += f", {unlike} have another checksum there" if unlike else ""
        found.append(Judgement(of, message if absent or unlike or lake != warehouse else "", numbers))
    return found


def by_every_row(
    lake: Lake,
    tenant: TenantId,
    session_factory: Callable[[], Session],
    asset_of: Callable[[str, str], str],
    tables: Collection[str] | None = None,
) -> list[Judgement]:
    """Judge whole tables of a tenant (of the lake's `tables`, else all): their rows equal the state of the lake.

    Work that is still to come fails nothing. A table that can not be compared now, since an older day of it is not loaded yet or the lake's batches are
    broken, has no judgement: what stands of it stands. Raises `WarehouseError` when the tenant's database does not answer.
    """
    report = verify(lake, [tenant], session_factory=session_factory, tables=tables, layers=_WAREHOUSE)
    by_table: dict[str, list[Finding]] = {}
    for finding in report.findings:
        if finding.table == EVERY:
            raise WarehouseError(finding.message, remedy=finding.remedy, tenant=tenant)
        by_table.setdefault(finding.table, []).append(finding)
    return [judgement for table, found in by_table.items() for judgement in _judged(tenant, table, found, asset_of)]


def _judged(tenant: TenantId, table: str, found: Sequence[Finding], asset_of: Callable[[str, str], str]) -> Iterable[Judgement]:
    layer, _, name = table.partition("/")
    whole = Subject(RECONCILED, asset_of(layer, name), tenant, table)
    broken: Mapping[date | None, Finding] = {each.day: each for each in found if each.status == "broken"}
    numbers = {"tables_compared": 1, "days_compared": sum(each.day is not None for each in found)}
    if not broken:
        return [] if any(each.status == "not proven" for each in found) else [Judgement(whole, "", numbers)]
    told = "; ".join(dict.fromkeys(part for each in broken.values() for part in each.message.split("; ")[: _SAID + 1]))
    days = ", ".join(str(day) for day in broken if day)
    return [Judgement(whole, f"{told}{f' (days {days})' if days else ''}", numbers | {"days": days})]


def _told(batch: Manifest) -> str | None:
    return None if batch.checksum is None else str(batch.checksum)
