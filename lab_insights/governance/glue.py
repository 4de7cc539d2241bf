"""The Glue Data Catalog: a table for each lake table with its columns, comments and PHI classes, and where its partitions lie.

Glue's readers (Athena, Spark) list what lies under a partition; readers of this lake follow manifests. So a partition's location is not the directory of
its parts: it is `live/` below it, with a list of the parts that its live manifests name, which Hive's symlink format reads. What is not guaranteed: between
two crawls the list is as old as the last one.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from lab_insights.aws import Aws
from lab_insights.extract.catalog import SourceTable
from lab_insights.governance.classes import strictest
from lab_insights.governance.hive import PARTITIONS, Columns, about, column, unite
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.layout import LAYERS, Layer, Partition
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import manifests
from lab_insights.names import TenantId

_SERDE = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}
_LIVE = "lab_insights.live"
# What Glue takes in one request.
_CREATED, _DELETED = 100, 25
# The layers that people of a tenant are shown, in databases of the tenant's own.
SHOWN: tuple[Layer, ...] = ("curated", "transformed")


def database(prefix: str, layer: str, tenant: TenantId | None = None) -> str:
    """Return the Glue database of a layer, all tenants together, or of a tenant's own."""
    return f"{prefix}_{layer}".replace("-", "_") + (f"__{tenant}" if tenant else "")


def table_name(identifier: str) -> str:
    """Return the Glue name of a lake table."""
    return identifier.replace(".", "_")


def register(aws: Aws, storage: Storage, tables: Iterable[SourceTable]) -> int:
    """Write a Glue table for each raw table that sources have, and return how many; columns of several tenants are united."""
    united: dict[str, Columns] = {}
    held: dict[str, list[SourceTable]] = {}
    for table in tables:
        columns = united.setdefault(table.table_id, {})
        held.setdefault(table.table_id, []).append(table)
        for each in table.columns:
            if each.name.lower() in PARTITIONS:
                continue  # Athena reads no table in which a column is called as a partition key
            its = column("raw", table.table_id, each.name, "string", each.type, each.comment, storage.phi)
            columns.setdefault(each.name.lower(), its)
    for identifier, columns in united.items():
        _put(aws, storage, "raw", identifier, columns, about(held[identifier]))
    return len(united)


def register_lake(lake: Lake, tenants: Iterable[TenantId]) -> int:
    """Write a Glue table for each lake table of all layers, typed as its newest batches are, with its partitions.

    Returns how many partitions were new or had changed.
    """
    written, chosen = 0, list(tenants)
    aws, storage = lake.storage.aws, lake.storage
    for tenant in chosen:
        establish(aws, storage.prefix, tenant)
    for layer in LAYERS:
        held: dict[str, list[TenantId]] = {}
        for tenant in chosen:
            for table in lake.state.tables(layer, tenant):
                held.setdefault(table, []).append(tenant)
        for table, its in held.items():
            columns: Columns = {}
            for tenant in its:
                own: Columns = {}
                batches = lake.state.batches(layer, tenant, table)
                newest = batches[-1].partition.day
                for manifest in manifests(lake, layer, tenant, table, newest, newest):
                    for of in (columns, own):
                        unite(of, layer, table, manifest.schema_(), storage.phi)
                _put_own(lake, layer, table, own, tenant)
            _put(aws, storage, layer, table, columns)
            written += sum(_register_partitions(lake, layer, tenant, table) for tenant in its)
    return written


def _put_own(lake: Lake, layer: Layer, table: str, columns: Columns, tenant: TenantId) -> None:
    """Write a tenant's own table with its partitions: without other tenants' rows, and without columns that only they have."""
    if layer in SHOWN:
        _put(lake.storage.aws, lake.storage, layer, table, columns, tenant=tenant)
        _register_partitions(lake, layer, tenant, table, own=True)


def establish(aws: Aws, prefix: str, tenant: TenantId) -> None:
    """Make a tenant's own databases, one for each layer that its people are shown; they may be there."""
    glue = aws.client("glue")
    for layer in SHOWN:
        name, said = database(prefix, layer, tenant), f"The {layer} layer of {tenant}, for its own people."
        with contextlib.suppress(glue.exceptions.AlreadyExistsException):
            glue.create_database(DatabaseInput={"Name": name, "Description": said})


def own_columns(aws: Aws, prefix: str, tenant: TenantId) -> dict[tuple[Layer, str], dict[str, str]]:
    """Return the columns of each table of a tenant's own databases, by layer and Glue name, each with its PHI class."""
    glue = aws.client("glue")
    found: dict[tuple[Layer, str], dict[str, str]] = {}
    for layer in SHOWN:
        for page in glue.get_paginator("get_tables").paginate(DatabaseName=database(prefix, layer, tenant)):
            for table in page["TableList"]:
                columns = table["StorageDescriptor"]["Columns"]
                found[layer, table["Name"]] = {each["Name"]: each.get("Parameters", {}).get("phi", "unclassified") for each in columns}
    return found


