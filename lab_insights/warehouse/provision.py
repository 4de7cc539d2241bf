"""What a tenant's database holds before its first load, and who may use it (`warehouse.roles`): a pure plan, applied as often as one likes.

What Snowflake's admin API has a resource for goes through it (`warehouse.admin`), the rest is SQL. What somebody dropped comes back with the next apply.
"""

from __future__ import annotations

from lab_insights.lake.layout import Layer
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse import masking, roles
from lab_insights.warehouse.admin import Done, Make, Step, apply
from lab_insights.warehouse.names import database, identifier, stage
from lab_insights.warehouse.session import Login, Session

LAYERS: tuple[Layer, ...] = ("curated", "transformed")
# The storage integration that an account administrator creates once; a local lake needs none.
INTEGRATION = "LAB_INSIGHTS"
NOBODY = Login()
LEDGER = """CREATE TABLE IF NOT EXISTS OPS.LEDGER (
    LAYER VARCHAR, TABLE_NAME VARCHAR, DAY DATE, BATCH_ID VARCHAR, KIND VARCHAR,
    STAGED NUMBER(19,0), INSERTED NUMBER(19,0), UPDATED NUMBER(19,0), TOMBSTONED NUMBER(19,0),
    CHECKSUM VARCHAR, RUN_ID VARCHAR, LOADED_AT TIMESTAMP_NTZ(6) DEFAULT CURRENT_TIMESTAMP()
)"""
# One row a table: every load moves VERSION by compare-and-set, so that loads of a table come one after the other; the
# SNAPSHOT columns are those of the
# newest snapshot, which decides what a late, older batch may still insert.
HEADS = """CREATE TABLE IF NOT EXISTS OPS.HEADS (
    LAYER VARCHAR NOT NULL, TABLE_NAME VARCHAR NOT NULL, VERSION NUMBER(19,0),
    SNAPSHOT_DAY DATE, SNAPSHOT_BATCH VARCHAR, SNAPSHOT_AT VARCHAR, PRIMARY KEY (LAYER, TABLE_NAME)
)"""


# Append-only: what was changed in the shape of which table, when and by which run. Renames and deprecations hold from here on.
SCHEMA_CHANGES = """CREATE TABLE IF NOT EXISTS OPS.SCHEMA_CHANGES (
    TABLE_SCHEMA VARCHAR, TABLE_NAME VARCHAR, WHAT VARCHAR, COLUMN_NAME VARCHAR, DETAIL VARCHAR, RENAMED_TO VARCHAR, BEFORE_BATCH VARCHAR,
    RUN_ID VARCHAR, CHANGED_AT TIMESTAMP_NTZ(6) DEFAULT CURRENT_TIMESTAMP()
)"""


def plan(storage: Storage, tenant: TenantId, tier: str | None = None, login: Login = NOBODY) -> list[Step]:
    """Return every step that a tenant's database needs, in order; with its `tier` also those of its roles and of the tier's warehouse."""
    made = [*contents(storage, tenant), *masking.policies(tenant)]
    if not tier:
        return made
    return [*roles.compute(tier), *made, *roles.permissions(tenant, tier, login), *masking.grants(tenant)]


def provision(session: Session, storage: Storage, tenant: TenantId, tier: str | None = None, done: Done = lambda _: None) -> int:
    """Apply the plan as the login's own role, which is granted the tenant's loader, tell `done` each step, and return how many there were.

    The tenant's OPS schema is current then. Again, it changes nothing.
    """
    session.resume()
    return apply(session, plan(storage, tenant, tier, session.login), done)


def contents(storage: Storage, tenant: TenantId) -> list[Step]:
    """Return the steps that make a tenant's database, its schemas, external stages and bookkeeping tables where they are missing."""
    its = database(tenant)
    integration = {} if storage.aws.endpoint_url else {"storage_integration": INTEGRATION}
    return [
        Make("DATABASE", (its,)),
        *(Make("SCHEMA", (its, name)) for name in roles.SCHEMAS),
        # replaced, not kept: a stage left from another deployment would read another lake
        *(
            Make("STAGE", (its, *stage(layer).split(".")), {"url": f"s3://{storage.bucket(layer)}/", **integration}, mode="or_replace")
            for layer in LAYERS
        ),
        # what follows, tables and policies, is named by its schema alone
        f"USE SCHEMA {identifier(its)}.OPS",
        *(LEDGER, HEADS, SCHEMA_CHANGES),
    ]


def use(session: Session, tenant: TenantId) -> None:
    """Act as the tenant's loader, and make its OPS schema current; every other name is qualified by its schema.

    Raise `WarehouseError` when the login does not have the loader: masks would show it nulls for the keys that it merges by, and rows would double.
    """
    session.assume(roles.role(tenant, "LOADER"), tenant)
    session.use(database(tenant), "OPS", tenant)
