"""Whether a source bears a name that contracts describe: then its tables are held to them."""

from __future__ import annotations

from lab_insights.discovery.look import Seen
from lab_insights.lab.contracts import contracts


def missing(seen: Seen) -> list[str]:
    """Return the tables that contracts expect of a source of this name and that it does not show, whatever prefix they may have."""
    held = [table for tables in seen.schemas.values() for table in tables]
    expected = sorted({contract.source.table for contract in contracts().values() if contract.source.name == seen.name})
    return [name for name in expected if not any(table == name or table.endswith(f"_{name}") for table in held)]
