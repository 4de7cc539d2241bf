"""The one Definitions object: assets by layer, jobs, schedules, sensors, IO managers and resources of one deployment."""

from __future__ import annotations

import gc

import dagster as dg

from lab_insights import config as configuration
from lab_insights import jobs, schedules
from lab_insights.assets import build_assets
from lab_insights.clock import Clock
from lab_insights.config import Config
from lab_insights.io_managers.s3_parquet import S3ParquetIOManager
from lab_insights.io_managers.snowflake import SnowflakeIOManager
from lab_insights.lab.contracts import use
from lab_insights.logs import json_logger
from lab_insights.partitions import tenant_days
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import SnowflakeFactory, WarehouseResource
from lab_insights.resources.spark import SparkFactory
from lab_insights.sensors import build_sensors
from lab_insights.sensors.alerts import alert_sensors


def build(config: Config, config_path: str = "") -> dg.Definitions:
    """Return the definitions of a configuration; resources read it again from `config_path` (empty: the usual places) when a run needs them."""
    use(config.models)
    lake = LakeResource(config_path=config_path)
    warehouse = WarehouseResource(lake=lake)
    assets = build_assets(config, tenant_days(config, Clock(config.clock.file).now().date() if config.clock else None))
    raw = [asset for asset in assets if isinstance(asset, dg.AssetsDefinition) and asset.op.name.startswith("raw_")]
    return dg.Definitions(
        assets=assets,
        jobs=[
            jobs.crawl,
            jobs.schema_sync,
            jobs.keep_lake,
            jobs.reconcile,
            jobs.CHECK,
            *jobs.load_jobs(raw),
            jobs.RAW,
            jobs.CURATION,
            jobs.TRANSFORMATION,
            jobs.CURATED_TO_SNOWFLAKE,
            jobs.EVERYTHING,
        ],
        schedules=[
            schedules.daily,
            schedules.frequent,
            schedules.finding_deletes,
            schedules.keeping,
            schedules.checking,
            schedules.reconciling,
        ],
        sensors=[*build_sensors(jobs.CURATION, jobs.TRANSFORMATION), *alert_sensors()],
        resources={
            "lake": lake,
            "warehouse": warehouse,
            "snowflake": SnowflakeFactory(lake=lake),
            "spark": SparkFactory(config_path=config_path),
            "lake_io": S3ParquetIOManager(lake=lake),
            "snowflake_io": SnowflakeIOManager(warehouse=warehouse),
        },
        loggers={"console": json_logger},
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the configuration in force."""
    loaded = build(configuration.load())
    # They live as long as the process: the collector need not walk them again and again, nor once more at its end (0.5 s).
    gc.freeze()
    return loaded
