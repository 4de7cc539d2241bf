"""The lake, the tenant registry and the sources, as Dagster resources."""

from pathlib import Path

import dagster as dg

from lab_insights import config as configuration
from lab_insights.aws import Aws
from lab_insights.clock import Clock
from lab_insights.config import Config
from lab_insights.extract.sources import Sources
from lab_insights.lab.contracts import use
from lab_insights.lab.declared import declared
from lab_insights.lake.commit import Lake
from lab_insights.lake.state import State
from lab_insights.lake.storage import Storage
from lab_insights.resources.emr import remote
from lab_insights.resources.spark import session
from lab_insights.tenants.registry import Registry


def open_aws(config: Config) -> Aws:
    """Return the AWS clients of a configuration."""
    return Aws(config.aws.region, config.aws.endpoint_url, config.aws.tenant_role)


def open_lake(config: Config) -> Lake:
    """Return the lake of a configuration."""
    aws = open_aws(config)
    return Lake(
        Storage(aws, config.lake.prefix, phi=config.phi), State(aws, config.lake.prefix), Clock(config.clock.file if config.clock else None)
    )


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Everything that is reached through the configuration file; `config_path` is empty for the usual places."""

    config_path: str = ""

    def config(self) -> Config:
        """Read the configuration, and the contracts and mappings that it names."""
        config = configuration.load(Path(self.config_path) if self.config_path else None)
        use(config.models)
        return config

    @property
    def prefix(self) -> str:
        """The deployment's prefix."""
        return self.config().lake.prefix

    def aws(self) -> Aws:
        """Return the AWS clients."""
        return open_aws(self.config())

    def open(self) -> Lake:
        """Return the lake."""
        return open_lake(self.config())

    def registry(self) -> Registry:
        """Return the tenant registry."""
        config = self.config()
        return Registry(open_aws(config), config.lake.prefix)

    def prepare_spark(self) -> None:
        """Start Spark now where this process is to start it; raise `ConfigError` when it can not."""
        config = self.config()
        if config.spark.emr is None:
            session(config.spark)

    def sources(self) -> Sources:
        """Return the sources, whose catalogs and ceilings are found anew."""
        config = self.config()
        aws = open_aws(config)
        return Sources(config, aws, open_lake(config), declared(), lambda: session(config.spark), remote=remote(config, aws))
