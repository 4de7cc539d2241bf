"""The warehouse's IO manager: data goes through the lake, then COPY and MERGE in one transaction; inputs are read from the databases."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from lab_insights.assets.snowflake import load_receipt
from lab_insights.io_managers.data import by_partition, commit_each, from_arrow, is_receipts, keyed, location, target, wanted
from lab_insights.lab.publish import publish
from lab_insights.names import TenantId
from lab_insights.partitions import selected
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.warehouse import reports
from lab_insights.warehouse.load import load
from lab_insights.warehouse.names import live_view
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.session import Session


class SnowflakeIOManager(dg.ConfigurableIOManager):
    """Loads data of assets that return data, and lets receipts pass; the asset's metadata `key` names its unique columns."""

    warehouse: dg.ResourceDependency[WarehouseResource]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Publish what an asset returned to the lake and merge it into each tenant's database, unless it returned receipts."""
        if is_receipts(obj):
            return
        lake, (table, key) = self.warehouse.lake.open(), target(context)
        rows = {partition: keyed(context, data, key) for partition, data in by_partition(context, obj).items()}
        with self.warehouse.session(context.run_id) as session:

            def commit(partition: str, data: Any) -> Mapping[str, Any]:
                ((tenant, (day,)),) = selected([partition]).items()
                own = lake.for_tenant(tenant)
                manifest = publish(own, tenant, table, day, data, key=key, run_id=context.run_id)
                return load_receipt(load(session, own.storage, tenant, [manifest], run_id=context.run_id)).metadata

            commit_each(context, rows, commit)

    def load_input(self, context: dg.InputContext) -> Any:
        """Return a tenant's live rows as Arrow (or the annotated type), columns in lower case; for several tenants a mapping by tenant."""
        tenants = selected(list(context.asset_partition_keys))
        with self.warehouse.session(_run_id(context)) as session:
            found = {tenant: from_arrow(_rows(session, tenant, context.asset_key), wanted(context)) for tenant in tenants}
        return next(iter(found.values())) if len(found) == 1 else found


def _rows(session: Session, tenant: TenantId, key: dg.AssetKey) -> Any:
    layer, table = location(key)
    from_ = reports.table(key.path[-1]) if key.path[0] == "reports" else live_view(layer, table)
    use(session, tenant)
    rows = session.arrow(f"SELECT * FROM {from_}")
    return rows.rename_columns([name.lower() for name in rows.column_names])


def _run_id(context: dg.InputContext) -> str:
    try:
        return context.step_context.run_id
    except dg.DagsterInvariantViolationError:
        return ""  # a notebook reads an asset without any run
