"""Column lineage: which columns a column's values come from, through every layer.

Copies (raw of the source, Snowflake of the lake) are told by the contracts; what is computed is told by `lineage.json`, which `lab.tracing` derives from the
expressions and the SQL themselves, so that loading definitions needs neither Ibis nor sqlglot.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

from lab_insights.lab.contracts import Contract, contracts
from lab_insights.lab.curate import META
from lab_insights.lab.parsed import BODY, ID, UPDATED
from lab_insights.lab.transform import META_COLUMNS
from lab_insights.lab.wide import WIDE_TABLES

CACHE = Path(__file__).with_name("lineage.json")
Origin = tuple[str, str]
"""An asset's path, such as `curated/result`, and a column of it."""
Columns = Mapping[str, tuple[Origin, ...]]
# Where the tables lie together that no contract describes.
UNDESCRIBED = "user_defined"


@functools.cache
def lineage() -> dict[str, Columns]:
    """Return the origins of each column that has any, by asset; of the days of one asset they are the same."""
    computed = json.loads(CACHE.read_text())
    found: dict[str, Columns] = {
        asset: {column: tuple((of, name) for of, name in origins) for column, origins in columns.items()}
        for asset, columns in computed.items()
    }
    landed: dict[str, dict[str, tuple[Origin, ...]]] = {}
    for contract in contracts().values():
        landed.setdefault(raw_asset(contract), {}).update(_copied(source_asset(contract), source_columns(contract)))
        columns = [*(column.name for column in contract.columns), *META]
        found[f"snowflake/{contract.table}"] = _copied(f"curated/{contract.table}", columns)
    found |= landed
    for wide in WIDE_TABLES:
        found[f"snowflake/{wide.table}"] = _copied(f"transformed/{wide.table}", [*(field.name for field in wide.fields), *META_COLUMNS])
    return found


@functools.cache
def at_source(asset: str, column: str) -> tuple[Origin, ...]:
    """Return the columns of the sources that a column's values come from in the end; none where it is counted or stamped by us."""
    origins = lineage().get(asset, {}).get(column)
    if origins is None and asset == f"snowflake/{UNDESCRIBED}":  # `source.table.column`, copied as it is
        source, _, rest = column.partition(".")
        return ((f"sources/{source}/{UNDESCRIBED}", rest),)
    if origins is None:
        return ((asset, column),) if asset.startswith("sources/") else ()
    return tuple(dict.fromkeys(found for origin in origins for found in at_source(*origin)))


def source_asset(contract: Contract) -> str:
    """Return the asset of the table that a contract reads."""
    return f"sources/{contract.source.name}/{contract.source.table}"


def raw_asset(contract: Contract) -> str:
    """Return the raw asset that a contract reads."""
    return f"raw/{contract.source.name}/{contract.source.table}"


def source_columns(contract: Contract) -> list[str]:
    """Return the source columns that a contract reads, in order; records are read out of the store's messages."""
    if contract.source.records:
        return [ID, BODY, UPDATED]
    return list(dict.fromkeys(column.source for column in contract.columns))


def _copied(upstream: str, columns: list[str]) -> dict[str, tuple[Origin, ...]]:
    return {column: ((upstream, column),) for column in dict.fromkeys(columns)}
