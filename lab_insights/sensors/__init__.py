"""Sensors: manifest events become runs, lost events are found, tenants become partitions.

`queues` empties the two manifest queues, `sweep` finds what no event asked for, `tenants` follows the registry. `consumed` says whether a
manifest was used, `ranges` is how all of them speak to Dagster about rectangles of tenants × days. What an event says is decided in
`lab_insights.lake.events`.
"""

from __future__ import annotations

from dagster import SensorDefinition

from lab_insights.sensors.consumed import Consumption, curated, delivered
from lab_insights.sensors.queues import queue_sensor
from lab_insights.sensors.ranges import Job
from lab_insights.sensors.sweep import sweep_sensor
from lab_insights.sensors.tenants import tenants_sensor


def build_sensors(curation_job: Job, transformation_job: Job, *, transformed: Consumption = delivered) -> list[SensorDefinition]:
    """Return every sensor; `transformed` says whether the transformation job has used a curated manifest."""
    return [
        tenants_sensor(curation_job),
        queue_sensor("curation", curation_job, curated),
        queue_sensor("transformation", transformation_job, transformed),
        sweep_sensor({"raw": (curation_job, curated), "curated": (transformation_job, transformed)}),
    ]
