"""A session of the Snowflake stand-in, in a database of each test's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from lab_insights_tests.local.sessions import Session


@pytest.fixture
def database() -> str:
    return f"T_{uuid.uuid4().hex[:8].upper()}"


@pytest.fixture
def port(snowflake_server: tuple[str, int]) -> int:
    return snowflake_server[1]


@pytest.fixture
def session(port: int, database: str) -> Iterator[Session]:
    """A session in a schema of its own, which is dropped in the end."""
    opened = Session(port)
    opened.run(f'CREATE DATABASE "{database}"', f'CREATE SCHEMA "{database}"."A"', f'USE SCHEMA "{database}"."A"')
    yield opened
    opened.connection.close()
    Session(port).run(f'DROP DATABASE "{database}"')
