"""The asset graph, one module a layer: sources → raw → curated → transformed → snowflake → reports, partitioned by tenant and day.

`checks` is how a step judges what it made, `deliveries` what is judged of all tenants together.

Bodies are thin: `tenant_days` runs the work of a layer tenant by tenant and turns its receipts into events; the work itself lives in `extract`,
`lab`, `lake` and `warehouse`, which know nothing of Dagster.
"""

from __future__ import annotations

import dagster as dg

from lab_insights.assets import curated, deliveries, raw, reports, snowflake, sources, transformed
from lab_insights.assets.links import with_links
from lab_insights.config import Config


def build_assets(config: Config, grid: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition | dg.AssetSpec | dg.AssetChecksDefinition]:
    """Return every asset of the graph for a configuration."""
    steps = [
        *raw.build(config, grid),
        *curated.build(config, grid),
        *transformed.build(config, grid),
        *snowflake.build(config, grid),
        *reports.build(config, grid),
    ]
    asset, *checks = deliveries.build(config, steps, grid)
    return [*with_links([*sources.build(config), *steps, asset], config), *checks]
