"""A source: reachable, its login let in, open transactions visible, its clock and zone, and every tenant's tables readable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lab_insights.aws import Aws
from lab_insights.clock import Clock
from lab_insights.config import Config, Source
from lab_insights.doctor.check import Check, Checks, guarded
from lab_insights.errors import SourceError
from lab_insights.extract import catalog, databases, stamps, window
from lab_insights.extract.apart import REMEDY, together
from lab_insights.extract.catalog import SourceTable
from lab_insights.names import quoted
from lab_insights.tenants.registry import Tenant

if TYPE_CHECKING:
    import sqlalchemy as sa

# The oldest releases that their makers still mended in 2024; older ones may work.
_OLDEST = {"MySQL": (8, 0), "MariaDB": (10, 5), "PostgreSQL": (12, 0)}
# The server's version, its clock, and the zone of this session, which must be UTC.
_FACTS = {
    "mysql": "SELECT VERSION(), UTC_TIMESTAMP(6), @@session.time_zone",
    "postgresql": "SELECT current_setting('server_version'), clock_timestamp() AT TIME ZONE 'UTC', current_setting('TimeZone')",
}
# A server that is further off than this stamps rows into other days and windows than its readers think (seconds).
_SKEW = 30
_SOURCE_REMEDY = "check the source's `url` in lab_insights.yaml, the network, and the server's log."


def source(name: str, config: Config, aws: Aws, tenants: Sequence[Tenant]) -> Checks:
    """Yield the checks of one source, then one for each tenant's tables in it."""
    its = config.sources[name]
    subject = f"source {name}"
    with guarded(subject, _SOURCE_REMEDY) as trouble:
        found = list(
            _dynamodb(subject, its, aws) if its.engine == "dynamodb" else _server(subject, name, its, aws, simulated=bool(config.clock))
        )
    if trouble.check:
        yield trouble.check
        return
    yield from found
    for tenant in tenants:
        yield _tables(name, its, aws, tenant)


def apart(config: Config, tenants: Sequence[Tenant]) -> Checks:
    """Yield a failed check for each source in which several of all `tenants` read the same rows."""
    for name, ids in together(config.sources, tenants):
        others = f"{REMEDY}; then offboard and add those that hold another's rows."
        yield Check(f"source {name} of {', '.join(ids)}", "failed", "these tenants read the same rows", others)


def _server(subject: str, name: str, its: Source, aws: Aws, *, simulated: bool) -> Checks:
    target = databases.url(its, aws)
    with databases.reaching(name, target):
        with databases.engine(target).connect() as connection:
            version, clock, session = connection.exec_driver_sql(_FACTS[its.engine]).one()
            zone = stamps.zone(connection, its.engine)
        ceiling = window.ceiling(target, its.engine, its.limits, Clock())
    kind = "PostgreSQL" if its.engine == "postgresql" else "MariaDB" if "mariadb" in version.lower() else "MySQL"
    yield _version(subject, kind, str(version), f"{target.host}:{target.port}" if target.port else str(target.host))
    if ceiling.lagged:
        yield Check(
            f"{subject} transactions",
            "warning",
            f"{ceiling.how}; a transaction that stays open for longer loses its rows",
            f"{ceiling.remedy}.",
        )
    elif ceiling.open_for > window.STALLED:
        yield Check(f"{subject} transactions", "warning", ceiling.how, "end that transaction at the source: nothing newer is read.")
    else:
        yield Check(f"{subject} transactions", "ok", "open transactions are visible")
    if str(session) not in {"UTC", "+00:00"}:
        yield Check(f"{subject} zone", "failed", "this session is not in UTC", "let the login set its session's time zone.")
    elif zone:
        yield Check(
            f"{subject} zone",
            "warning",
            f"the server's zone is {zone}, sessions of ours are in UTC",
            "times without a zone are taken for UTC: make sure that applications write them so; their cursors are none until `load: incremental` says it.",
        )
    else:
        yield Check(f"{subject} zone", "ok", "UTC")
    off = abs((datetime.now(UTC) - clock.replace(tzinfo=UTC)).total_seconds())
    if off > _SKEW and not simulated:
        yield Check(f"{subject} clock", "warning", f"the server's clock is {off:,.0f} s off this machine's", "keep both by NTP.")


def _version(subject: str, kind: str, version: str, where: str) -> Check:
    number = version.split(maxsplit=1)[0].partition("-")[0]
    parts = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
    told = f"{kind} {number} at {where}"
    if parts < _OLDEST[kind]:
        oldest = ".".join(map(str, _OLDEST[kind]))
        return Check(subject, "warning", f"{told} is older than {oldest}, and was never tried", f"upgrade to {kind} {oldest} or newer.")
    return Check(subject, "ok", told)


def _dynamodb(subject: str, its: Source, aws: Aws) -> Checks:
    client = aws.client("dynamodb")
    for table in its.tables:
        with guarded(
            f"{subject} {table}", "check the name in `tables:`, and grant dynamodb:DescribeTable and dynamodb:Scan on it."
        ) as trouble:
            status = client.describe_table(TableName=table)["Table"]["TableStatus"]
            client.scan(TableName=table, Limit=1, Select="COUNT")
        yield trouble.check or Check(f"{subject} {table}", "ok", f"DynamoDB table, {status}, can be scanned")


def _tables(name: str, its: Source, aws: Aws, tenant: Tenant) -> Check:
    """Return whether the tenant's tables are there and every column of them may be read."""
    subject = f"source {name} of {tenant.id}"
    with guarded(subject, _SOURCE_REMEDY) as trouble:
        found = catalog.crawl(name, its, tenant, aws)
        refused = [] if its.engine == "dynamodb" else _refused(name, its, aws, found.tables)
    if trouble.check:
        return trouble.check
    unreadable = [*found.broken, *refused]
    if unreadable:
        return Check(subject, "failed", f"{_few(unreadable)} can not be read", "grant the login SELECT on them, or exclude them.")
    if not found.tables:
        return Check(
            subject, "warning", "there is no table", "check the tenant's layout and key, `include` and `exclude`, and the login's grants."
        )
    left_out = [f"{table} {reason}" for table, reason in found.left_out.items() if reason != "excluded by configuration"]
    told = f"{len(found.tables)} tables can be read"
    if left_out:
        return Check(subject, "warning", f"{told}; left out: {_few(left_out)}", "name them in `exclude`, or give them the column.")
    return Check(subject, "ok", told)


def _refused(name: str, its: Source, aws: Aws, tables: Sequence[SourceTable]) -> list[str]:
    """Return the tables that this login may not read: every column is asked for, and no row."""
    import sqlalchemy as sa

    target = databases.url(its, aws)
    refused = []
    with databases.reaching(name, target), databases.engine(target).connect() as connection:
        for table in tables:
            try:
                connection.execute(_nothing_of(table))
            except sa.exc.DBAPIError as error:
                if error.connection_invalidated:
                    raise
                connection.rollback()
                refused.append(table.table_id)
    return refused


def _nothing_of(table: SourceTable) -> sa.TextClause:
    import sqlalchemy as sa

    if table.engine == "dynamodb":
        raise SourceError("DynamoDB knows no SQL.", remedy="report this as a defect.")

    def name(text: str) -> str:
        # A colon would begin a parameter of SQLAlchemy's.
        return quoted(text, table.engine).replace(":", "\\:")  # type: ignore[arg-type]

    columns = ", ".join(name(column.name) for column in table.columns)
    return sa.text(f"SELECT {columns} FROM {name(table.placement.schema)}.{name(table.physical)} WHERE 1 = 0")


def _few(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
