"""Who read which tables of the client databases: Snowflake's ACCESS_HISTORY, which lists by query the tables that it read, however deep below views.

It is there in Enterprise Edition, comes up to three hours late, goes back a year, and does not know what the accounts of a share read. What is not there
was not recorded: silence is no evidence.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

from lab_insights.errors import ConfigError, WarehouseError, WarehouseUnavailable
from lab_insights.governance.audit.reads import Read
from lab_insights.names import TenantId
from lab_insights.warehouse.names import database
from lab_insights.warehouse.session import Session

_SCHEMA = "SNOWFLAKE.ACCOUNT_USAGE"
VIEW = f"{_SCHEMA}.ACCESS_HISTORY"
_PREFIX = database(TenantId(""))
_GRANT = "grant the role of `snowflake.role` the database role SNOWFLAKE.GOVERNANCE_VIEWER (docs/how-to/audit.md)"

# Both bind the first day and the one after the last. Functions, stages and procedures are listed too, and have no columns.
READS = f"""
SELECT F.VALUE:objectName::VARCHAR, H.USER_NAME, TO_VARCHAR(CAST(H.QUERY_START_TIME AS DATE), 'YYYY-MM-DD'), COUNT(DISTINCT H.QUERY_ID)
FROM {VIEW} AS H, LATERAL FLATTEN(INPUT => H.BASE_OBJECTS_ACCESSED) AS F
WHERE H.QUERY_START_TIME >= CAST(? AS DATE) AND H.QUERY_START_TIME < CAST(? AS DATE)
AND F.VALUE:columns IS NOT NULL AND STARTSWITH(F.VALUE:objectName::VARCHAR, '{_PREFIX}')
GROUP BY 1, 2, 3"""
KNOWN = f"SELECT COUNT(*) FROM {VIEW} AS H WHERE H.QUERY_START_TIME >= CAST(? AS DATE) AND H.QUERY_START_TIME < CAST(? AS DATE)"


def reads(session: Session, first: date, last: date, tenant: TenantId | None = None) -> Counter[Read]:
    """Return how many queries read each table of the client databases on days `first` to `last` (UTC), by user and day.

    Raises `ConfigError` when Snowflake does not show the view, or it has no query of these days: then nothing is known.
    """
    span = (str(first), str(last + timedelta(days=1)))
    try:
        session.execute(f"USE SCHEMA {_SCHEMA}")
        rows = session.execute(READS, *span)
        known = bool(rows) or session.execute(KNOWN, *span)[0][0]
    except WarehouseUnavailable:
        raise
    except WarehouseError as error:
        raise ConfigError(f"{VIEW} can not be read, so who read what is not known: {error.message}", remedy=f"{_GRANT}.") from None
    if not known:
        raise ConfigError(
            f"{VIEW} has no query of these days, so who read what is not known.",
            remedy="it is kept by Enterprise Edition, for a year, and comes up to three hours late.",
        )
    found = Counter[Read]()
    for name, user, on, queries in rows:
        read = _read(str(name), str(user), str(on))
        if tenant in {None, read.tenant}:
            found[read] += int(queries)
    return found


def _read(name: str, user: str, on: str) -> Read:
    """Return the read of `DATABASE.SCHEMA.TABLE`; a table's own name may have dots, and what needs quotes may come with them."""
    its, schema, table = (part.strip('"') for part in name.split(".", 2))
    return Read(its.removeprefix(_PREFIX).lower(), "snowflake", schema.lower(), table.lower(), "", user, on)
