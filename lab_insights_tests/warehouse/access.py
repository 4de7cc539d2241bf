"""A table of the shape of Snowflake's ACCESS_HISTORY where the stand-in has no such view."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lab_insights.warehouse.session import Session

Query = tuple[str, str, str, list[dict[str, Any]]]
"""Its id, its instant, its user, and the base objects that it read."""


def read(name: str, domain: str = "Table", *columns: str) -> dict[str, Any]:
    """Return an object as ACCESS_HISTORY lists it; a function or a stage has no columns."""
    has = {"columns": [{"columnId": number, "columnName": column} for number, column in enumerate(columns)]} if columns else {}
    return {"objectDomain": domain, "objectId": 7, "objectName": name, **has}


@contextmanager
def history(session: Session, queries: Sequence[Query]) -> Iterator[None]:
    """Let the account have had these queries, and no database SNOWFLAKE afterwards."""
    session.execute("CREATE DATABASE SNOWFLAKE")
    try:
        session.execute("CREATE SCHEMA SNOWFLAKE.ACCOUNT_USAGE")
        session.execute("USE SCHEMA SNOWFLAKE.ACCOUNT_USAGE")
        session.execute(
            "CREATE TABLE ACCESS_HISTORY (QUERY_ID VARCHAR, QUERY_START_TIME TIMESTAMP_LTZ, USER_NAME VARCHAR, BASE_OBJECTS_ACCESSED VARIANT)"
        )
        for identity, at, user, objects in queries:
            session.execute(
                "INSERT INTO ACCESS_HISTORY SELECT ?, CAST(? AS TIMESTAMP_LTZ), ?, PARSE_JSON(?)", identity, at, user, json.dumps(objects)
            )
        yield
    finally:
        session.execute("DROP DATABASE SNOWFLAKE")
