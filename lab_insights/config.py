"""`lab_insights.yaml`: what it may say, where it is found, and errors that name the line and the remedy."""

from __future__ import annotations

import fnmatch
import os
import re
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lab_insights.errors import ConfigError

Engine = Literal["mysql", "postgresql", "dynamodb"]
Layout = Literal["schema", "prefix", "discriminator"]
Phi = Literal["direct", "quasi", "clinical", "operational", "none"]
Reference = Annotated[str, Field(pattern=r"^(env|secret):\S+$", description="`env:NAME` or `secret:NAME` of Secrets Manager.")]


class Section(BaseModel):
    """A part of the file; unknown keys are refused, because a misspelt limit is not a limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)


class Aws(Section):
    """Where AWS is; without `endpoint_url` it is the real one, with the usual credential chain."""

    region: str = "us-east-1"
    """Region of every client."""
    endpoint_url: str | None = None
    """URL of a local server; left out, it is real AWS."""
    tenant_role: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/\S+$")] | None = Field(
        default=None,
        description="ARN of the role that what is done for one tenant assumes (the template's output TenantRoleArn); none: nothing is assumed.",
    )


class LakeSection(Section):
    """`prefix` is the template's parameter: every bucket, table, queue and topic is named from it."""

    prefix: str = Field(pattern=r"^[a-z][a-z0-9-]{1,40}$")
    """The parameter `Prefix` that the template was deployed with."""


class SnowflakeSection(Section):
    """The account; `credentials` holds JSON with `user` and `password` or `private_key` (PEM). Host, port and protocol are for a local server."""

    account: str
    """Account identifier, such as `myorg-account1`."""
    credentials: Reference
    warehouse: str | None = None
    """Warehouse of the loads; left out, the user's default."""
    role: str | None = None
    """Role of the loads and of provisioning; left out, the user's default."""
    host: str | None = None
    """A local server's host."""
    port: int | None = None
    """A local server's port."""
    protocol: Literal["http", "https"] = "https"
    """`http` for a local server alone."""


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
    """Pooled tables; the rows of a tenant have `value` in `column` (text or integer). DynamoDB has no schema."""

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


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown; a directory of zones; a path
        raise ValueError("not an IANA time zone such as America/New_York") from None
    return name


Zone = Annotated[str, AfterValidator(_zone)]


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
    """Connections open at once."""
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


class Source(Section):
    """One source system; table names in `include`, `exclude` and `user_defined` are patterns such as `udt_*`."""

    engine: Engine
    """What kind of server it is."""
    url: Reference | None = None
    """SQLAlchemy URL; not for DynamoDB."""
    tenancy: Tenancy
    """How tenants are told apart; several layouts where tenants differ."""
    tables: tuple[str, ...] = Field((), description="DynamoDB tables; relational tables are crawled.")
    export_bucket: str | None = Field(None, description="DynamoDB: read by exports to this bucket, in place of scans and streams.")
    include: tuple[str, ...] = ("*",)
    """Tables that are read."""
    exclude: tuple[str, ...] = ()
    """Tables that are not read, though included."""
    user_defined: tuple[str, ...] = ("udt_*", "*_cstm")
    """Tables that customers make; they load by jobs of their own."""
    overrides: dict[str, Override] = {}
    """What you declare about a table, by its name without the tenant's prefix."""
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
            if not self.tenancy.by_discriminator:
                raise ValueError("a dynamodb source needs `tenancy: {discriminator: …}`")
        elif self.url is None:
            raise ValueError("a relational source needs `url: env:NAME` or `url: secret:NAME`")
        return self


class PartitionsSection(Section):
    """The rolling window of days, in UTC; days before `start` do not exist."""

    start: date
    """The first day."""
    window_days: int = Field(400, ge=1)
    """How many days up to now can be materialized."""


class EmrSection(Section):
    """An application of EMR Serverless whose image holds this package; `bucket` carries orders to its jobs and their messages back."""

    application_id: str
    """Id of the application."""
    execution_role: str
    """ARN of the role that its jobs run as."""
    bucket: str
    """Bucket for orders and messages."""
    entry_point: str
    """S3 URI of the script that the jobs start."""
    parameters: str = ""
    """Further `spark-submit` parameters."""


