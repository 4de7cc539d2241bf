"""Names that become part of paths, identifiers and keys: tenant ids, slugs, and the one way to quote an identifier per dialect."""

from __future__ import annotations

import hashlib
import re
from typing import Literal, NewType

from lab_insights.errors import InvalidTenant

TenantId = NewType("TenantId", str)
Dialect = Literal["mysql", "postgresql", "snowflake", "duckdb"]

_TENANT = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,62}")


def tenant_id(text: str) -> TenantId:
    """Return `text` as a tenant id; raise `InvalidTenant` for what may not enter a path, a database name or a partition key."""
    if not _TENANT.fullmatch(text):
        raise InvalidTenant(
            f"{text[:80]!r} is not a tenant id.",
            remedy="use a lower-case letter followed by at most 62 lower-case letters, digits or underscores.",
        )
    return TenantId(text)


def slug(name: str) -> str:
    """Return `name` as a path segment: itself when plain, else a readable rest and a hash that keeps hostile names apart."""
    if _PLAIN.fullmatch(name):
        return name
    readable = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "x"
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def quoted(name: str, dialect: Dialect) -> str:
    """Return `name` as a quoted identifier of `dialect`; Snowflake identifiers are upper case, by policy."""
    if "\0" in name:
        raise ValueError("an identifier can not hold a NUL character")
    if dialect == "mysql":
        return "`" + name.replace("`", "``") + "`"
    if dialect == "snowflake":
        name = name.upper()
    return '"' + name.replace('"', '""') + '"'