def held(aws: Aws, prefix: str, tenant: TenantId) -> tuple[int, int]:
    """Return how many partitions a tenant has in all tables, and how many databases of its own."""
    names = {each["Name"] for page in aws.client("glue").get_paginator("get_databases").paginate() for each in page["DatabaseList"]}
    return sum(len(values) for _, _, values in _held(aws, prefix, tenant)), len(
        names & {database(prefix, layer, tenant) for layer in SHOWN}
    )


def forget(aws: Aws, prefix: str, tenant: TenantId) -> int:
    """Take a tenant's partitions from every table, and its own databases; return how many partitions there were. Tables stay: others have them too."""
    glue, count = aws.client("glue"), 0
    for name, table, there in _held(aws, prefix, tenant):
        for some in _cut(there, _DELETED):
            glue.batch_delete_partition(DatabaseName=name, TableName=table, PartitionsToDelete=[{"Values": values} for values in some])
        count += len(there)
    for layer in SHOWN:
        with contextlib.suppress(glue.exceptions.EntityNotFoundException):
            glue.delete_database(Name=database(prefix, layer, tenant))
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


def _put(
    aws: Aws,
    storage: Storage,
    layer: Layer,
    identifier: str,
    columns: Columns,
    said: dict[str, Any] | None = None,
    *,
    tenant: TenantId | None = None,
) -> None:
    """Write a table. Without what a source has `said` of it, what is there and not in `columns` stays, and what the source's own crawl said of it wins."""
    glue, name, lower = aws.client("glue"), database(storage.prefix, layer, tenant), table_name(identifier)
    keys = {key: kind for key, kind in PARTITIONS.items() if key != "tenant" or tenant is None}
    if said is None:
        try:
            there = glue.get_table(DatabaseName=name, Name=lower)["Table"]
        except glue.exceptions.EntityNotFoundException:
            there = {"StorageDescriptor": {"Columns": []}}
        said = {field: there[field] for field in ("Description", "Parameters") if there.get(field)}
        for each in there["StorageDescriptor"]["Columns"]:
            known = columns.get(each["Name"])
            columns[each["Name"]] = (
                {**each, "Type": known["Type"], "Parameters": known["Parameters"]} if known and layer == "raw" else known or each
            )
    table = {
        **said,
        "Name": lower,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {
            **said.get("Parameters", {}),
            "classification": "parquet",
            "lab_insights.table": identifier,
            "phi": strictest([each["Parameters"]["phi"] for each in columns.values() if "Parameters" in each]),
        },
        "PartitionKeys": [{"Name": key, "Type": kind} for key, kind in keys.items()],
        "StorageDescriptor": {"Columns": list(columns.values()), "Location": storage.uri(layer, ""), **_SERDE},
    }
    try:
        glue.create_table(DatabaseName=name, TableInput=table)
    except glue.exceptions.AlreadyExistsException:
        glue.update_table(DatabaseName=name, TableInput=table)


def _register_partitions(lake: Lake, layer: Layer, tenant: TenantId, table: str, *, own: bool = False) -> int:
    """Bring a tenant's partitions of a table (or of its own one) up to date; return how many were new or had other batches."""
    glue, lower = lake.storage.aws.client("glue"), table_name(table)
    name = database(lake.storage.prefix, layer, tenant if own else None)
    days: dict[str, list[Committed]] = {}
    for batch in lake.state.batches(layer, tenant, table):
        days.setdefault(str(batch.partition.day), []).append(batch)
    known = _partitions(glue, name, lower, None if own else tenant)
    there = {each["Values"][-1]: each.get("Parameters", {}).get(_LIVE) for each in known}
    new: list[dict[str, Any]] = []
    changed = 0
    for day, batches in days.items():
        live = hashlib.sha256(" ".join(batch.manifest for batch in batches).encode()).hexdigest()[:16]
        if there.get(day) == live:
            continue
        changed += 1
        partition = batches[0].partition
        described = {"Columns": [], "Location": lake.storage.uri(layer, _listed(lake, partition)), **_SERDE}
        values = {"Values": [day] if own else [tenant, day], "Parameters": {_LIVE: live}, "StorageDescriptor": described}
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


def _partitions(glue: Any, name: str, table: str, tenant: TenantId | None) -> Iterator[dict[str, Any]]:
    of = {"Expression": f"tenant = '{tenant}'"} if tenant else {}
    for page in glue.get_paginator("get_partitions").paginate(DatabaseName=name, TableName=table, **of):
        yield from page["Partitions"]


def _cut(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
