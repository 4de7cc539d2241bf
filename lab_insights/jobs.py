"""The jobs, under the names that the published architecture gave its Glue jobs, and the two that the queues' sensors request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg

from lab_insights.assets.deliveries import DELIVERIES
from lab_insights.assets.loading import LoadConfig
from lab_insights.assets.specs import USER_DEFINED
from lab_insights.operations import compact_states, crawl_sources, reconcile_warehouse, sweep_lake, sync_schemas
from lab_insights.pruning import prune_runs

if TYPE_CHECKING:
    from lab_insights.sensors.ranges import Job

_DYNAMIC = dg.AssetSelection.assets(dg.AssetKey(["raw", USER_DEFINED]))
_RAW = dg.AssetSelection.groups("raw") - _DYNAMIC
_DOWNSTREAM = dg.AssetSelection.groups("transformed", "snowflake", "reports")


@dg.job(description="Inspects every source of every tenant and writes what it finds to the Glue Data Catalog and the schema history.")
def crawl() -> None:
    """Crawl all sources."""
    crawl_sources()


@dg.job(
    description="Records each schema that a source has by now, then brings each client database into line with the lake's: new tables, new columns, "
    "safe widenings; drops nothing."
)
def schema_sync() -> None:
    """Sync all client databases."""
    sync_schemas()


@dg.job(
    description="Compacts the states of the curated tables, takes out of the lake what no manifest names or others replaced long ago, and deletes Dagster's "
    "runs that ended before the first day of the window."
)
def keep_lake() -> None:
    """Compact, then sweep; and prune."""
    sweep_lake(compact_states())
    prune_runs()


@dg.job(description="Compares every client database with the lake, row by row, and shows what differs as failed checks `reconciled`.")
def reconcile() -> None:
    """Reconcile all client databases."""
    reconcile_warehouse()


def load_jobs(raw: Iterable[dg.AssetsDefinition]) -> list[Job]:
    """Return the four loads, modelled or user-defined tables, whole or by their changes, and the search for deletes in all of them.

    `raw` are the steps whose config they set.
    """
    steps = [step.op.name for step in raw]
    dynamic = [name for name in steps if name.endswith(USER_DEFINED)]
    modelled = [name for name in steps if name not in dynamic]

    def job(name: str, selection: dg.AssetSelection, ops: list[str], config: LoadConfig, description: str) -> Job:
        return dg.define_asset_job(name, selection, config=dg.RunConfig(ops=dict.fromkeys(ops, config)), description=description)

    full, changes, deletes = LoadConfig(mode="full"), LoadConfig(mode="incremental"), LoadConfig(mode="deletes")
    return [
        job("full_load", _RAW, modelled, full, "The entire modelled tables of the selected tenants, as they are now."),
        job("incremental_load", _RAW, modelled, changes, "The changes of the modelled tables since their bookmarks."),
        job("dynamic_full_load", _DYNAMIC, dynamic, full, "The entire user-defined tables of the selected tenants, as they are now."),
        job("dynamic_incremental_load", _DYNAMIC, dynamic, changes, "The changes of the user-defined tables since their bookmarks."),
        job(
            "find_deletes",
            dg.AssetSelection.groups("raw"),
            steps,
            deletes,
            "The changes of all tables, then rows that the source no longer has, or changed unseen: found by comparing checksums of key ranges.",
        ),
    ]


CHECK = dg.define_asset_job(
    "check",
    dg.AssetSelection.checks_for_assets(DELIVERIES),
    description="Whether every tenant's due day is delivered, and no partition was left failed.",
)
RAW = dg.define_asset_job(
    "raw",
    dg.AssetSelection.groups("raw"),
    description="Every source table of the selected tenants and days, by plan; the rest follows from S3 events.",
)
CURATION = dg.define_asset_job(
    "curation", dg.AssetSelection.groups("curated"), description="Requested by the curation queue's sensor for raw batches that arrived."
)
TRANSFORMATION = dg.define_asset_job(
    "transformation", _DOWNSTREAM, description="Requested by the transformation queue's sensor for curated batches that arrived."
)
CURATED_TO_SNOWFLAKE = dg.define_asset_job(
    "curated_to_snowflake",
    dg.AssetSelection.groups("snowflake", "reports"),
    description="Loads the lake's curated and transformed batches into the client databases, and computes the reports.",
)
EVERYTHING = dg.define_asset_job(
    "everything", dg.AssetSelection.groups("raw", "curated") | _DOWNSTREAM, description="A tenant-day through every layer in one run."
)
