"""The whole file but its sources: where AWS, the lake, Snowflake and Spark are, which days exist, what is PHI, and where alerts lead."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lab_insights.config.parts import Reference, Section
from lab_insights.config.sources import Source

Phi = Literal["direct", "quasi", "clinical", "operational", "none"]


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
    """Script that the jobs start: in the image (`local:///…`) or on S3."""
    parameters: str = ""
    """Further `spark-submit` parameters."""


class SparkSection(Section):
    """Where tables run that are planned with `engine: spark`; `conf` holds any of Spark's own settings, and wins over ours."""

    master: str = "local[*]"
    """Spark's master URL."""
    conf: dict[str, str] = Field(default={}, description="Spark's own settings.")
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
    classes: dict[str, dict[str, Phi]] = Field(default={}, description="Classes by pattern of table, then of column.")


class AlertsSection(Section):
    """Where the links of an alert lead: the Dagster UI, and the runbook pages."""

    ui_url: str = "http://127.0.0.1:3000"
    """Address of the Dagster UI."""
    runbooks_url: str = "docs/runbooks"
    """Address of the runbook pages: of the built site (`https://…/runbooks`), or the directory of their sources."""

    @property
    def site(self) -> bool:
        """Whether the documentation is a site, not a directory."""
        return self.runbooks_url.startswith(("https://", "http://"))

    def runbook(self, name: str) -> str:
        """Return where a runbook is."""
        return f"{self.runbooks_url.rstrip('/')}/{self._file(name)}"

    def reference(self, name: str) -> str:
        """Return where a page of the reference is: beside the runbooks."""
        return f"{self.runbooks_url.rstrip('/').removesuffix('/runbooks')}/reference/{self._file(name)}"

    def _file(self, name: str) -> str:
        # The site has pages as HTML: mkdocs.yml says `use_directory_urls: false`.
        return f"{name}.html" if self.site else f"{name}.md"


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
