"""What is curated, denormalised and turned to rows, and how: laboratory results as an LIS has them, their orders and patients, and a user-defined table.

The expressions are the product's own: `curated` with columns of the contract of results, `unpivoted`, and a join as wide tables are made of.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from lab_insights.lab.curate import BATCH, GONE, INGESTED, TENANT, Curation, curated
from lab_insights.lab.engine import Query
from lab_insights.lab.texts import joined
from lab_insights.lab.unpivot import unpivoted

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    *(
        "result_id",
        "lab_order_id",
        "patient_id",
        "component_code",
        "loinc",
        "value_raw",
        "value_num",
        "unit_raw",
        "flag_norm",
        "status_norm",
    ),
    *("resulted_at", "verified_at", "updated_at"),
)
FLAGS = {"H": "high", "L": "low", "HH": "critical_high", "LL": "critical_low", "A": "abnormal"}
STATUSES = {"P": "preliminary", "F": "final", "C": "corrected", "X": "cancelled"}
# Of every result a twentieth comes twice, as a correction; a thousandth has no key.
AGAIN, KEYLESS = 20, 1000
ANALYTES = 8
DETAIL = (
    *(
        "result_id",
        "lab_order_id",
        "patient_id",
        "mrn",
        "sex",
        "birth_date",
        "account_id",
        "priority",
        "component_code",
        "loinc",
        "value_raw",
    ),
    *("value_num", "unit_raw", "flag_norm", "status_norm", "ordered_at", "resulted_at", "verified_at"),
)
STEPS = ("curated", "detail", "long")
RUN = {"tenant_id": "bench", "as_of": "2026-03-01", "batch_id": "b1"}


def make(directory: Path, rows: int) -> None:
    """Write the inputs as parquet; values are functions of a row's number."""
    import duckdb

    orders, patients = max(rows // 6, 1), max(rows // 40, 1)
    at = "TIMESTAMP '2026-03-01' + to_seconds({})"
    result = f"""
        SELECT CASE WHEN n % {KEYLESS} <> 7 THEN CAST(n AS VARCHAR) END AS id, CAST(n // 6 AS VARCHAR) AS lab_order_id,
            CAST(n % {patients} AS VARCHAR) AS patient_id, 'C' || n % 89 AS component_code,
            CASE WHEN n % 11 <> 0 THEN CAST(1000 + n % 89 AS VARCHAR) || '-' || n % 9 END AS loinc,
            CASE n % 10 WHEN 0 THEN '<' || n % 7 WHEN 1 THEN 'not detected' ELSE CAST((n * 7919 % 100000) / 100 AS DECIMAL(10,2))::VARCHAR END AS value_raw,
            CASE WHEN n % 13 <> 0 THEN 'mmol/L' END AS unit_raw, (['H', 'L', 'HH', 'A', NULL, NULL, NULL])[1 + n % 7] AS flag_raw,
            CASE WHEN v = 1 THEN 'C' ELSE (['F', 'F', 'F', 'P', 'X', 'Z'])[1 + n % 6] END AS status_raw,
            {at.format("n % 80000")} AS resulted_at, CASE WHEN n % 17 <> 0 THEN {at.format("n % 80000 + 600")} END AS verified_at,
            {at.format("n % 80000 + 900 + v * (n % 3)")} AS updated_at, 'batch_' || v AS {BATCH}, TIMESTAMP '2026-03-02' AS {INGESTED},
            '{RUN["tenant_id"]}' AS {TENANT}, CASE WHEN n % 997 = 5 THEN TIMESTAMP '2026-03-01 23:00:00' END AS {GONE}
        FROM (SELECT range AS n, 0 AS v FROM range({rows}) UNION ALL SELECT range * {AGAIN}, 1 FROM range({rows // AGAIN}))"""
    statements = {
        "result": result,
        "lab_order": f"""SELECT CAST(range AS VARCHAR) AS lab_order_id, 'acct' || range % 500 AS account_id,
            (['stat', 'routine', NULL])[1 + range % 3] AS priority, {at.format("range % 70000")} AS ordered_at FROM range({orders})""",
        "patient": f"""SELECT CAST(range AS VARCHAR) AS patient_id, 'MRN' || range AS mrn, (['female', 'male', NULL])[1 + range % 3] AS sex,
            DATE '1930-01-01' + CAST(range % 30000 AS INTEGER) AS birth_date FROM range({patients})""",
        "udt": f"""SELECT CAST(range AS VARCHAR) AS id, {
            ", ".join(
                f"CASE WHEN (range + {each}) % 9 <> 0 THEN CAST((range * {each + 3} % 9973) AS DECIMAL(10,2)) END AS v{each}"
                if each % 2
                else f"CASE WHEN (range + {each}) % 7 <> 0 THEN 'text ' || (range * {each + 5} % 997) END AS v{each}"
                for each in range(ANALYTES)
            )
        },
            range % 50 = 0 AS is_deleted FROM range({max(rows // ANALYTES, 1)})""",
    }
    with duckdb.connect(config={"threads": 2}) as connection:
        for name, statement in statements.items():
            connection.execute(f"COPY ({statement}) TO '{directory / name}.parquet' (FORMAT parquet, COMPRESSION zstd)")


def schema(directory: Path, name: str) -> pa.Schema:
    """Return the schema of an input."""
    import pyarrow.parquet as pq

    return pq.read_schema(directory / f"{name}.parquet")


def queries(directory: Path) -> dict[str, Query]:
    """Return the product's expressions for the inputs, by step."""
    from lab_insights.lab.contracts import contracts

    contract = contracts()["result"]
    kept = contract.model_copy(update={"columns": tuple(column for name in COLUMNS for column in contract.columns if column.name == name)})
    raw = schema(directory, "result")
    plain = [each for each in raw if each.name not in {BATCH, INGESTED, TENANT, GONE}]
    curation = Curation("lis", ("id",), "updated_at", kept)
    step = curated(raw.empty_table().select([each.name for each in plain]).schema, curation)
    return {
        "curated": step,
        "detail": _detail(step.schema, schema(directory, "lab_order"), schema(directory, "patient")),
        "long": unpivoted(schema(directory, "udt"), ("id",)),
    }


@functools.lru_cache(maxsize=1)
def _detail(result: pa.Schema, order: pa.Schema, patient: pa.Schema) -> Query:
    import ibis

    results, orders, patients = (
        ibis.table(ibis.Schema.from_pyarrow(each), name=name)
        for name, each in (("curated", result), ("lab_order", order), ("patient", patient))
    )
    run = ibis.table({"tenant_id": "string", "as_of": "date", "batch_id": "string"}, name="run")
    live = results.filter(~results.is_deleted).select(*(name for name in COLUMNS))
    whole = live.left_join(orders, "lab_order_id").drop("lab_order_id_right").left_join(patients, "patient_id").select(*DETAIL)
    hashed = joined([whole[name] for name in DETAIL]).hexdigest("md5")
    return Query(whole.mutate(record_hash=hashed).cross_join(run).select([*DETAIL, "tenant_id", "as_of", "batch_id", "record_hash"]))
