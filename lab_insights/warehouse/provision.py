"""What a tenant's database holds before its first load, and who may use it (`warehouse.roles`): a pure plan, applied as often as one likes."""

from __future__ import annotations

from lab_insights.lake.layout import Layer
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights.warehouse import masking, roles
from lab_insights.warehouse.names import STORE, database, identifier, stage
from lab_insights.warehouse.session import Session

SCHEMAS = ("CURATED", "TRANSFORMED", "REPORTS", "DEIDENTIFIED", STORE)
LAYERS: tuple[Layer, ...] = ("curated", "transformed")
# The storage integration that an account administrator creates once; a local lake needs none.
INTEGRATION = "LAB_INSIGHTS"
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


def plan(storage: Storage, tenant: TenantId, tier: str) -> list[str]:
    """Return every statement that a tenant's database, its roles and its tier's warehouse need, in order."""
    made = [*_database(tenant), *statements(storage), *masking.policies(tenant)]
    return [*roles.compute(tier), *made, *roles.permissions(tenant, tier), *masking.grants(tenant)]


def provision(session: Session, storage: Storage, tenant: TenantId, tier: str | None = None) -> int:
    """Make the tenant's database, schemas, external stages and bookkeeping tables where they are missing; with its `tier` also roles and warehouse.

    Returns how many statements that were. Running it again changes nothing.
    """
    todo = plan(storage, tenant, tier) if tier else [*_database(tenant), *statements(storage), *masking.policies(tenant)]
    for statement in todo:
        session.execute(statement)
    return len(todo)


def _database(tenant: TenantId) -> list[str]:
    its = identifier(database(tenant))
    return [f"CREATE DATABASE IF NOT EXISTS {its}", f"CREATE SCHEMA IF NOT EXISTS {its}.OPS", f"USE SCHEMA {its}.OPS"]


def statements(storage: Storage) -> list[str]:
    """Return the statements that fill a tenant's current database, which has its OPS schema."""
    integration = "" if storage.aws.endpoint_url else f" STORAGE_INTEGRATION = {INTEGRATION}"
    schemas = [f"CREATE SCHEMA IF NOT EXISTS {identifier(name)}" for name in SCHEMAS]
    # replaced, not kept: a stage left from another deployment would read another lake
    stages = [f"CREATE OR REPLACE STAGE {stage(layer)} URL = 's3://{storage.bucket(layer)}/'{integration}" for layer in LAYERS]
    return [*schemas, *stages, LEDGER, HEADS, SCHEMA_CHANGES]


def use(session: Session, tenant: TenantId) -> None:
    """Make the tenant's OPS schema current; every other name is qualified by its schema."""
    session.use(database(tenant), "OPS", tenant)
