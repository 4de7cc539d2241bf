"""Snowflake: the login, its role and warehouse, and the database of each tenant."""

from __future__ import annotations

from collections.abc import Sequence

from lab_insights.aws import Aws
from lab_insights.config import Config, SnowflakeSection
from lab_insights.doctor.check import Check, Checks, guarded
from lab_insights.governance.deidentify import tenant_key
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse import roles
from lab_insights.warehouse.names import identifier
from lab_insights.warehouse.provision import INTEGRATION, use
from lab_insights.warehouse.session import Session, connect

_REMEDY = "check `snowflake:` in lab_insights.yaml; Snowflake's query history shows the statement under the query tag `doctor`."


def snowflake(config: Config, aws: Aws, tenants: Sequence[Tenant]) -> Checks:
    """Yield the checks of the account, then one for each tenant's database."""
    with guarded("snowflake", _REMEDY) as trouble:
        session = connect(config.snowflake, aws, run_id="doctor")
    if trouble.check:
        yield trouble.check
        return
    if config.phi.pseudonym_key:
        with guarded("pseudonyms", "store the secret that `phi.pseudonym_key` names, and grant this role to read it.") as trouble:
            for tenant in tenants:
                tenant_key(config.phi, aws, tenant.id)
        yield trouble.check or Check("pseudonyms", "ok", f"a key for each of {len(tenants)} tenants")
    with session:
        yield from _account(config.snowflake, session)
        for tenant in tenants:
            with guarded(
                f"snowflake {tenant.database}", "`lab-insights tenant apply` makes it, and grants this role its loader."
            ) as trouble:
                use(session, tenant.id)
                session.execute("SELECT COUNT(*) FROM OPS.HEADS")
            yield trouble.check or Check(
                f"snowflake {tenant.database}", "ok", f"database and ledger are there, as {roles.role(tenant.id, 'LOADER')}"
            )


def _account(section: SnowflakeSection, session: Session) -> Checks:
    if section.host:
        # The local server knows neither roles nor warehouses.
        yield Check("snowflake", "ok", f"a local server at {section.host}:{section.port} in place of {section.account}")
        return
    with guarded("snowflake", _REMEDY) as trouble:
        [(version, role, warehouse)] = session.execute(
            "SELECT CURRENT_VERSION(), CURRENT_ROLE(), CURRENT_WAREHOUSE()"
        )  # not executed locally
    if trouble.check:
        yield trouble.check
        return
    if section.role and str(role).upper() != section.role.upper():
        yield Check("snowflake", "failed", f"the role is {role or 'none'}, not {section.role}", "grant the user that role.")
    else:
        yield Check("snowflake", "ok", f"{section.account}, version {version}, role {role}")
    yield _warehouse(section.warehouse, warehouse)
    with guarded(
        "snowflake integration", f"create the storage integration {INTEGRATION}, and grant this role USAGE on it: docs/how-to/deploy.md."
    ) as trouble:
        session.execute(f"DESCRIBE INTEGRATION {identifier(INTEGRATION)}")  # not executed locally
    yield trouble.check or Check("snowflake integration", "ok", f"{INTEGRATION} may be used")


def _warehouse(wanted: str | None, current: str | None) -> Check:
    if current:
        return Check("snowflake warehouse", "ok", current)
    return Check(
        "snowflake warehouse",
        "failed",
        f"{wanted} is not there, or not granted" if wanted else "none is in use, so no statement that needs one can run",
        "create the warehouse, grant this role USAGE on it, and name it in `snowflake.warehouse`.",
    )
