"""Whether a batch was used by everything that its queue's job makes of it.

What was used is written where the result lies: derived manifests name their inputs, and the ledger of a tenant's database names its
batches. So these answers hold whichever run did the work, and for each tenant of a run that failed for others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import date

from lab_insights.errors import WarehouseError
from lab_insights.lab.declared import curated_from, is_user_defined, served_wide
from lab_insights.lab.pipeline import LONG_SUFFIX
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.events import Consumed
from lab_insights.lake.layout import Layer, Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import partition_manifests
from lab_insights.names import TenantId
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.warehouse import ledger
from lab_insights.warehouse.provision import use
from lab_insights.warehouse.session import Session

# Opened for one tick: it may log in once, and remember what it has read.
Consumption = Callable[[WarehouseResource], AbstractContextManager[Consumed]]

# What is in the ledger stays there, so each batch is asked for until the answer is yes, and the sweep polls no warehouse awake. A tenant that was
# offboarded and came back has batches of the same names again, committed at other instants.
_DELIVERED: set[tuple[Storage, Committed]] = set()
_MOST_REMEMBERED = 500_000


@contextmanager
def curated(_: WarehouseResource) -> Iterator[Consumed]:
    """Answer for raw batches: the curated table of the same day was made from it."""
    yield curated_names_it


def curated_names_it(lake: Lake, batch: Committed) -> bool:
    """Return whether the live curated batches of a raw batch's table and day, all that it becomes, were made from it."""
    tables = curated_from(batch.partition.table)
    return {made.table for made in _made_from(lake, batch, "curated", list(tables))} == set(tables)


@contextmanager
def delivered(warehouse: WarehouseResource) -> Iterator[Consumed]:
    """Answer for curated batches: what is made from its table was made from it, and it and all of that are in the tenant's database."""
    sources = warehouse.lake.config().sources
    wide_tables = served_wide(sources)
    with ExitStack() as stack:
        sessions: list[Session] = []
        held: dict[tuple[TenantId, date], ledger.Ledger] = {}

        def consumed(lake: Lake, batch: Committed) -> bool:
            if (lake.storage, batch) in _DELIVERED:
                return True
            of = batch.partition
            made = _made_from(lake, batch, "transformed", lake.state.tables("transformed", of.tenant, of.day, of.day))
            wanted = {wide.table for wide in wide_tables if of.table in wide.inputs}
            if is_user_defined(of.table, sources):
                wanted.add(of.table + LONG_SUFFIX)
            if not wanted <= {each.table for each in made}:
                return False  # known without waking a warehouse
            if not sessions:
                sessions.append(stack.enter_context(warehouse.session("sensors")))
            if (of.tenant, of.day) not in held:
                held[of.tenant, of.day] = _read(sessions[0], lake, of.tenant, of.day)
            itself = [each for each in partition_manifests(lake, of) if each.object_key == batch.manifest]
            answer = all(held[of.tenant, of.day].holds(each) for each in [*itself, *made])
            if answer:
                _remember(lake.storage, batch)
            return answer

        yield consumed


def _remember(storage: Storage, batch: Committed) -> None:
    if len(_DELIVERED) >= _MOST_REMEMBERED:
        _DELIVERED.clear()
    _DELIVERED.add((storage, batch))


def _read(session: Session, lake: Lake, tenant: TenantId, day: date) -> ledger.Ledger:
    """Return what the tenant's database holds of a day, by one query."""
    try:
        use(session, tenant)
    except WarehouseError:
        # Not provisioned yet, so nothing is in it: the run says so better than a lookup that fails for ever.
        return ledger.Ledger()
    layers: tuple[Layer, ...] = ("curated", "transformed")
    partitions = [Partition(layer, tenant, table, day) for layer in layers for table in lake.state.tables(layer, tenant, day, day)]
    return ledger.read(session, [batch for partition in partitions for batch in partition_manifests(lake, partition)])


def _made_from(lake: Lake, batch: Committed, layer: Layer, tables: list[str]) -> list[Manifest]:
    of = batch.partition
    live = (each for table in tables for each in partition_manifests(lake, Partition(layer, of.tenant, table, of.day)))
    return [each for each in live if batch.manifest in each.inputs]
