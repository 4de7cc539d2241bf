"""What things are called in a tenant's database: quoted, upper case, and no two names of the lake become one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from lab_insights.lake.layout import Layer
from lab_insights.names import TenantId, quoted

LIVE = "_LIVE"
# The schema of de-identified rows with their versions; the views over it are in DEIDENTIFIED.
STORE = "PSEUDONYMOUS"
# What columns of ours beside a column are called. While it is widened: its values as they were, and as they will be; while it is renamed: its values
# that the new column lacks. For ever: what was left of a renamed column, and the values that its type can not hold.
NARROW, WIDER, RENAMED, FORMER, VARIANT = ":NARROW", ":WIDER", ":RENAMED", ":FORMER", ":VARCHAR"
PASSING = (NARROW, WIDER, RENAMED, FORMER)


def database(tenant: TenantId) -> str:
    """Return the name of the tenant's database, not quoted."""
    return f"LAB_INSIGHTS_{tenant.upper()}"


def table_name(table: str) -> str:
    """Return the name of a lake table in its schema. `x_live` becomes `X_LIVE_`, since `X_LIVE` is the view of `x`."""
    name = table.upper()
    return f"{name}_" if re.search(rf"{LIVE}_*$", name) else name


def relation(schema: str, name: str) -> str:
    """Return a quoted, schema-qualified name."""
    return f"{identifier(schema)}.{identifier(name)}"


def table(layer: Layer, name: str) -> str:
    """Return the quoted, schema-qualified name of a lake table."""
    return relation(layer, table_name(name))


def live_view(layer: Layer, name: str) -> str:
    """Return the quoted, schema-qualified name of the view that hides a table's tombstones."""
    return relation(layer, table_name(name) + LIVE)


def stage(layer: Layer) -> str:
    """Return the external stage on a layer's bucket."""
    return f"OPS.{layer.upper()}_LAKE"


def identifier(name: str) -> str:
    """Return a quoted identifier."""
    return quoted(name, "snowflake")


def column_names(names: Iterable[str]) -> dict[str, str]:
    """Return the Snowflake name of each column.

    Of names that differ only by case one keeps the plain name, the others carry a hash of theirs.
    """
    given = list(names)
    found: dict[str, str] = {}
    taken: set[str] = set()
    # the lower-case spelling first, then by code point: the same columns always get the same names, in whatever order
    # they come
    for name in sorted(given, key=lambda name: (name != name.lower(), name)):
        plain = name.upper()
        ours = plain in taken or plain.endswith((*PASSING, VARIANT))
        found[name] = f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}" if ours else plain
        taken.add(found[name])
    return {name: found[name] for name in given}
