"""Backfills as Dagster's daemon does them, one iteration after the other, with runs in this process.

The daemon itself looks only every 30 s. Dagster exports none of this; its release is pinned.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration

from lab_insights.partitions import TENANTS
from lab_insights_tests.assets.world import QUIET, World

# Runs are neither queued, which another daemon would have to look after, nor processes of their own.
OVERRIDES = {
    "run_launcher": {"module": "dagster._core.launcher.sync_in_memory_run_launcher", "class": "SyncInMemoryRunLauncher"},
    "run_coordinator": {"module": "dagster._core.run_coordinator.default_run_coordinator", "class": "DefaultRunCoordinator"},
}


@contextmanager
def persistent(world: World, directory: Path) -> Iterator[World]:
    """Give the world an instance on disk, which the daemon's code insists on, with the same tenants; its runs run in this process."""
    with dg.DagsterInstance.local_temp(str(directory), overrides=OVERRIDES) as instance:
        tenants = str(TENANTS.name)
        instance.add_dynamic_partitions(tenants, world.instance.get_dynamic_partitions(tenants))
        yield dataclasses.replace(world, instance=instance)


def backfill(world: World, assets: Sequence[dg.AssetKey], partitions: Sequence[str]) -> tuple[BulkActionStatus, list[dg.DagsterRun]]:
    """Launch a backfill of a chain of assets, as the UI does, and return how it ended, with its runs in order."""
    name = uuid.uuid4().hex[:8]
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(executable_path=sys.executable, module_name="lab_insights.definitions"))
    with WorkspaceProcessContext(world.instance, InProcessWorkspaceLoadTarget(origin)) as workspace:
        graph = workspace.create_request_context().asset_graph
        asked = PartitionBackfill.from_asset_partitions(
            backfill_id=name,
            asset_graph=graph,
            partition_names=partitions,
            asset_selection=assets,
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=world.instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config={**QUIET, "execution": {"config": {"in_process": {}}}},
        )
        world.instance.add_backfill(asked)
        for _ in range(20):
            errors = [error for error in execute_backfill_iteration(workspace, logging.getLogger("backfill")) if error]
            assert errors == []
            found = world.instance.get_backfill(name)
            assert found is not None
            if found.status not in {BulkActionStatus.REQUESTED, BulkActionStatus.FAILING}:
                break
    runs = world.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": name}))
    return found.status, list(reversed(runs))
