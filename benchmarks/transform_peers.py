"""The same three steps written by hand in Polars and in pandas: what somebody would write who has these libraries and no definitions."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.transform_data import COLUMNS, DETAIL, FLAGS, RUN, STATUSES
from lab_insights.lab.curate import BATCH, GONE, INGESTED, TENANT

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

# The number of a result, after its operator where it has one.
NUMBER = r"^(?:<=|>=|<|>|≤|≥)? *([+-]?(?:[0-9]+(?:[.][0-9]+)?|[.][0-9]+))$"
_SCALE = Decimal("1e-9")
_STRIPPED = " \t\n\r\v\f"
_STAMPS = ("resulted_at", "verified_at", "updated_at")
_TYPES = {"string": "string", "numeric": "decimal128(10, 2)"}


def polars(step: str, data: Path, out: Path) -> None:
    """Do a step lazily, with the streaming engine."""
    import polars as pl

    frame = {"curated": _pl_curated, "detail": _pl_detail, "long": _pl_long}[step](data, out)
    frame.with_columns(as_of=pl.lit(RUN["as_of"]).str.to_date()).sink_parquet(
        out / f"{step}.parquet"
    ) if step != "curated" else frame.sink_parquet(out / f"{step}.parquet")


def _pl_text(name: str, kind: pl.DataType) -> pl.Expr:
    import polars as pl

    value = pl.col(name)
    if kind == pl.String:
        return value
    if kind == pl.Boolean:
        return pl.when(value).then(pl.lit("true")).otherwise(pl.lit("false"))
    return value.dt.strftime("%Y-%m-%d %H:%M:%S") if isinstance(kind, pl.Datetime) else value.cast(pl.String)


def _pl_joined(names: tuple[str, ...], kinds: dict[str, Any]) -> pl.Expr:
    import polars as pl

    texts = [_pl_text(name, kinds[name]) for name in names]
    return pl.concat_str([pl.concat_str([text.str.len_chars().cast(pl.String), pl.lit(":"), text]).fill_null("-") for text in texts])


def _pl_md5(text: pl.Expr) -> pl.Expr:
    import polars as pl

    def digests(values: pl.Series) -> pl.Series:
        md5 = hashlib.md5
        return pl.Series([md5(value.encode(), usedforsecurity=False).hexdigest() for value in values.to_list()], dtype=pl.String)

    return text.map_batches(digests, return_dtype=pl.String)


def _pl_curated(data: Path, _out: Path) -> pl.LazyFrame:
    import polars as pl

    raw = pl.scan_parquet(data / "result.parquet").filter(pl.col("id").is_not_null())
    text = pl.col("value_raw").str.strip_chars(_STRIPPED)
    named = raw.with_columns(
        result_id=pl.col("id"),
        value_num=text.str.extract(NUMBER, 1).cast(pl.Decimal(38, 9), strict=False),
        flag_norm=pl.col("flag_raw").replace_strict(FLAGS, default=None, return_dtype=pl.String),
        status_norm=pl.col("status_raw").replace_strict(STATUSES, default=None, return_dtype=pl.String),
        source_pk=_pl_joined(("id",), {"id": pl.String}),
        source_updated_at=pl.max_horizontal("updated_at", GONE),
        is_deleted=pl.col(GONE).is_not_null(),
    )
    kinds: dict[str, Any] = dict.fromkeys(COLUMNS, pl.String) | dict.fromkeys(_STAMPS, pl.Datetime("us")) | {"value_num": pl.Decimal(38, 9)}
    hashed = named.with_columns(record_hash=_pl_md5(_pl_joined(COLUMNS, kinds)), ingested_at=pl.col(INGESTED), batch_id=pl.col(BATCH))
    newest = hashed.sort("source_updated_at", "batch_id", "record_hash", descending=True).unique(subset=["id"], keep="first")
    return newest.select(
        *COLUMNS, tenant_id=pl.col(TENANT), source_system=pl.lit("lis"), connection_id=pl.lit("lis"), source_pk="source_pk",
        source_updated_at="source_updated_at", ingested_at="ingested_at", batch_id="batch_id", record_hash="record_hash", is_deleted="is_deleted",
    )  # fmt: skip


def _pl_detail(data: Path, out: Path) -> pl.LazyFrame:
    import polars as pl

    results = pl.scan_parquet(out / "curated.parquet").filter(~pl.col("is_deleted")).select(COLUMNS)
    orders, patients = pl.scan_parquet(data / "lab_order.parquet"), pl.scan_parquet(data / "patient.parquet")
    whole = results.join(orders, on="lab_order_id", how="left").join(patients, on="patient_id", how="left").select(DETAIL)
    kinds: dict[str, Any] = dict.fromkeys(DETAIL, pl.String) | dict.fromkeys((*_STAMPS, "ordered_at"), pl.Datetime("us"))
    kinds |= {"value_num": pl.Decimal(38, 9), "birth_date": pl.Date}
    return whole.select(
        *DETAIL, tenant_id=pl.lit(RUN["tenant_id"]), as_of=pl.lit(RUN["as_of"]), batch_id=pl.lit(RUN["batch_id"]),
        record_hash=_pl_md5(_pl_joined(DETAIL, kinds)),
    )  # fmt: skip


def _pl_long(data: Path, _out: Path) -> pl.LazyFrame:
    import polars as pl

    rows = pl.scan_parquet(data / "udt.parquet")
    kinds = rows.collect_schema()
    values = [name for name in kinds if name not in {"id", "is_deleted"}]
    types = {name: "string" if kinds[name] == pl.String else "decimal128(10, 2)" for name in values}
    texts = rows.with_columns(row_key=_pl_joined(("id",), kinds), **{name: pl.col(name).cast(pl.String) for name in values})
    long = texts.unpivot(on=values, index=["row_key", "is_deleted"], variable_name="column_name", value_name="value_text")
    typed = long.with_columns(value_type=pl.col("column_name").replace_strict(types, return_dtype=pl.String))
    typed = typed.with_columns(
        value_num=pl.when(pl.col("value_type") != "string").then(pl.col("value_text")).cast(pl.Decimal(38, 9), strict=False),
        value_date=pl.lit(None, pl.Date), value_at=pl.lit(None, pl.Datetime("us")), value_flag=pl.lit(None, pl.Boolean),
    )  # fmt: skip
    text = dict.fromkeys(("value_type", "value_text"), pl.String)
    return typed.select(
        "row_key", "column_name", "value_type", "value_text", "value_num", "value_date", "value_at", "value_flag",
        tenant_id=pl.lit(RUN["tenant_id"]), as_of=pl.lit(RUN["as_of"]),
        batch_id=pl.lit(RUN["batch_id"]), record_hash=_pl_md5(_pl_joined(("value_type", "value_text"), text)), is_deleted="is_deleted",
    )  # fmt: skip


def pandas(step: str, data: Path, out: Path) -> None:
    """Do a step in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = {"curated": _pd_curated, "detail": _pd_detail, "long": _pd_long}[step](data, out)
    if step != "curated":
        import datetime as dt

        frame["as_of"] = dt.date.fromisoformat(RUN["as_of"])
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), out / f"{step}.parquet", compression="zstd")


