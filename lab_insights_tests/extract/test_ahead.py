"""Rows whose cursor lies far ahead are counted, of one tenant, on both servers."""

from __future__ import annotations

import uuid

import pytest

from lab_insights.aws import Aws
from lab_insights.extract.ahead import ahead
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import instant

KINDS = {"mysql": ("DATETIME(6)", "TIMESTAMP(6)"), "postgresql": ("TIMESTAMP", "TIMESTAMPTZ")}
FAR = {"mysql": "2037-12-31", "postgresql": "infinity"}


@pytest.mark.parametrize("zoned", [0, 1])
def test_what_lies_more_than_a_day_ahead_is_counted(server: Server, zoned: int) -> None:
    name = f"ahead_{uuid.uuid4().hex[:8]}"
    server.execute(
        f"CREATE TABLE {{s}}.{name} (id INT PRIMARY KEY, whose VARCHAR(9), updated_at {KINDS[server.engine][zoned]} NOT NULL)",
        f"INSERT INTO {{s}}.{name} VALUES (1, '12', '2026-03-01 12:00:00'), (2, '12', '2026-03-02 12:00:00'), (3, '12', '2026-03-02 12:00:01'), "
        f"(4, '12', '{FAR[server.engine]}'), (5, '13', '{FAR[server.engine]}')",
    )
    source, now = server.source(), instant(1, 12)
    assert ahead(server.table(name), "updated_at", source, Aws(), now) == 3
    tenancy = {"discriminator": {"schema": server.schema, "column": "whose", "value": "{key}"}}
    assert ahead(server.table(name, tenancy=tenancy), "updated_at", source, Aws(), now) == 2
    server.execute(f"DROP TABLE {{s}}.{name}")
