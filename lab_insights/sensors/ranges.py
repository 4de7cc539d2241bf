"""Tenants × days as Dagster sees them: ranged run requests, and which cells are in somebody's run already.

Dagster's dynamic ranges follow insertion order, and a reversed one is empty and *succeeds*. So ranges are built from
`get_dynamic_partitions`, and the keys that Dagster reads out of a range are compared with the ones meant.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, TypeAlias

from dagster import (
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    JobDefinition,
    MultiPartitionsDefinition,
    PartitionKeyRange,
    RepositoryDefinition,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
)

from lab_insights.errors import LabInsightsError
from lab_insights.names import tenant_id
from lab_insights.partitions import RANGE_END, RANGE_START, TENANTS, partition_key, range_tags

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

Job: TypeAlias = "JobDefinition | UnresolvedAssetJobDefinition"
# Dagster's own tags, which it exports no names for.
_SINGLE, _RUN_KEY = "dagster/partition", "dagster/run_key"

Cell = tuple[date, str]
IN_PROGRESS = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Stretch:
    """One day of tenants that follow each other in Dagster's order."""

    day: date
    tenants: tuple[str, ...]

    @property
    def keys(self) -> list[str]:
        """The partition keys, in Dagster's order."""
        return [str(partition_key(self.day, tenant_id(tenant))) for tenant in self.tenants]

    def __contains__(self, cell: Cell) -> bool:
        return cell[0] == self.day and cell[1] in self.tenants

    def pieces(self, most: int) -> list[Stretch]:
        """Return the stretch in parts of at most so many tenants."""
        return [Stretch(self.day, self.tenants[start : start + most]) for start in range(0, len(self.tenants), most)]


@dataclass(frozen=True)
class Rectangle:
    """The cells of a run; days as text, `tenants` a set."""

    first_day: str
    last_day: str
    tenants: frozenset[str]

    def __contains__(self, cell: Cell) -> bool:
        return self.first_day <= str(cell[0]) <= self.last_day and cell[1] in self.tenants


