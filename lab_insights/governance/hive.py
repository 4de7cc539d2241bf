"""Tables and columns as the Glue Data Catalog spells them: Hive's types, the source's types, comments, keys and sizes, and the PHI class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lab_insights.config import PhiSection
from lab_insights.extract.catalog import SourceTable
from lab_insights.governance.classes import description, phi_class
from lab_insights.lake.layout import Layer

if TYPE_CHECKING:
    import pyarrow as pa

PARTITIONS = {"tenant": "string", "date": "date"}
Columns = dict[str, dict[str, Any]]


def about(tables: Sequence[SourceTable]) -> dict[str, Any]:
    """Return description and parameters of a source table: keys and indexes as the tenants have them, rows and bytes as their servers estimate them, in all."""
    said = next((table.comment for table in tables if table.comment), None)
    estimates = {name: [each for table in tables if (each := getattr(table, name)) is not None] for name in ("rows", "bytes")}
    parameters = {
        "lab_insights.key": ",".join(dict.fromkeys(name.lower() for table in tables for name in table.key)),
        "lab_insights.indexed": ",".join(sorted({name.lower() for table in tables for name in table.indexed})),
        **{f"lab_insights.{name}": str(sum(each)) for name, each in estimates.items() if each},
    }
    return {"Parameters": {name: its for name, its in parameters.items() if its}, **({"Description": said[:2048]} if said else {})}


def column(layer: Layer, table: str, name: str, kind: str, source_type: str, comment: str | None, phi: PhiSection) -> dict[str, Any]:
    """Return a column of a lake table; the source's own comment wins over the contract's description."""
    said = comment or description(layer, table, name)
    return {
        "Name": name.lower()[:255],
        "Type": kind,
        "Comment": f"{source_type[:180]}{f': {said}' if said else ''}"[:255],
        "Parameters": {"phi": phi_class(layer, table, name, phi)},
    }


def unite(columns: Columns, layer: Layer, table: str, schema: pa.Schema, phi: PhiSection) -> None:
    """Add the columns of a batch to those of its table; what is held in several types is text."""
    for field in schema:
        name, kind = field.name.lower(), _hive(field.type)
        if name in PARTITIONS:
            continue
        made = columns.setdefault(name, column(layer, table, field.name, kind, str(field.type), None, phi))
        if made["Type"] != kind:
            # tenants, or batches of a day, that hold it in several types: each partition's files say theirs
            made["Type"] = "string"


def _hive(kind: pa.DataType) -> str:
    import pyarrow.types as pat

    if pat.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})" if kind.precision <= 38 else "string"
    names = {
        "int8": "tinyint",
        "int16": "smallint",
        "int32": "int",
        "int64": "bigint",
        "bool": "boolean",
        "float": "float",
        "double": "double",
    }
    wider = {"uint8": "smallint", "uint16": "int", "uint32": "bigint", "uint64": "decimal(20,0)", "date32[day]": "date", "binary": "binary"}
    return "timestamp" if pat.is_timestamp(kind) else (names | wider).get(str(kind), "string")
