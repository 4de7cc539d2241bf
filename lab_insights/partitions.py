"""Partitions: tenant × day, one grid for every layer; tenants are dynamic and kept equal to the registry by a sensor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from lab_insights.config import Config
from lab_insights.errors import LabInsightsError
from lab_insights.names import TenantId, tenant_id


class Tenants(dg.DynamicPartitionsDefinition):
    """The registered tenants, in the order in which they came.

    Dagster asks its storage whether a range's first key is there, whether its last is, and for all keys, some 240 times a run; the last answer tells
    all three.
    """

    def get_partition_keys_in_range(self, partition_key_range: dg.PartitionKeyRange) -> Sequence[str]:
        """Return the keys from the range's start to its end, none of a reversed range; Dagster's error for a key that is not there."""
        keys, first, last = list(self.get_partition_keys()), partition_key_range.start, partition_key_range.end
        if first in keys and last in keys:
            return keys[keys.index(first) : keys.index(last) + 1]
        return super().get_partition_keys_in_range(partition_key_range)


TENANTS = Tenants(name="tenants")
# Dagster's own, which it exports no names for.
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# Dagster tags a run of one partition with its tenant, and a run over a range with nobody: `dagster.yaml` limits both tags.
TENANT_TAG = "lab_insights/tenant"
# Dagster documents 100,000 partitions an asset; past that the UI's pages and the backfill daemon no longer answer in time.
MOST = 100_000


def tenant_days(config: Config, today: date | None = None) -> dg.MultiPartitionsDefinition:
    """Return the grid of the configured window. Today exists (`end_offset=1`); a simulated clock may run ahead of it."""
    now = datetime.now(UTC).date()
    today = today or now
    start = max(config.partitions.start, today - timedelta(days=config.partitions.window_days - 1))
    days = dg.DailyPartitionsDefinition(start_date=start.isoformat(), end_offset=1 + max(0, (today - now).days))
    return dg.MultiPartitionsDefinition({"date": days, "tenant": TENANTS})


def partition_key(day: date, tenant: TenantId) -> dg.MultiPartitionKey:
    """Return the key of a tenant's day."""
    return dg.MultiPartitionKey({"date": day.isoformat(), "tenant": tenant})


def range_tags(first: str, last: str) -> dict[str, str]:
    """Return the tags by which one run takes the partitions from the first key to the last; of one tenant, it is tagged with it."""
    tenants = {key.partition("|")[2] for key in (first, last)}
    return {RANGE_START: first, RANGE_END: last, **({TENANT_TAG: tenants.pop()} if len(tenants) == 1 else {})}


def selected(partition_keys: Sequence[str]) -> dict[TenantId, list[date]]:
    """Return the days of each tenant in a run's partitions, tenants in the given order, days ascending; raise when there are none.

    A reversed range of a dynamic dimension is empty, and a run over it would succeed without having done anything.
    """
    if not partition_keys:
        raise LabInsightsError(
            "This run has no partitions.", remedy="select tenants in the order of the registry: a reversed range is empty."
        )
    found: dict[TenantId, list[date]] = {}
    for key in partition_keys:
        day, _, tenant = str(key).partition("|")
        found.setdefault(tenant_id(tenant), []).append(date.fromisoformat(day))
    return {tenant: sorted(days) for tenant, days in found.items()}


def refuse_too_many(config: Config, tenants: int) -> None:
    """Raise when the grid passes what Dagster can carry once its window is full: the next tenant belongs into another cell."""
    days = config.partitions.window_days
    if tenants * days > MOST:
        raise LabInsightsError(
            f"{tenants} tenants × {days} days are more than {MOST:,} partitions.",
            remedy="shorten partitions.window_days, or serve the new tenants from another cell (docs/explanation/partitions.md).",
        )
