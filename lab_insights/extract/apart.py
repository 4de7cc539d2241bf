"""Whether tenants are apart in the sources: two that are placed alike would read the same rows, and each one's lake would hold the other's patients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lab_insights.config import Source
from lab_insights.errors import ConfigError
from lab_insights.extract.databases import Placement, place
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant

REMEDY = "give each tenant a key of its own, or write `{tenant}` or `{key}` into the templates of the source's `tenancy`"


def together(sources: Mapping[str, Source], tenants: Iterable[Tenant]) -> Iterator[tuple[str, list[TenantId]]]:
    """Yield each source and those of `tenants` that it places alike, in their order; a tenant whose layout is open there is placed nowhere.

    Alike is what a server may take for the same: MySQL's names where it keeps them without case, and in a column of numbers `7` and `007`.
    """
    every = list(tenants)
    for name, source in sources.items():
        alike: dict[Placement, list[TenantId]] = {}
        for tenant in every:
            try:
                alike.setdefault(_taken(source, place(name, source, tenant)), []).append(tenant.id)
            except ConfigError:
                continue
        yield from ((name, ids) for ids in alike.values() if len(ids) > 1)


def _taken(source: Source, at: Placement) -> Placement:
    column, value = at.discriminator or ("", "")
    own = (column, str(int(value)) if value.isdecimal() else value) if at.discriminator else None
    if source.engine != "mysql":
        return Placement(at.schema, at.prefix, own)
    return Placement(at.schema.casefold(), at.prefix.casefold(), own)


def refuse_together(sources: Mapping[str, Source], registered: Iterable[Tenant], tenants: Iterable[Tenant]) -> None:
    """Raise `ConfigError` when one of `tenants`, which are about to be written to the registry, would be placed like another in a source."""
    new = {tenant.id: tenant for tenant in tenants}
    for name, ids in together(sources, ({tenant.id: tenant for tenant in registered} | new).values()):
        if refused := [tenant for tenant in ids if tenant in new]:
            others = [tenant for tenant in ids if tenant != refused[-1]]
            raise ConfigError(
                f"In source {name} this tenant would have the rows of {', '.join(others)}.",
                remedy=f"{REMEDY}; nothing was registered.",
                tenant=refused[-1],
            )