class SparkSection(Section):
    """Where tables run that are planned with `engine: spark`; `conf` holds any of Spark's own settings, and wins over ours."""

    master: str = "local[*]"
    """Spark's master URL."""
    conf: dict[str, str] = {}
    """Spark's own settings."""
    emr: EmrSection | None = None
    """Run heavy tables on EMR Serverless in place of `master`."""


class ClockSection(Section):
    """A file that holds the simulated instant; for simulated days only."""

    file: Path
    """File that holds one ISO 8601 instant."""


class PhiSection(Section):
    """What the deployment says about PHI: the key that pseudonyms are made with, and the classes of columns that no contract describes.

    `{tenant}` in `pseudonym_key` names a secret for each tenant. `classes` maps patterns of tables, such as `crm.udt_*`, to patterns of columns and their
    class; the first that matches counts, and a contract's own class always wins.
    """

    pseudonym_key: Reference | None = None
    """Where the secret key is; without one there is no de-identified schema."""
    classes: dict[str, dict[str, Phi]] = {}
    """Classes by pattern of table, then of column."""


class AlertsSection(Section):
    """Where the links of an alert lead: the Dagster UI, and the runbook pages."""

    ui_url: str = "http://127.0.0.1:3000"
    """Address of the Dagster UI."""
    runbooks_url: str = "docs/runbooks"
    """Address of the runbook pages."""


class Config(Section):
    """The whole file."""

    aws: Aws = Aws()
    """Where AWS is."""
    lake: LakeSection
    """How the lake's resources are called."""
    snowflake: SnowflakeSection
    """The account of the client databases."""
    sources: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")], Source]
    """The source systems, each by a name of small letters, digits and `_`."""
    partitions: PartitionsSection
    """Which days exist."""
    spark: SparkSection = SparkSection()
    """Where heavy tables run."""
    clock: ClockSection | None = None
    """A simulated clock; left out, time is the machine's."""
    phi: PhiSection = PhiSection()
    """Pseudonyms, and the classes of columns that no contract describes."""
    alerts: AlertsSection = AlertsSection()
    """Where alerts lead."""
    models: Path | None = Field(
        None, description="Directory of the deployment's own `contracts`, `mappings` and `kpis`; a relative one is below that of this file."
    )


def locate() -> Path:
    """Return the path of the configuration: `$LAB_INSIGHTS_CONFIG`, `$DAGSTER_HOME/lab_insights.yaml`, or the current directory's."""
    if named := os.environ.get("LAB_INSIGHTS_CONFIG"):
        return Path(named)
    home = os.environ.get("DAGSTER_HOME")
    at_home = Path(home) / "lab_insights.yaml" if home else None
    return at_home if at_home and at_home.exists() else Path("lab_insights.yaml")


def load(path: Path | None = None) -> Config:
    """Read and validate the configuration; raise `ConfigError` with file, line and remedy."""
    path = path or locate()
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}:1: not text in UTF-8.", remedy="save the file as UTF-8.") from None
    except OSError:
        raise ConfigError(
            f"There is no configuration at {path}.",
            remedy="run `lab-insights local up`, or `lab-insights init` for databases of your own, or set LAB_INSIGHTS_CONFIG to your lab_insights.yaml.",
        ) from None
    try:
        tree = yaml.compose(text)
        config = Config.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "a sign that YAML does not allow"
        raise ConfigError(f"{path}:{mark.line + 1 if mark else 1}: not YAML: {problem}.", remedy="mend the line.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise ConfigError(
            f"{path}:{_line(tree, first['loc'])}: {where}: {first['msg']}.",
            remedy=f"change `{where}`; docs/reference/config.md shows every key.",
        ) from None
    if config.models is None:
        return config
    models = (path.parent / config.models).resolve()
    if not models.is_dir():
        raise ConfigError(
            f"{path}:{_line(tree, ('models',))}: models: there is no directory {models}.", remedy="correct `models`, or leave it out."
        )
    return config.model_copy(update={"models": models})


def _line(node: Any, loc: tuple[int | str, ...]) -> int:
    """Return the line of the deepest part of `loc` that is in the file."""
    line = 1
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if str(step) not in pairs:
                break
            key, node = pairs[str(step)]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line
