"""Sessions of the Snowflake stand-in for tests."""

from __future__ import annotations

from typing import Any

import snowflake.connector

from lab_insights.local.snowflake import LOGIN


class Session:
    """A connection whose statements return their rows."""

    def __init__(self, port: int) -> None:
        where: dict[str, Any] = {"host": "127.0.0.1", "port": port, "protocol": "http", "network_timeout": 4}
        self.connection = snowflake.connector.connect(account="fakesnow", **LOGIN, **where)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Return the rows of the last of `statements`."""
        rows: Any = []
        for statement in statements:
            rows = self.connection.cursor().execute(statement).fetchall()  # type: ignore[union-attr]
        return list(rows)
