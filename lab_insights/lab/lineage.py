"""Column lineage: which columns a column's values come from, through every layer.

Copies (raw of the source, Snowflake of the lake) are told by the contracts; what is computed is told by `lineage.json`, which `lab.tracing` derives from the
expressions and the SQL themselves, so that loading definitions needs neither Ibis nor sqlglot.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping as MappingOf
from pathlib import Path

from lab_insights.lab.contracts import Contract, directories
from lab_insights.lab.curate import BATCH, GONE, INGESTED, META, TENANT
from lab_insights.lab.mappings import COMPONENT, MADE, POSITION, Mapping, every
from lab_insights.lab.parsed import BODY, ID, UPDATED
from lab_insights.lab.transform import META_COLUMNS
from lab_insights.lab.wide import WIDE_TABLES

CACHE = Path(__file__).with_name("lineage.json")
Origin = tuple[str, str]
"""An asset's path, such as `curated/result`, and a column of it."""
Columns = MappingOf[str, tuple[Origin, ...]]
# Where the tables lie together that no contract describes.
UNDESCRIBED = "user_defined"


def lineage() -> dict[str, Columns]:
    """Return the origins of each column that has any, by asset; of the days of one asset they are the same.

    A deployment's own mappings tell which raw columns they read; what they add to curated columns is not told.
    """
    return _lineage(directories())


@functools.cache
def _lineage(_: tuple[Path, ...]) -> dict[str, Columns]:
    computed = json.loads(CACHE.read_text())
    found: dict[str, Columns] = {
        asset: {column: tuple((of, name) for of, name in origins) for column, origins in columns.items()}
        for asset, columns in computed.items()
    }
    landed: dict[str, dict[str, tuple[Origin, ...]]] = {}
    for contract, mapping in every():
        landed.setdefault(raw_asset(mapping), {}).update(_copied(source_asset(mapping), source_columns(contract, mapping)))
        columns = [*(column.name for column in contract.columns), *META]
        found[f"snowflake/{contract.table}"] = _copied(f"curated/{contract.table}", columns)
    found |= landed
    for wide in WIDE_TABLES:
        found[f"snowflake/{wide.table}"] = _copied(f"transformed/{wide.table}", [*(field.name for field in wide.fields), *META_COLUMNS])
    return found


def at_source(asset: str, column: str) -> tuple[Origin, ...]:
    """Return the columns of the sources that a column's values come from in the end; none where it is counted or stamped by us."""
    return _at_source(directories(), asset, column)


@functools.cache
def _at_source(of: tuple[Path, ...], asset: str, column: str) -> tuple[Origin, ...]:
    origins = _lineage(of).get(asset, {}).get(column)
    if origins is None and asset == f"snowflake/{UNDESCRIBED}":  # `source.table.column`, copied as it is
        source, _, rest = column.partition(".")
        return ((f"sources/{source}/{UNDESCRIBED}", rest),)
    if origins is None:
        return ((asset, column),) if asset.startswith("sources/") else ()
    return tuple(dict.fromkeys(found for origin in origins for found in _at_source(of, *origin)))


def source_asset(mapping: Mapping) -> str:
    """Return the asset of the table that a mapping reads."""
    return f"sources/{mapping.source.name}/{mapping.source.table}"


def raw_asset(mapping: Mapping) -> str:
    """Return the raw asset that a mapping reads."""
    return f"raw/{mapping.source.name}/{mapping.source.table}"


def source_columns(contract: Contract, mapping: Mapping) -> list[str]:
    """Return the source columns that a mapping reads values from, in order; records are read out of the store's messages."""
    if mapping.source.records:
        return [ID, BODY, UPDATED]
    split = mapping.split
    read = [name for column in mapping.read(contract) for name in column.reads]
    # What a split makes is read from the packed columns and from the one that names the test.
    made = [split.test] if split and {COMPONENT, POSITION} & set(read) else []
    # Slot columns are told by their patterns: which of them a table has is its customer's doing.
    slots = mapping.slots.columns if mapping.slots else ()
    return [name for name in dict.fromkeys([*read, *made, *slots]) if name not in {*MADE, BATCH, INGESTED, TENANT, GONE}]


def _copied(upstream: str, columns: list[str]) -> dict[str, tuple[Origin, ...]]:
    return {column: ((upstream, column),) for column in dict.fromkeys(columns)}
