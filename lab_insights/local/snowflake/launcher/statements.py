"""Statements that fakesnow does not know: those that are only recorded, `SWAP WITH` and `DROP DATABASE`."""

from __future__ import annotations

import re
from typing import Any

import duckdb
from snowflake.connector.errors import ProgrammingError

from .engine import Engine

ACCEPTED = "SELECT 'Statement executed successfully.' AS \"status\""
_OBJECT = (
    r"(?:(?:ACCOUNT|DATABASE)\s+)?ROLE|USER|WAREHOUSE|RESOURCE\s+MONITOR|TAG|SHARE"
    r"|(?:MASKING|ROW\s+ACCESS|NETWORK|SESSION|PASSWORD)\s+POLICY|(?:STORAGE|NOTIFICATION|SECURITY)\s+INTEGRATION"
)
_KINDS = [
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"(GRANT|REVOKE)\b",
        rf"(CREATE|ALTER|DROP)(?:\s+OR\s+(?:REPLACE|ALTER))?\s+({_OBJECT})\b",
        r"(USE)\s+(ROLE|WAREHOUSE|SECONDARY\s+ROLES)\b",
        r"(ALTER\s+SESSION)\s+((?:UN)?SET)\s+(?!AUTOCOMMIT)",
        r"(ALTER\s+(?:TABLE|VIEW|SCHEMA|DATABASE))\s.*?\b((?:UN)?SET\s+(?:TAG|MASKING\s+POLICY)|(?:ADD|DROP)\s+ROW\s+ACCESS\s+POLICY)\b",
    )
]
_COMMENTS = re.compile(r"\A(?:\s|--[^\n]*\n|/\*.*?\*/)*", re.DOTALL)
_NAME = r'((?:"(?:[^"]|"")+"|[\w$]+)(?:\.(?:"(?:[^"]|"")+"|[\w$]+))*)'
_SWAP = re.compile(rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?{_NAME}\s+SWAP\s+WITH\s+{_NAME}\s*;?\s*", re.IGNORECASE)
_DROP_DATABASE = re.compile(rf"DROP\s+DATABASE\s+(IF\s+EXISTS\s+)?{_NAME}(?:\s+(?:CASCADE|RESTRICT))?\s*;?\s*", re.IGNORECASE)
# inside a column's definition: its masking policy and its tags; after all columns: the policy of rows
_INLINE = re.compile(
    rf"\s(?:WITH\s+)?(?:MASKING\s+POLICY\s+{_NAME}(?:\s+USING\s*\([^)]*\))?|TAG\s*\((?:[^()']|'(?:[^']|'')*')*\)"
    rf"|ROW\s+ACCESS\s+POLICY\s+{_NAME}\s+ON\s*\([^)]*\))",
    re.IGNORECASE,
)
# what is left of a `CREATE TABLE … AS SELECT` that defines its columns
_DEFINED = re.compile(
    rf"\A(CREATE\b[^(]*?\bTABLE\s+{_NAME})\s*\((?:[^()]|\([^()]*\))*\)((?:\s+COPY\s+GRANTS)?\s+AS\s+SELECT\b)", re.IGNORECASE
)


def without_comments(sql: str) -> str:
    """Return `sql` without the comments before its first word."""
    return _COMMENTS.sub("", sql, count=1)


def answered(sql: str) -> str | None:
    """Return a query of what Snowflake answers to a call of one of its own functions; None for any other statement."""
    # no client is known to be too old
    return "SELECT '[]'" if re.fullmatch(r"SELECT\s+SYSTEM\$CLIENT_VERSION_INFO\(\)\s*;?\s*", sql, re.IGNORECASE) else None


def recorded_kind(sql: str) -> str | None:
    """Return the kind, such as `GRANT` or `CREATE ROLE`, of a statement that is only recorded; None for any other."""
    for pattern in _KINDS:
        if found := pattern.match(sql):
            return " ".join(" ".join(found.groups()).upper().split())
    return None


def without_policies(sql: str) -> str:
    """Return a `CREATE` or `ALTER TABLE` without the masking policies and tags in its column definitions.

    Definitions that a SELECT follows go as a whole: DuckDB takes the types from there.
    """
    if re.match(r"(?:CREATE|ALTER)\b", sql, re.IGNORECASE) and (plain := _INLINE.sub("", sql)) != sql:
        return _DEFINED.sub(r"\1\3", plain)
    return sql


def drop_database(sql: str, engine: Engine) -> bool:
    """Carry out a `DROP DATABASE …` and return True; return False for any other statement."""
    found = _DROP_DATABASE.fullmatch(sql)
    if not found:
        return False
    try:
        engine.drop_database(identifiers(found[2])[0])
    except duckdb.BinderException:
        if not found[1]:
            raise
    return True


def swap(sql: str, connection: Any) -> bool:
    """Carry out an `ALTER TABLE … SWAP WITH …` and return True; return False for any other statement."""
    found = _SWAP.fullmatch(sql)
    if not found:
        return False
    *place, table = _parts(found[1], connection)
    *other_place, other = _parts(found[2], connection)
    if place != other_place:
        raise ProgrammingError(msg="the stand-in swaps tables of one schema only", errno=603, sqlstate="XX000")
    duck = connection._duck_conn
    duck.begin()
    try:
        for old, new in ((table, "_swapping"), (other, table), ("_swapping", other)):
            duck.execute(f"ALTER TABLE {'.'.join(map(quoted, [*place, old]))} RENAME TO {quoted(new)}")
    except Exception:
        duck.rollback()
        raise
    duck.commit()
    return True


def _parts(name: str, connection: Any) -> list[str]:
    own = identifiers(name)
    return [connection.database, connection.schema][: 3 - len(own)] + own


def identifiers(name: str) -> list[str]:
    """Return the parts of a dotted name as they are stored: what is not quoted, in upper case."""
    parts = re.findall(r'"(?:[^"]|"")+"|[\w$]+', name)
    return [part[1:-1].replace('""', '"') if part[0] == '"' else part.upper() for part in parts]


def quoted(name: str) -> str:
    """Return a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'
