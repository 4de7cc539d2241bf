"""Starts the Snowflake stand-in, and says which statement forms run on Snowflake and here alike (all were tried here).

Connect with `account="fakesnow", host="127.0.0.1", port=…, protocol="http", network_timeout=4`. Then, 8 to 15 ms
each:

- `CREATE DATABASE IF NOT EXISTS "T"`, `CREATE SCHEMA IF NOT EXISTS "T"."S"`, `DROP DATABASE IF EXISTS "T"`; `USE
  SCHEMA "T"."S"` comes before a MERGE or COPY, since both note something in the session's current database, and one
  transaction may write to one only.
- `CREATE STAGE IF NOT EXISTS "T"."S"."LAKE" URL = 's3://BUCKET/' STORAGE_INTEGRATION = LAKE` (the integration is not
  looked at).
- `COPY INTO "T"."S"."STAGE" FROM @"T"."S"."LAKE" FILES = ('a/b=1/x.parquet') FILE_FORMAT = (TYPE = PARQUET
  USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE FORCE = TRUE`, also within a transaction. Without
  FORCE a file that was loaded before is skipped.
- Load JSON into VARCHAR and say `PARSE_JSON` later: text copied into VARIANT is a string on Snowflake and is parsed
  here. UTC timestamps copied into TIMESTAMP_NTZ need `ALTER SESSION SET TIMEZONE = 'UTC'` on Snowflake.
- Stage tables are ordinary or `TRANSIENT` tables, created before `BEGIN` (no DDL within a transaction, no qualified
  TEMPORARY tables).
- `MERGE INTO t USING (SELECT … QUALIFY ROW_NUMBER() OVER (…) = 1) AS s ON t."K" = s."K" WHEN MATCHED AND s."V" >
  t."V" THEN UPDATE SET "A" = s."A" WHEN NOT MATCHED THEN INSERT (…) VALUES (s."K", …)`: the values are columns of the
  source, expressions belong inside it.
- `UPDATE … FROM …`, `ALTER TABLE … ADD COLUMN IF NOT EXISTS`, `RENAME COLUMN`, `ALTER COLUMN … SET DATA TYPE`, `SWAP
  WITH`, views, FLATTEN.
- NUMBER(38,9) sums exactly; `MD5`, `SHA2(x, 256)`, `MD5_NUMBER_LOWER64`, `BITXOR_AGG` agree; `HASH`, `HASH_AGG`,
  `TO_NUMBER(hex, 'XX')` do not run.
- After any error within a transaction say `ROLLBACK`: here the transaction is over, on Snowflake it is not. Two
  writers of one row: the second fails with 000625 at once, where Snowflake waits for the lock.
- Roles, grants, warehouses, tags and policies are recorded: `SELECT KIND, STATEMENT FROM STAND_IN.RECORDED.STATEMENTS
  ORDER BY ORDINAL`.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab_insights.errors import StackError
from lab_insights.local import processes

PYTHON_VARIABLE = "LAB_INSIGHTS_SNOWFLAKE_PYTHON"
LOGIN = {"user": "lab_insights", "password": "local"}


def interpreter() -> Path:
    """Return the Python of the stand-in's own environment; raise `StackError` when there is none."""
    repository = Path(__file__).resolve().parents[3]
    python = Path(os.environ.get(PYTHON_VARIABLE) or repository / ".venv-snowflake" / "bin" / "python")
    if not python.exists():
        raise StackError(
            f"The Snowflake stand-in has no environment: {python} does not exist.",
            remedy=f"run `make setup`, or set {PYTHON_VARIABLE} to a Python that has fakesnow[server] and s3fs.",
        )
    return python


def start(directory: Path, s3_endpoint: str, log: Path, *, port: int | None = None, record: Path | None = None) -> processes.Handle:
    """Start the server on the databases of `directory`, on a free port unless one is given; ready in about 3 s."""
    port = port or processes.free_port()
    address = f"http://127.0.0.1:{port}"
    command = [str(interpreter()), "-m", "launcher", "--port", str(port), "--directory", str(directory.resolve())]
    return processes.start(
        "Snowflake stand-in",
        [*command, "--s3-endpoint", s3_endpoint],
        address=address,
        log=log,
        env={"PYTHONPATH": str(Path(__file__).resolve().parent)},
        ready=lambda: processes.answers(f"{address}/ready"),
        record=record,
    )
