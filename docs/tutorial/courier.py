"""Makes what the tutorial connects: the database of a courier, which nobody has contracts of, and a configuration that reads it on the local stack.

`COURIER_URL` names a PostgreSQL server. Its schemas `courier_north` and `courier_south` are made anew;
`courier.yaml` is the local stack's configuration with this one source. With `--drop` both are taken away again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sqlalchemy as sa
import yaml

DROP = "DROP SCHEMA IF EXISTS courier_north, courier_south CASCADE"
STATEMENTS = (
    "CREATE SCHEMA courier_north",
    "CREATE TABLE courier_north.stop (id bigint PRIMARY KEY, name text, rack int, updated_at timestamp NOT NULL)",
    "CREATE INDEX ON courier_north.stop (updated_at)",
    "INSERT INTO courier_north.stop VALUES (1, 'Harbor Clinic', 4, '2024-01-02 08:00'), (2, 'Mill Street', 2, '2024-01-02 09:00')",
    "CREATE TABLE courier_north.cooler (id bigint PRIMARY KEY, degrees numeric(4,1), updated_at timestamp NOT NULL)",
    "INSERT INTO courier_north.cooler VALUES (1, 4.5, '2024-01-02 08:00')",
    # Another customer's schema of the same tables: from the two `init` sees how tenants are told apart.
    "CREATE SCHEMA courier_south",
    "CREATE TABLE courier_south.stop (LIKE courier_north.stop INCLUDING ALL)",
    "CREATE TABLE courier_south.cooler (LIKE courier_north.cooler INCLUDING ALL)",
)
SOURCE = {"courier": {"engine": "postgresql", "url": "env:COURIER_URL", "tenancy": {"schema": {"schema": "courier_{tenant}"}}}}

wanted = "--drop" not in sys.argv
with sa.create_engine(os.environ["COURIER_URL"], isolation_level="AUTOCOMMIT").connect() as connection:
    for statement in (DROP, *(STATEMENTS if wanted else ())):
        connection.exec_driver_sql(statement)
local = Path(os.environ.get("LAB_INSIGHTS_LOCAL_DIR") or ".lab_insights") / "dagster_home" / "lab_insights.yaml"
if wanted:
    Path("courier.yaml").write_text(yaml.safe_dump({**yaml.safe_load(local.read_text()), "sources": SOURCE}, sort_keys=False))
else:
    Path("courier.yaml").unlink(missing_ok=True)
