"""Whether a source bears a name that contracts describe: then its tables are held to them."""

from __future__ import annotations

from lab_insights.discovery.look import Seen
from lab_insights.lab.mappings import every


def missing(seen: Seen) -> list[str]:
    """Return the tables that contracts expect of a source of this name and that it does not show, whatever prefix they may have."""
    held = [table for tables in seen.schemas.values() for table in tables]
    expected = sorted({mapping.source.table for _, mapping in every() if mapping.source.name == seen.name})
    return [name for name in expected if not any(table == name or table.endswith(f"_{name}") for table in held)]
