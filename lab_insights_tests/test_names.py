"""Names that enter paths, identifiers and partition keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab_insights.errors import InvalidTenant
from lab_insights.names import Dialect, quoted, slug, tenant_id


@pytest.mark.parametrize("good", ["a", "aurora_clinic", "t12", "a" * 63])
def test_a_tenant_id_is_what_every_path_and_identifier_can_hold(good: str) -> None:
    assert tenant_id(good) == good


@pytest.mark.parametrize(
    "bad", ["", "../evil", "a|b", "A", "1a", "_a", "a-b", "a b", "a.b", "a/b", "a\n", "\na", "é", "a" * 64, "a\0", "tenant=x", "%2e"]
)
def test_anything_else_is_refused_with_a_remedy(bad: str) -> None:
    with pytest.raises(InvalidTenant, match="is not a tenant id") as raised:
        tenant_id(bad)
    assert "lower-case" in raised.value.remedy
    assert len(tenant_error := str(raised.value)) < 300, tenant_error


def test_a_refusal_does_not_repeat_a_name_without_end() -> None:
    with pytest.raises(InvalidTenant) as raised:
        tenant_id("x|" * 10_000)
    assert len(str(raised.value)) < 300


@given(st.text(max_size=80))
def test_a_slug_is_always_a_path_segment_and_its_own_slug_only_when_it_is_plain(name: str) -> None:
    found = slug(name)
    assert found
    assert not set(found) - set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert len(found) <= 63
    assert slug(found) == found or "-" in found


@given(st.text(max_size=12), st.text(max_size=12))
def test_two_names_never_share_a_slug(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "dialect", "expected"),
    [
        ("a`b", "mysql", "`a``b`"),
        ('a"b', "mysql", '`a"b`'),
        ('a"b', "postgresql", '"a""b"'),
        ("a`b", "duckdb", '"a`b"'),
        ('a"b', "snowflake", '"A""B"'),
        ("", "postgresql", '""'),
    ],
)
def test_an_identifier_is_quoted_as_its_dialect_says(name: str, dialect: Dialect, expected: str) -> None:
    assert quoted(name, dialect) == expected


def test_an_identifier_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quoted("a\0b", "mysql")
