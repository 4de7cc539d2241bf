"""The Glue Data Catalog: a table for each lake table with its columns, comments and PHI classes, and where its partitions lie.

Glue's readers (Athena, Spark) list what lies under a partition; readers of this lake follow manifests. So a partition's location is not the directory of
its parts: it is `live/` below it, with a list of the parts that its live manifests name, which Hive's symlink format reads. What is not guaranteed: between
two crawls the list is as old as the last one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from lab_insights.aws import Aws
from lab_insights.extract.catalog import SourceTable
from lab_insights.governance.classes import description, phi_class, strictest
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import LAYERS, Layer, Partition
from lab_insights.lake.state import Committed
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import manifests
from lab_insights.names import TenantId

if TYPE_CHECKING:
    import pyarrow as pa

_PARTITIONS = {"tenant": "string", "date": "date"}
_SERDE = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}
_LIVE = "lab_insights.live"
# What Glue takes in one request.
_CREATED, _DELETED = 100, 25
Columns = dict[str, dict[str, Any]]


def database(prefix: str, layer: str) -> str:
    """Return the Glue database of a layer."""
    return f"{prefix}_{layer}".replace("-", "_")


def table_name(identifier: str) -> str:
    """Return the Glue name of a lake table."""
    return identifier.replace(".", "_")


def register(aws: Aws, storage: Storage, tables: Iterable[SourceTable]) -> int:
    """Write a Glue table for each raw table that sources have, and return how many; columns of several tenants are united."""
    united: dict[str, Columns] = {}
    for table in tables:
        columns = united.setdefault(table.table_id, {})
        for column in table.columns:
            if column.name.lower() in _PARTITIONS:
                continue  # Athena reads no table in which a column is called as a partition key
            columns.setdefault(column.name.lower(), _column("raw", table.table_id, column.name, "string", column.type, column.comment))
    for identifier, columns in united.items():
        _put(aws, storage, "raw", identifier, columns)
    return len(united)


def register_lake(lake: Lake, tenants: Iterable[TenantId]) -> int:
    """Write a Glue table for each lake table of all layers, typed as its newest batches are, with its partitions.

    Returns how many partitions were new or had changed.
    """
    written, chosen = 0, list(tenants)
    aws, storage = lake.storage.aws, lake.storage
    for layer in LAYERS:
        held: dict[str, list[TenantId]] = {}
        for tenant in chosen:
            for table in lake.state.tables(layer, tenant):
                held.setdefault(table, []).append(tenant)
        for table, its in held.items():
            columns: Columns = {}
            for tenant in its:
                batches = lake.state.batches(layer, tenant, table)
                newest = batches[-1].partition.day
                for manifest in manifests(lake, layer, tenant, table, newest, newest):
                    _unite(columns, layer, table, manifest.schema_())
            _put(aws, storage, layer, table, columns, keep=True)
            for tenant in its:
                written += _register_partitions(lake, layer, tenant, table)
    return written


def held(aws: Aws, prefix: str, tenant: TenantId) -> int:
    """Return how many partitions a tenant has in all tables."""
    return sum(len(values) for _, _, values in _held(aws, prefix, tenant))


def forget(aws: Aws, prefix: str, tenant: TenantId) -> int:
    """Take a tenant's partitions from every table; return how many there were. Tables stay: other tenants have them too."""
    glue, count = aws.client("glue"), 0
    for name, table, there in _held(aws, prefix, tenant):
        for some in _cut(there, _DELETED):
            glue.batch_delete_partition(DatabaseName=name, TableName=table, PartitionsToDelete=[{"Values": values} for values in some])
        count += len(there)
    return count


def _held(aws: Aws, prefix: str, tenant: TenantId) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield every table with its database and the values of a tenant's partitions."""
    glue = aws.client("glue")
    for name in (database(prefix, layer) for layer in LAYERS):
        try:
            tables = [table["Name"] for page in glue.get_paginator("get_tables").paginate(DatabaseName=name) for table in page["TableList"]]
        except glue.exceptions.EntityNotFoundException:
            continue
        for table in tables:
            yield name, table, [partition["Values"] for partition in _partitions(glue, name, table, tenant)]


def columns_of(aws: Aws, prefix: str) -> Iterator[tuple[Layer, str, dict[str, Any]]]:
    """Yield layer, lake table and every column of the catalog, as Glue describes it."""
    glue = aws.client("glue")
    for layer in LAYERS:
        try:
            for page in glue.get_paginator("get_tables").paginate(DatabaseName=database(prefix, layer)):
                for table in page["TableList"]:
                    for column in table["StorageDescriptor"]["Columns"]:
                        yield layer, table["Parameters"].get("lab_insights.table", table["Name"]), column
        except glue.exceptions.EntityNotFoundException:
            continue


