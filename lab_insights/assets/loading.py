"""The choices that a person has when a load is launched, and their refusal, with the remedy, before anything is read."""

from collections.abc import Collection
from typing import Literal

import dagster as dg
from pydantic import Field

from lab_insights.config import Config
from lab_insights.errors import ConfigError
from lab_insights.extract.land import Mode
from lab_insights.extract.plan import EngineName
from lab_insights.resources.lake import LakeResource

Choice = Literal["auto", "arrow", "spark"]


class LoadConfig(dg.Config):
    """How a load is done; the defaults need no typing."""

    mode: Mode = Field(
        default="auto",
        description="`auto` follows the plan; `full` takes the whole table now; `incremental` reads only changes; "
        "`deletes` reads changes, then compares key ranges with the source for rows that are gone.",
    )
    reload: bool = Field(
        default=False,
        description="Read a closed day's window again; the new batch supersedes the day's older ones. Not with `mode: full`, which reads no window.",
    )
    engine: Choice = Field(
        default="auto",
        description="Who reads: `auto` follows the plan (`lab-insights plan` shows it); `arrow` is this process, in as many key ranges as planned; "
        "`spark` is the session or cluster of `spark:` in lab_insights.yaml. Relational sources only.",
    )

    @property
    def forced(self) -> EngineName | None:
        """The engine that wins over the plan's."""
        return None if self.engine == "auto" else self.engine


class TablesConfig(LoadConfig):
    """How tables are loaded that no contract describes."""

    tables: list[str] = Field(
        default=[], description="Lake ids such as `crm.udt_visit`; empty means every table that no contract describes, in every source."
    )


def prepare(config: LoadConfig, settings: Config, sources: Collection[str], lake: LakeResource) -> None:
    """Start what the choices need; raise `ConfigError` for choices that contradict each other, or that `sources` can not serve."""
    if config.reload and config.mode == "full":
        raise ConfigError(
            "`reload: true` and `mode: full` contradict each other: one reads a closed day's window again, the other the whole table as it is now.",
            remedy="leave one of them out.",
        )
    if config.engine == "spark":
        if all(settings.sources[name].engine == "dynamodb" for name in sources):
            raise ConfigError(
                f"Spark does not read DynamoDB, which {', '.join(sorted(sources))} is.", remedy="leave `engine` at `auto` for this step."
            )
        lake.prepare_spark()
    if isinstance(config, TablesConfig):
        unknown = sorted({name for name in config.tables if name.partition(".")[0] not in settings.sources})
        if unknown:
            raise ConfigError(
                f"No source has the tables {', '.join(unknown)}.",
                remedy=f"name them SOURCE.TABLE, as `lab-insights plan` does; the sources are {', '.join(settings.sources)}.",
            )