@dataclass(frozen=True)
class Grid:
    """The tenants × days of one job in this tick; `order` is Dagster's order of tenants, that of insertion."""

    instance: DagsterInstance
    repository: RepositoryDefinition
    job_name: str
    order: tuple[str, ...]

    @classmethod
    def of(cls, context: SensorEvaluationContext, job: Job) -> Grid:
        """Return the grid of `job` as it is now."""
        repository = context.repository_def
        if repository is None:
            raise ValueError("a sensor is evaluated within its repository")
        order = tuple(context.instance.get_dynamic_partitions(str(TENANTS.name)))
        return cls(context.instance, repository, job.name, order)

    @functools.cached_property
    def partitions(self) -> MultiPartitionsDefinition:
        """The partitions of the job's assets."""
        graph = self.repository.asset_graph
        found = {graph.get(key).partitions_def for key in self._assets(self.job_name)}
        (partitions,) = (each for each in found if isinstance(each, MultiPartitionsDefinition))
        return partitions

    @functools.cached_property
    def busy(self) -> list[Rectangle]:
        """What queued and running runs will materialize of the job's assets or of those they are made from, whoever asked for it.

        A job that starts while its inputs are half there fails for want of the other half.
        """
        graph, mine = self.repository.asset_graph, self._assets(self.job_name)
        watched = mine.union(*(graph.get(key).parent_keys for key in mine))
        runs = self.instance.get_runs(RunsFilter(statuses=IN_PROGRESS))
        found = (self._rectangle(run.tags) for run in runs if watched & self._assets_of(run))
        return [rectangle for rectangle in found if rectangle]

    def is_busy(self, cell: Cell) -> bool:
        """Return whether a queued or running run covers a cell."""
        return any(cell in rectangle for rectangle in self.busy)

    @functools.cached_property
    def days(self) -> Sequence[str]:
        """Every day that is a partition, in order."""
        return self.partitions.get_partitions_def_for_dimension("date").get_partition_keys()

    @property
    def first_day(self) -> date:
        """The first day that is a partition."""
        return date.fromisoformat(self.days[0])

    @property
    def last_day(self) -> date:
        """The last day that is a partition."""
        return date.fromisoformat(self.days[-1])

    def stretches(self, cells: Iterable[Cell]) -> list[Stretch]:
        """Return the fewest stretches that cover exactly `cells`, by day; every tenant must be in `order`."""
        position = {tenant: index for index, tenant in enumerate(self.order)}
        by_day: defaultdict[date, set[int]] = defaultdict(set)
        for day, tenant in cells:
            by_day[day].add(position[tenant])
        found: list[list[int]] = []
        days: list[date] = []
        for day, indexes in sorted(by_day.items()):
            for index in sorted(indexes):
                if days and days[-1] == day and found[-1][-1] == index - 1:
                    found[-1].append(index)
                else:
                    days.append(day)
                    found.append([index])
        return [Stretch(day, tuple(self.order[i] for i in indexes)) for day, indexes in zip(days, found, strict=True)]

    def run_request(self, stretch: Stretch, causes: Iterable[str], run_config: Mapping[str, Any] | None = None) -> RunRequest:
        """Return the request for one run over a stretch; its run key is the same for the same causes, in any order.

        Raises `LabInsightsError` when Dagster reads other keys out of the range than those meant.
        """
        keys = stretch.keys
        range_ = PartitionKeyRange(keys[0], keys[-1])
        if list(self.partitions.get_partition_keys_in_range(range_, dynamic_partitions_store=self.instance)) != keys:
            raise LabInsightsError(
                f"Dagster does not read the {len(keys)} tenants that were meant out of {range_.start}...{range_.end}.",
                remedy="let the sensor tick again: tenant partitions were added or removed meanwhile.",
                partition=str(stretch.day),
            )
        digest = hashlib.sha256("\n".join(sorted(causes)).encode()).hexdigest()[:24]
        return RunRequest(
            run_key=f"{self.job_name}:{stretch.day}:{digest}",
            job_name=self.job_name,
            run_config=run_config,
            tags=range_tags(keys[0], keys[-1]),
        )

    def run_for(self, run_key: str) -> DagsterRun | None:
        """Return the run that was launched for a run key."""
        return next(iter(self.instance.get_runs(RunsFilter(tags={_RUN_KEY: run_key}), limit=1)), None) if run_key else None

    def progress(self, run: DagsterRun, cell: Cell) -> frozenset[str]:
        """Return the assets that a run materialized of a cell before it ended."""
        key = Stretch(cell[0], (cell[1],)).keys[0]
        return frozenset(asset for partition, asset in self._materialized(run.run_id) if partition == key)

    @functools.cache  # noqa: B019 - a grid lives for one tick
    def _materialized(self, run_id: str) -> frozenset[tuple[str, str]]:
        entries = self.instance.all_logs(run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION)
        found = (entry.asset_materialization for entry in entries)
        return frozenset((str(each.partition), each.asset_key.to_user_string()) for each in found if each)

    def _assets(self, job_name: str) -> frozenset[AssetKey]:
        return frozenset(self.repository.get_job(job_name).asset_layer.selected_asset_keys)

    def _assets_of(self, run: DagsterRun) -> frozenset[AssetKey]:
        # The UI gives a run its own selection; a job's run has none and means all.
        if run.asset_selection is not None:
            return frozenset(run.asset_selection)
        return self._assets(run.job_name) if self.repository.has_job(run.job_name) else frozenset()

    def _rectangle(self, tags: Mapping[str, str]) -> Rectangle | None:
        start, end = tags.get(RANGE_START, tags.get(_SINGLE, "")), tags.get(RANGE_END, tags.get(_SINGLE, ""))
        if start.count("|") != 1 or end.count("|") != 1:
            return None
        (first_day, first), (last_day, last) = start.split("|"), end.split("|")
        if first not in self.order or last not in self.order:
            return None
        return Rectangle(first_day, last_day, frozenset(self.order[self.order.index(first) : self.order.index(last) + 1]))