def _column(layer: Layer, table: str, name: str, kind: str, source_type: str, comment: str | None) -> dict[str, Any]:
    said = comment or description(layer, table, name)
    return {
        "Name": name.lower()[:255],
        "Type": kind,
        "Comment": f"{source_type[:180]}{f': {said}' if said else ''}"[:255],
        "Parameters": {"phi": phi_class(layer, table, name)},
    }


def _unite(columns: Columns, layer: Layer, table: str, schema: pa.Schema) -> None:
    for field in schema:
        name, kind = field.name.lower(), _hive(field.type)
        if name in _PARTITIONS:
            continue
        made = columns.setdefault(name, _column(layer, table, field.name, kind, str(field.type), None))
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


def _put(aws: Aws, storage: Storage, layer: Layer, identifier: str, columns: Columns, *, keep: bool = False) -> None:
    """Write a table. With `keep` what is there already and not in `columns` stays, and the comments of the source's own crawl win."""
    glue, name, lower = aws.client("glue"), database(storage.prefix, layer), table_name(identifier)
    if keep:
        try:
            there = glue.get_table(DatabaseName=name, Name=lower)["Table"]["StorageDescriptor"]["Columns"]
        except glue.exceptions.EntityNotFoundException:
            there = []
        for column in there:
            known = columns.get(column["Name"])
            columns[column["Name"]] = (
                {**column, "Type": known["Type"], "Parameters": known["Parameters"]} if known and layer == "raw" else known or column
            )
    table = {
        "Name": lower,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {
            "classification": "parquet",
            "lab_insights.table": identifier,
            "phi": strictest([column["Parameters"]["phi"] for column in columns.values() if "Parameters" in column]),
        },
        "PartitionKeys": [{"Name": key, "Type": kind} for key, kind in _PARTITIONS.items()],
        "StorageDescriptor": {"Columns": list(columns.values()), "Location": storage.uri(layer, ""), **_SERDE},
    }
    try:
        glue.create_table(DatabaseName=name, TableInput=table)
    except glue.exceptions.AlreadyExistsException:
        glue.update_table(DatabaseName=name, TableInput=table)


def _register_partitions(lake: Lake, layer: Layer, tenant: TenantId, table: str) -> int:
    """Bring a tenant's partitions of a table up to date; return how many were new or had other batches."""
    glue, name, lower = lake.storage.aws.client("glue"), database(lake.storage.prefix, layer), table_name(table)
    days: dict[str, list[Committed]] = {}
    for batch in lake.state.batches(layer, tenant, table):
        days.setdefault(str(batch.partition.day), []).append(batch)
    there = {each["Values"][1]: each.get("Parameters", {}).get(_LIVE) for each in _partitions(glue, name, lower, tenant)}
    new: list[dict[str, Any]] = []
    changed = 0
    for day, batches in days.items():
        live = hashlib.sha256(" ".join(batch.manifest for batch in batches).encode()).hexdigest()[:16]
        if there.get(day) == live:
            continue
        changed += 1
        partition = batches[0].partition
        described = {"Columns": [], "Location": lake.storage.uri(layer, _listed(lake, partition)), **_SERDE}
        values = {"Values": [tenant, day], "Parameters": {_LIVE: live}, "StorageDescriptor": described}
        if day in there:
            glue.update_partition(DatabaseName=name, TableName=lower, PartitionValueList=values["Values"], PartitionInput=values)
        else:
            new.append(values)
    for some in _cut(new, _CREATED):
        glue.batch_create_partition(DatabaseName=name, TableName=lower, PartitionInputList=some)
    return changed


def _listed(lake: Lake, partition: Partition) -> str:
    """Write the list of a partition's live parts and return the key of its directory."""
    directory = f"{partition.directory}/live/"
    day = partition.day
    parts = [
        part.key for manifest in manifests(lake, partition.layer, partition.tenant, partition.table, day, day) for part in manifest.parts
    ]
    lines = "".join(f"{lake.storage.uri(partition.layer, key)}\n" for key in dict.fromkeys(parts))
    lake.storage.put(partition.layer, f"{directory}parts.txt", lines.encode(), "text/plain")
    return directory


def _partitions(glue: Any, name: str, table: str, tenant: TenantId) -> Iterator[dict[str, Any]]:
    for page in glue.get_paginator("get_partitions").paginate(DatabaseName=name, TableName=table, Expression=f"tenant = '{tenant}'"):
        yield from page["Partitions"]


def _cut(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
