"""`sources`: where the data is, how tenants are told apart in it, and what may be asked of it."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from datetime import time
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lab_insights.config.parts import Reference, Section, Zone

Engine = Literal["mysql", "postgresql", "dynamodb"]
Layout = Literal["schema", "prefix", "discriminator"]


def _template(text: str) -> str:
    try:
        text.format(tenant="t", key="k")
    except (KeyError, IndexError, ValueError, AttributeError):
        raise ValueError("only `{tenant}` and `{key}` are replaced; write other braces twice") from None
    return text


def _apart(prefix: str) -> str:
    if not re.fullmatch(r"[^{}]*\{key\}[^A-Za-z0-9{}][^{}]*", prefix):
        raise ValueError("a prefix needs `{key}` and then a sign that no key has, such as `t{key}_`, or t1 would begin t12's tables")
    return prefix


Template = Annotated[str, AfterValidator(_template)]


class SchemaTenancy(Section):
    """A schema of its own for each tenant; `{tenant}` and `{key}` are replaced."""

    schema_name: Template = Field(alias="schema")
    """Template of the schema's name, such as `lab_{key}`."""


class PrefixTenancy(SchemaTenancy):
    """One schema, tables of a tenant start with `prefix`."""

    prefix: Annotated[str, AfterValidator(_apart)]
    """Template of the prefix, such as `t{key}_`."""


class DiscriminatorTenancy(Section):
    """Pooled tables; the rows of a tenant have `value` in `column` (text or integer; of DynamoDB either). DynamoDB has no schema."""

    schema_name: Template = Field("", alias="schema")
    """The schema of the pooled tables."""
    column: str
    """The column that tells the tenant."""
    value: Template
    """Template of a tenant's value, such as `{key}`."""


class Tenancy(Section):
    """The layouts that a source offers; a tenant's registry entry names its own where there are several."""

    by_schema: SchemaTenancy | None = Field(None, alias="schema")
    """A schema for each tenant."""
    by_prefix: PrefixTenancy | None = Field(None, alias="prefix")
    """A prefix of table names for each tenant."""
    by_discriminator: DiscriminatorTenancy | None = Field(None, alias="discriminator")
    """A column that tells the tenant."""

    def offered(self) -> dict[Layout, SchemaTenancy | DiscriminatorTenancy]:
        """Return the layouts that are configured, by name."""
        every: dict[Layout, SchemaTenancy | DiscriminatorTenancy | None] = {
            "schema": self.by_schema,
            "prefix": self.by_prefix,
            "discriminator": self.by_discriminator,
        }
        return {name: rule for name, rule in every.items() if rule is not None}

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if not self.offered():
            raise ValueError("say `schema:`, `prefix:` or `discriminator:`")
        return self


def _hours(text: str) -> str:
    start, end = (time.fromisoformat(each) for each in text.split("-"))
    if start == end:
        raise ValueError("hours that begin when they end are none; leave the key out to allow all")
    return text


class Limits(Section):
    """Kindness to the source: how much it is asked at once, for how long (seconds), and when.

    `hours`, such as `22:00-06:00`, are those of `zone` in which tables may be read; none means always.
    """

    connections: int = Field(4, ge=1, le=64)
    """Readers at once, in one process."""
    statement_timeout: int = Field(3600, ge=1)
    """Seconds that one statement may take."""
    lock_timeout: int = Field(5, ge=1)
    """Seconds that a statement waits for a lock."""
    transaction_timeout: int = Field(7200, ge=1, description="Seconds that one read may hold its snapshot open.")
    hours: Annotated[str, Field(pattern=r"^\d\d:\d\d-\d\d:\d\d$"), AfterValidator(_hours)] | None = None
    """When tables may be read, such as `22:00-06:00`; left out, always."""
    zone: Zone = "UTC"
    """IANA time zone of `hours`."""
    lag: int = Field(300, ge=0, description="Seconds kept back where open transactions can not be seen.")
    batch_rows: int = Field(65_536, ge=1)
    """Rows that are held in memory at once."""
    proof: Literal["counts", "sums"] = Field("sums", description="What the source computes of each read, to compare with what arrived.")


class Override(Section):
    """What a person declares about one table; it wins over what the planner finds, and is shown as such."""

    load: Literal["full", "incremental"] | None = None
    """Load it whole each time, or by its cursor."""
    cursor: str | None = None
    """Column that says when a row changed last."""
    key: tuple[str, ...] | None = None
    """Columns that identify a row."""
    engine: Literal["arrow", "spark"] | None = None
    """Who reads it."""
    ranges: int | None = Field(default=None, ge=1, le=64, description="Key ranges read at once, each by a reader of its own.")


def logical(physical: str) -> str:
    """Return the name in the lake of a DynamoDB table: a deployment's prefix is no part of it, what follows the last `-` is."""
    return physical.rpartition("-")[2]


def namesakes(tables: Iterable[str]) -> str | None:
    """Return what is wrong with DynamoDB tables of which two would be one in the lake, or None."""
    known: dict[str, str] = {}
    for physical in tables:
        name = logical(physical)
        if name in known:
            return f"the tables {known[name]} and {physical} would both be {name} in the lake"
        known[name] = physical
    return None


class Source(Section):
    """One source system; table names in `include`, `exclude` and `user_defined` are patterns such as `udt_*`."""

    engine: Engine
    """What kind of server it is."""
    url: Reference | None = None
    """SQLAlchemy URL; not for DynamoDB."""
    tenancy: Tenancy
    """How tenants are told apart; several layouts where tenants differ."""
    tables: tuple[str, ...] = Field(
        (), description="DynamoDB tables, each called by what follows its last `-`; relational tables are crawled."
    )
    export_bucket: str | None = Field(None, description="DynamoDB: read by exports to this bucket, in place of scans and streams.")
    include: tuple[str, ...] = ("*",)
    """Tables that are read."""
    exclude: tuple[str, ...] = ()
    """Tables that are not read, though included."""
    user_defined: tuple[str, ...] = ("udt_*", "*_cstm")
    """Tables that customers make; they load by jobs of their own."""
    overrides: dict[str, Override] = Field(
        default={}, description="What you declare about a table, by its name without the tenant's prefix."
    )
    limits: Limits = Limits()  # type: ignore[call-arg]
    """Kindness to this source."""

    def takes(self, table: str) -> bool:
        """Return whether a table of this name is one of those that are read."""
        included = any(fnmatch.fnmatchcase(table, pattern) for pattern in self.include)
        return included and not any(fnmatch.fnmatchcase(table, pattern) for pattern in self.exclude)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.export_bucket and self.engine != "dynamodb":
            raise ValueError("only a dynamodb source has an `export_bucket`")
        if self.engine == "dynamodb":
            if not self.tables:
                raise ValueError("a dynamodb source needs `tables:`")
            if alike := namesakes(self.tables):
                raise ValueError(f"{alike}; name one of them in a source of its own")
            if not self.tenancy.by_discriminator:
                raise ValueError("a dynamodb source needs `tenancy: {discriminator: …}`")
        elif self.url is None:
            raise ValueError("a relational source needs `url: env:NAME` or `url: secret:NAME`")
        return self
