"""Checks of what a partition's live batches hold: keys that are unique, rows that are the tenant's own, a schema like the day before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from lab_insights.checks.verdicts import NO_CROSS_TENANT_ROW, SCHEMA_UNCHANGED, UNIQUE_GRAIN, Judgement, Subject
from lab_insights.extract.projection import TEXT_SUFFIX
from lab_insights.lake import duck
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import TableState, manifests, relation
from lab_insights.names import quoted

TENANT_COLUMN = "tenant_id"
# How far back the schema before this one is looked for.
LOOK_BACK = timedelta(days=31)


@dataclass(frozen=True)
class Grain:
    """What one scan of the key columns and of the tenant's column counts; `foreign` is None where the rows do not have that column."""

    rows: int
    keys: int
    foreign: int | None


def derived(lake: Lake, asset: str, batch: Manifest) -> list[Judgement]:
    """Judge one curated or transformed batch: its key tells its rows apart, and every row names this tenant."""
    counted = _count(lake, [batch], batch.key, (TENANT_COLUMN, batch.tenant)) if batch.rows else Grain(0, 0, 0)
    numbers = {"rows": counted.rows, "distinct_keys": counted.keys}
    doubled = f"{counted.rows} rows have {counted.keys} keys" if counted.rows > counted.keys else ""
    return [Judgement(_subject(UNIQUE_GRAIN, asset, batch), doubled, numbers), _own(asset, batch, counted)]


def landed(lake: Lake, asset: str, batches: Sequence[Manifest], discriminator: tuple[str, str] | None) -> list[Judgement]:
    """Judge a raw partition: its schema is that of the day before, and in a pooled table every row carries the tenant's `discriminator` (column, value)."""
    last = batches[-1]
    found = [_schema(lake, asset, last)]
    if discriminator:
        there = [batch for batch in batches if batch.rows]
        found.append(_own(asset, last, _count(lake, there, (), discriminator) if there else Grain(0, 0, 0)))
    return found


def _own(asset: str, batch: Manifest, counted: Grain) -> Judgement:
    of = _subject(NO_CROSS_TENANT_ROW, asset, batch)
    if counted.foreign is None:
        return Judgement(of, "the column that says whose each row is was not landed", {"rows": counted.rows})
    told = f"{counted.foreign} of {counted.rows} rows are not marked as this tenant's" if counted.foreign else ""
    return Judgement(of, told, {"rows": counted.rows, "foreign_rows": counted.foreign})


def _subject(check: str, asset: str, batch: Manifest, *, whole: bool = False) -> Subject:
    return Subject(check, asset, batch.tenant, batch.table, None if whole else batch.day)


def _schema(lake: Lake, asset: str, last: Manifest) -> Judgement:
    of = _subject(SCHEMA_UNCHANGED, asset, last, whole=True)
    before = _before(lake, last.partition)
    if before is None or before.arrow_schema == last.arrow_schema:
        return Judgement(of)
    old, new = map(_columns, (before, last))
    what = {
        "added": [name for name in new if name not in old],
        "dropped": [name for name in old if name not in new],
        "changed": [name for name, kind in new.items() if old.get(name, kind) != kind],
    }
    told = "; ".join(f"{verb} {', '.join(names)}" for verb, names in what.items() if names)
    if not told:  # the order of columns, or how they are described
        return Judgement(of)
    numbers: dict[str, int | str] = {name: len(names) for name, names in what.items()}
    numbers |= {"columns": len(new), "day": str(last.day), "before": str(before.day)}
    return Judgement(of, f"on {last.day} {told}", numbers)


def _columns(batch: Manifest) -> dict[str, str]:
    """Return the source's columns with their types: a day's misfits lie in a column beside theirs, which days without any do not have."""
    types = {field.name: str(field.type) for field in batch.schema_()}
    return {name: kind for name, kind in types.items() if not (name.endswith(TEXT_SUFFIX) and name.removesuffix(TEXT_SUFFIX) in types)}


def _before(lake: Lake, partition: Partition) -> Manifest | None:
    days = partition.day - LOOK_BACK, partition.day - timedelta(days=1)
    earlier = manifests(lake, "raw", partition.tenant, partition.table, *days)
    return earlier[-1] if earlier else None


def _count(lake: Lake, batches: Sequence[Manifest], key: Sequence[str], tenant: tuple[str, str]) -> Grain:
    """Count rows, distinct keys, and rows whose column (`tenant[0]`) is null or not the tenant's value (`tenant[1]`)."""
    import pyarrow as pa

    schema = TableState(tuple(batches)).schema
    column, value = tenant
    there = column in schema.names
    names = list(dict.fromkeys((*key, *([column] if there else []))))
    if not names:
        rows = sum(batch.rows for batch in batches)
        return Grain(rows, rows, None)
    wanted = pa.schema([schema.field(name) for name in names])
    keys = f"(SELECT COUNT(*) FROM (SELECT DISTINCT {', '.join(map(_quoted, key))} FROM batch))" if key else "COUNT(*)"
    foreign = f"COUNT(*) FILTER (CAST({_quoted(column)} AS VARCHAR) IS DISTINCT FROM ?)" if there else "NULL"
    with duck.over({"batch": relation(lake.storage, batches, wanted)}) as connection:
        row = connection.execute(f"SELECT COUNT(*), {keys}, {foreign} FROM batch", [value] if there else []).fetchone() or (0, 0, 0)
    return Grain(int(row[0]), int(row[1]), None if row[2] is None else int(row[2]))


def _quoted(name: str) -> str:
    return quoted(name, "duckdb")
