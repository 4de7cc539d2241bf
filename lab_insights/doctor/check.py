"""One line of the doctor, and all of them in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from lab_insights.aws import Aws
from lab_insights.config import Config
from lab_insights.errors import LabInsightsError

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """What one look at `subject` found; `remedy` is empty when all is well."""

    subject: str
    status: Status
    message: str
    remedy: str = ""


Checks = Iterator[Check]


@dataclass
class Trouble:
    """What `guarded` caught, if anything."""

    check: Check | None = None


@contextmanager
def guarded(subject: str, remedy: str) -> Iterator[Trouble]:
    """Turn whatever the block raises into a failed check: our errors in their words, of AWS its code, of any other the type, as its text may hold a secret."""
    trouble = Trouble()
    try:
        yield trouble
    except LabInsightsError as error:
        where = "".join(f" ({name} {value})" for name, value in (("tenant", error.tenant), ("table", error.table)) if value)
        trouble.check = Check(subject, "failed", f"{error.message}{where}", error.remedy)
    except Exception as error:  # noqa: BLE001 (a doctor who faints helps nobody)
        trouble.check = Check(subject, "failed", f"{_code(error)}.", remedy)


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return f"AWS answers {code}" if code else f"{type(error).__name__} was raised"


def examine(load: Callable[[], Config], tenants: list[str] | None = None) -> Checks:
    """Yield every check as it is done; `load` reads the configuration, `tenants` (None: all that are registered) are those that are looked at.

    Without a usable configuration only the machine can be examined.
    """
    from lab_insights.doctor import deployment, machine, sources, warehouse, writes
    from lab_insights.tenants.registry import Registry

    with guarded("configuration", "`lab-insights init` writes one.") as trouble:
        config = load()
    if trouble.check:
        yield trouble.check
        yield from machine.java(needed=False)
        yield from machine.dagster(None)
        return
    yield Check("configuration", "ok", f"{len(config.sources)} sources, prefix {config.lake.prefix}, days from {config.partitions.start}")
    aws = Aws(config.aws.region, config.aws.endpoint_url)
    yield from deployment.resources(config, aws)
    registry = Registry(aws, config.lake.prefix)
    with guarded("tenants", "deploy deploy/template.yaml, or correct `lake.prefix` in lab_insights.yaml.") as trouble:
        listing = registry.listing()
    if trouble.check:
        yield trouble.check
        known = []
    else:
        yield from deployment.registered(listing)
        yield from sources.apart(config, listing.tenants)
        known = [tenant for tenant in listing.tenants if tenants is None or tenant.id in tenants]
        for name in sorted(set(tenants or ()).difference(tenant.id for tenant in known)):
            yield Check(
                f"tenant {name}", "failed", "The registry does not hold this tenant.", "`lab-insights tenant list` shows who is registered."
            )
    yield from writes.lake(config, aws, known)
    for name in config.sources:
        yield from sources.source(name, config, aws, known)
    yield from warehouse.snowflake(config, aws, known)
    yield from machine.java(
        needed=any(table.engine == "spark" for source in config.sources.values() for table in source.overrides.values())
    )
    yield from machine.dagster(None if trouble.check else [tenant.id for tenant in listing.tenants])
