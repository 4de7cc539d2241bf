"""Tenants that a server could take for one another, by how it compares names and numbers, are refused before they are registered."""

from __future__ import annotations

from typing import Any

import pytest

from lab_insights.config import Source
from lab_insights.errors import ConfigError
from lab_insights.extract.apart import refuse_together
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant

COLUMN = {"discriminator": {"schema": "pool", "column": "org", "value": "{key}"}}
PREFIX = {"prefix": {"schema": "pool", "prefix": "{key}_"}}
SCHEMA = {"schema": {"schema": "lab_{key}"}}


@pytest.mark.parametrize(
    ("engine", "tenancy", "first", "second", "alike"),
    [
        ("mysql", COLUMN, "7", "007", True),
        ("postgresql", COLUMN, "7", "007", True),
        ("mysql", COLUMN, "ab", "AB", False),  # rows are compared by their bytes
        ("mysql", PREFIX, "ab", "AB", True),
        ("postgresql", PREFIX, "ab", "AB", False),
        ("mysql", SCHEMA, "ab", "AB", True),
        ("postgresql", SCHEMA, "ab", "AB", False),
        ("mysql", COLUMN, "7", "70", False),
    ],
)
def test_a_tenant_that_the_server_may_take_for_another_is_refused(
    engine: str, tenancy: dict[str, Any], first: str, second: str, alike: bool
) -> None:
    sources = {"lis": Source.model_validate({"engine": engine, "url": "env:NONE", "tenancy": tenancy})}
    registered, new = Tenant(id=TenantId("first"), key=first), Tenant(id=TenantId("second"), key=second)
    if not alike:
        refuse_together(sources, [registered], [new])
        return
    with pytest.raises(ConfigError, match="would have the rows of first") as refused:
        refuse_together(sources, [registered], [new])
    assert refused.value.tenant == "second"
