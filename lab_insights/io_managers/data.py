"""What IO managers accept and give: receipts, Arrow, Ibis, pandas and Spark."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from lab_insights.assets.receipts import Receipt
from lab_insights.errors import told
from lab_insights.lab.contracts import contracts
from lab_insights.lab.publish import unfit
from lab_insights.lake.layout import LAYERS, Layer

if TYPE_CHECKING:
    import pyarrow as pa


class Unfit(TypeError):
    """Data that no layer can hold; the text is a sentence of ours."""


def is_receipts(value: Any) -> bool:
    """Return whether an asset returned receipts, that is, whether its data is committed already."""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(receipt, Receipt) for receipt in value.values())


def by_partition(context: dg.OutputContext, value: Any) -> dict[str, Any]:
    """Return data by partition key: a mapping as it is, anything else as the data of the only partition."""
    keys = list(context.asset_partition_keys)
    if isinstance(value, Mapping):
        if sorted(map(str, value)) != sorted(keys):
            raise _refused(context, "returned a mapping that does not name this run's partitions, each once.")
        return {str(key): data for key, data in value.items()}
    if len(keys) != 1:
        raise _refused(context, f"returned one value for {len(keys)} partitions; return a mapping of partition key to data.")
    return {keys[0]: value}


def target(context: dg.OutputContext) -> tuple[str, tuple[str, ...]]:
    """Return the table that an asset's data is published as, and its key; raise `Failure` for assets that may not publish."""
    layer, table = location(context.asset_key)
    key = tuple((context.definition_metadata or {}).get("key", ()))
    if layer != "transformed":
        raise _refused(context, f"returned data, but {layer} is made from the sources alone; give the asset another key prefix.")
    if not key:
        raise _refused(context, "needs metadata `key`: the columns that tell its rows apart, and that a MERGE compares.")
    return table, key


def keyed(context: dg.OutputContext, value: Any, key: tuple[str, ...]) -> pa.Table:
    """Return data as an Arrow table that can be published under `key`; raise `Failure` for any other, before anything of it is."""
    try:
        table = _as_in_the_lake(to_arrow(value))
    except Unfit as error:
        raise _refused(context, f"returned what can not be written: {error}.") from None
    except Exception as error:  # noqa: BLE001 (Arrow, pandas and DuckDB quote the value that they can not convert)
        raise _refused(context, f"returned what can not be written: {told(error)}.") from None
    if wrong := unfit(table, key):
        raise _refused(context, f"returned what can not be written: the data {wrong.what}; {wrong.remedy}.")
    return table


def commit_each(context: dg.OutputContext, rows: Mapping[str, pa.Table], commit: Callable[[str, pa.Table], Mapping[str, Any]]) -> None:
    """Commit the data of each partition, and give it the metadata that `commit` returns.

    Raises `Failure` after the last one, with the reason of each that failed: one tenant's fault keeps nobody else's data back.
    """
    failed: dict[str, str] = {}
    for partition, data in rows.items():
        try:
            context.step_context.add_asset_metadata(dict(commit(partition, data)), context.asset_key, partition)
        except Exception as error:  # noqa: BLE001 (whatever one partition raises must not stop the others)
            failed[partition] = told(error)
    if failed:
        reasons = "; ".join(f"{partition}: {reason}" for partition, reason in failed.items())
        raise _refused(context, f"is committed but for {len(failed)} of {len(rows)} partitions; materialize those again. {reasons}")


def to_arrow(value: Any) -> pa.Table:
    """Return Arrow, Ibis, pandas or Spark data as an Arrow table; raise `Unfit` for anything else."""
    import pyarrow as pa

    if isinstance(value, pa.Table):
        return value
    if isinstance(value, pa.RecordBatch | pa.RecordBatchReader):
        return pa.Table.from_batches([value]) if isinstance(value, pa.RecordBatch) else value.read_all()
    for method in ("to_pyarrow", "toArrow", "to_table"):  # Ibis, Spark, Arrow datasets
        if callable(found := getattr(value, method, None)):
            return found()
    if type(value).__module__.startswith("pandas."):
        return pa.Table.from_pandas(value, preserve_index=False)
    raise Unfit(f"a {type(value).__name__} is neither Arrow, Ibis, pandas or Spark data nor receipts")


def _as_in_the_lake(table: pa.Table) -> pa.Table:
    """Return a table whose instants are naive microseconds in UTC and whose dictionaries are decoded; raise `Unfit` rather than cut a value."""
    import pyarrow as pa

    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_timestamp(column.type):
            try:
                columns.append(column.cast(pa.timestamp("us", column.type.tz)).cast(pa.timestamp("us")))
            except pa.ArrowInvalid:
                raise Unfit(f"{name} holds instants finer than a microsecond") from None
        else:
            columns.append(column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column)
    return pa.Table.from_arrays(columns, names=table.column_names)


def wanted(context: dg.InputContext) -> Any:
    """Return the type that an input's data shall have: its annotation, for a mapping that of its values."""
    annotated = context.dagster_type.typing_type
    return typing.get_args(annotated)[-1] if typing.get_origin(annotated) in {dict, Mapping} else annotated


def from_arrow(value: Any, wanted: Any) -> Any:
    """Return a relation (`pa.Table` or dataset) as the type that an input is annotated with; without annotation as it is, unread."""
    module = getattr(wanted, "__module__", "")
    if module.startswith("pandas."):
        return to_arrow(value).to_pandas()
    if module.startswith("pyarrow.") and getattr(wanted, "__name__", "") == "Table":
        return to_arrow(value)
    return value


def location(key: dg.AssetKey) -> tuple[Layer, str]:
    """Return layer and table that an asset key means.

    `raw/lis/result` is `lis.result` in raw, `snowflake/account` what is loaded from curated, any other key a table in transformed.
    """
    first, *rest = key.path
    layer = next((layer for layer in LAYERS if layer == first), None)
    if layer is not None:
        return layer, ".".join(rest)
    table = "_".join(rest if first == "snowflake" and rest else key.path)
    return ("curated" if table in contracts() else "transformed"), table


def _refused(context: dg.OutputContext, why: str) -> dg.Failure:
    return dg.Failure(f"{context.asset_key.to_user_string()} {why}", allow_retries=False)
