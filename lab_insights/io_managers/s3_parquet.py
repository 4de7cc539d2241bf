"""The lake's IO manager: any rectangle of tenants × days, as parquet on S3, tenant first, found by manifest."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from lab_insights.assets.receipts import lake_receipt
from lab_insights.io_managers.data import by_partition, commit_each, from_arrow, is_receipts, keyed, location, target, wanted
from lab_insights.lab.pipeline import landed
from lab_insights.lab.publish import publish
from lab_insights.lake.layout import Partition
from lab_insights.lake.tables import TableState, relation
from lab_insights.partitions import selected
from lab_insights.resources.lake import LakeResource


class S3ParquetIOManager(dg.ConfigurableIOManager):
    """Commits data of assets that return data, and lets receipts pass; the asset's metadata `key` names its unique columns."""

    lake: dg.ResourceDependency[LakeResource]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Commit what an asset returned, partition by partition, unless it returned receipts."""
        if is_receipts(obj):
            return
        lake, (table, key) = self.lake.open(), target(context)
        rows = {partition: keyed(context, data, key) for partition, data in by_partition(context, obj).items()}

        def commit(partition: str, data: Any) -> Mapping[str, Any]:
            ((tenant, (day,)),) = selected([partition]).items()
            manifest = publish(lake.for_tenant(tenant), tenant, table, day, data, key=key, run_id=context.run_id)
            return lake_receipt(lake.storage, [manifest]).metadata

        commit_each(context, rows, commit)

    def load_input(self, context: dg.InputContext) -> Any:
        """Return a partition's rows as a lazy relation (or as the annotated type); for several partitions a mapping by partition key."""
        lake, (layer, table) = self.lake.open(), location(context.asset_key)
        found = {}
        for partition in context.asset_partition_keys:
            ((tenant, (day,)),) = selected([partition]).items()
            own = lake.for_tenant(tenant)
            batches = landed(own, Partition(layer, tenant, table, day))
            found[partition] = from_arrow(relation(own.storage, batches, TableState(tuple(batches)).schema), wanted(context))
        return next(iter(found.values())) if len(found) == 1 else found
