"""A tenant's life but its end: added, suspended, resumed. Each goes place by place, and after a cut it is begun again with the same words.

The registry comes first and last. A new tenant is written as suspended, so that no schedule asks for it before all of its places are there, and becomes
active with the last write; one that is suspended is so in the registry before anything is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lab_insights.commands.provisioners import Provisioner
from lab_insights.errors import ConfigError, UnknownTenant
from lab_insights.tenants.registry import Registry, Tenant

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Life:
    """What the commands do to tenants of one deployment; `tell` is given a sentence for each place that is done."""

    registry: Registry
    places: Sequence[Provisioner]
    tell: Tell
    leaving: Callable[[Tenant], bool]
    """Whether an offboarding of the tenant was cut off."""

    def plan(self, tenant: Tenant) -> Iterable[str]:
        """Yield what `add` would do, without doing it."""
        yield f"registry: {tenant.id}, {tenant.tier}, days in {tenant.zone}"
        for place in self.places:
            yield from (f"{place.name}: {line}" for line in place.plan(tenant))

    def add(self, tenant: Tenant) -> None:
        """Make everything that a tenant needs, or complete it, and let the schedules have it."""
        if self.leaving(tenant):
            raise ConfigError(
                "This tenant is being offboarded.", remedy="end that with `lab-insights tenant offboard`, then add it.", tenant=tenant.id
            )
        try:
            self.registry.get(tenant.id)
        except UnknownTenant:
            self.registry.put(tenant.model_copy(update={"suspended": True}))
        for place in self.places:
            self._told(place, place.add(tenant))
        if tenant.suspended:
            self._close(tenant)
        self.registry.put(tenant)
        state = "suspended" if tenant.suspended else "active"
        self.tell(f"registry: {state}, {tenant.tier}, days in {tenant.zone}")

    def suspend(self, tenant: Tenant) -> None:
        """Keep a tenant out of the schedules, and its people out of every place; what it has stays as it is."""
        self.registry.put(tenant.model_copy(update={"suspended": True}))
        self.tell("registry: suspended, the schedules leave it out")
        self._close(tenant)

    def _close(self, tenant: Tenant) -> None:
        for place in self.places:
            self._told(place, place.suspend(tenant))

    def _told(self, place: Provisioner, what: str) -> None:
        if what:
            self.tell(f"{place.name}: {what}")
