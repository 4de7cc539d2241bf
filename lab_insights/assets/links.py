"""Links in the descriptions of assets: to what each is made from, and to the reference where the documentation has an address of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg

from lab_insights.config import Config

# More would hide the description; the graph has them all.
_NAMED = 6
_PAGES = {"curated": "tables", "transformed": "tables", "snowflake": "tables", "reports": "kpis", "operations": "checks"}


def with_links(assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], config: Config) -> Sequence[dg.AssetsDefinition | dg.AssetSpec]:
    """Return the assets with links at the end of their descriptions."""

    def linked(spec: dg.AssetSpec) -> dg.AssetSpec:
        made_from = [dep.asset_key.to_user_string() for dep in spec.deps]
        # The page of another asset in the same UI, whatever its address.
        named = ", ".join(f"[{key}](/assets/{key})" for key in made_from[:_NAMED])
        more = f" and {len(made_from) - _NAMED} more" if len(made_from) > _NAMED else ""
        lines = [f"Made from {named}{more}."] if made_from else []
        if config.alerts.site and (page := _PAGES.get(spec.key.path[0])):
            anchor = f"#{spec.key.path[-1]}" if spec.key.path[0] in {"curated", "reports"} else ""
            lines.append(f"[Reference]({config.alerts.reference(page)}{anchor})")
        return spec.replace_attributes(description="\n\n".join(filter(None, (spec.description, *lines))))

    return [asset.map_asset_specs(linked) if isinstance(asset, dg.AssetsDefinition) else linked(asset) for asset in assets]