def _pd_texts(column: pd.Series[Any]) -> list[str | None]:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        column = column.dt.strftime("%Y-%m-%d %H:%M:%S")
    # the format of a decimal, without which zero would be `0E-9`
    kind = "f" if any(isinstance(value, Decimal) for value in column) else ""
    return [None if missing else f"{value:{kind}}" for value, missing in zip(column, column.isna(), strict=True)]


def _pd_joined(frame: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    columns = [[f"{len(text)}:{text}" if text is not None else "-" for text in _pd_texts(frame[name])] for name in names]
    return ["".join(texts) for texts in zip(*columns, strict=True)]


def _pd_numbers(texts: pd.Series[Any]) -> list[Decimal | None]:
    return [None if missing else Decimal(text).quantize(_SCALE) for text, missing in zip(texts, texts.isna(), strict=True)]


def _md5(texts: list[str]) -> list[str]:
    return [hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in texts]


def _pd_curated(data: Path, _out: Path) -> pd.DataFrame:
    import pandas as pd

    raw = pd.read_parquet(data / "result.parquet")
    raw = raw[raw["id"].notna()].rename(columns={TENANT: "tenant_id", INGESTED: "ingested_at", BATCH: "batch_id"})
    text = raw["value_raw"].str.strip(_STRIPPED)
    raw["value_num"] = _pd_numbers(text.str.extract(NUMBER)[0])
    raw["result_id"] = raw["id"]
    raw["flag_norm"], raw["status_norm"] = raw["flag_raw"].map(FLAGS), raw["status_raw"].map(STATUSES)
    raw["flag_norm"], raw["status_norm"] = (
        raw[name].astype(object).where(raw[name].notna(), None) for name in ("flag_norm", "status_norm")
    )
    raw["source_system"] = raw["connection_id"] = "lis"
    raw["source_pk"] = _pd_joined(raw, ("id",))
    raw["source_updated_at"] = raw[["updated_at", GONE]].max(axis=1)
    raw["is_deleted"] = raw[GONE].notna()
    raw["record_hash"] = _md5(_pd_joined(raw, COLUMNS))
    newest = raw.sort_values(["source_updated_at", "batch_id", "record_hash"], ascending=False).drop_duplicates("id")
    beside = [
        "tenant_id",
        "source_system",
        "connection_id",
        "source_pk",
        "source_updated_at",
        "ingested_at",
        "batch_id",
        "record_hash",
        "is_deleted",
    ]
    return newest[[*COLUMNS, *beside]]


def _pd_detail(data: Path, out: Path) -> pd.DataFrame:
    import pandas as pd

    results = pd.read_parquet(out / "curated.parquet")
    results = results.loc[~results["is_deleted"], list(COLUMNS)]
    orders, patients = pd.read_parquet(data / "lab_order.parquet"), pd.read_parquet(data / "patient.parquet")
    whole = results.merge(orders, on="lab_order_id", how="left").merge(patients, on="patient_id", how="left")[list(DETAIL)]
    whole["tenant_id"], whole["as_of"], whole["batch_id"] = RUN["tenant_id"], RUN["as_of"], RUN["batch_id"]
    whole["record_hash"] = _md5(_pd_joined(whole, DETAIL))
    return whole


def _pd_long(data: Path, _out: Path) -> pd.DataFrame:
    import pandas as pd

    rows = pd.read_parquet(data / "udt.parquet")
    rows["row_key"] = _pd_joined(rows, ("id",))
    values = [name for name in rows.columns if name not in {"id", "is_deleted", "row_key"}]
    kinds = {name: "string" if name in {"v0", "v2", "v4", "v6"} else "decimal128(10, 2)" for name in values}
    rows[values] = pd.DataFrame({name: _pd_texts(rows[name]) for name in values}, index=rows.index, dtype=object)
    long = rows.melt(id_vars=["row_key", "is_deleted"], value_vars=values, var_name="column_name", value_name="value_text")
    long["value_type"] = long["column_name"].map(kinds)
    long["value_num"] = _pd_numbers(long["value_text"].where(long["value_type"] != "string"))
    long["value_date"] = long["value_at"] = long["value_flag"] = None
    long["tenant_id"], long["as_of"], long["batch_id"] = RUN["tenant_id"], RUN["as_of"], RUN["batch_id"]
    long["record_hash"] = _md5(_pd_joined(long, ("value_type", "value_text")))
    typed = ["value_type", "value_text", "value_num", "value_date", "value_at", "value_flag"]
    return long[["row_key", "column_name", *typed, "tenant_id", "as_of", "batch_id", "record_hash", "is_deleted"]]
