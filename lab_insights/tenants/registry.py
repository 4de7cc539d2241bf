"""The tenant registry in DynamoDB (`<prefix>-tenants`): id, key in the sources, layouts, zone, tier, deliver-by time."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from lab_insights.aws import Aws
from lab_insights.config import Layout, Zone
from lab_insights.errors import ConfigError, LabInsightsError, UnknownTenant
from lab_insights.names import TenantId, tenant_id

_LOG = logging.getLogger(__name__)
MEND = "write it anew with `lab-insights tenant apply`, or delete it from the table of tenants."


def _time(value: object) -> object:
    # YAML 1.1 reads 18:30 without quotes as the number 1110, of minutes; pydantic would take it for seconds.
    if isinstance(value, int):
        raise ValueError('write a time in quotes, such as "18:30"')  # noqa: TRY004 (pydantic tells ValueErrors)
    return value


def _tenant_id(text: str) -> str:
    try:
        return tenant_id(text)
    except LabInsightsError as error:
        raise ValueError(error.message) from None


class Tenant(BaseModel):
    """One customer. `key` is what its rows and table names carry in pooled and prefixed sources; `layouts` names the layout where a source offers several.

    `share_with` are Snowflake accounts (`organization.account`) that may read what is de-identified.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[TenantId, AfterValidator(_tenant_id)]
    key: str = Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")
    layouts: dict[str, Layout] = {}
    zone: Zone = "UTC"
    tier: Literal["daily", "frequent"] = "daily"
    deliver_by: Annotated[time, BeforeValidator(_time)] = time(6, 0)
    suspended: bool = False
    share_with: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,255}\.[A-Za-z0-9_]{1,255}$")], ...] = ()
    registered_at: datetime | None = None

    @property
    def database(self) -> str:
        """The tenant's own Snowflake database."""
        return f"LAB_INSIGHTS_{self.id.upper()}"


@dataclass(frozen=True)
class Listing:
    """What the registry holds: its tenants, in the order of registration, then of id, and why an item is no tenant, by the item's id."""

    tenants: list[Tenant]
    invalid: dict[str, str]


class Registry:
    """Reads and writes the registry of one deployment."""

    def __init__(self, aws: Aws, prefix: str) -> None:
        self._aws, self._table = aws, f"{prefix}-tenants"

    @property
    def _db(self) -> Any:
        return self._aws.client("dynamodb")

    def put(self, tenant: Tenant) -> None:
        """Write a tenant; writing the same one again changes nothing but what differs. The first registration's instant is kept."""
        body = tenant.model_copy(update={"registered_at": None}).model_dump_json()
        self._db.update_item(
            TableName=self._table,
            Key={"tenant": {"S": tenant.id}},
            UpdateExpression="SET body = :body, registered_at = if_not_exists(registered_at, :now)",
            ExpressionAttributeValues={":body": {"S": body}, ":now": {"S": datetime.now(UTC).isoformat()}},
        )

    def remove(self, tenant: TenantId) -> None:
        """Forget a tenant; one that is not there is no error."""
        self._db.delete_item(TableName=self._table, Key={"tenant": {"S": tenant}})

    def get(self, tenant: str) -> Tenant:
        """Return a tenant; raise `UnknownTenant`, or `ConfigError` when its item was written by hand and is not valid."""
        item = self._db.get_item(TableName=self._table, Key={"tenant": {"S": tenant_id(tenant)}}, ConsistentRead=True).get("Item")
        if item is None:
            raise UnknownTenant(
                "The registry does not hold this tenant.",
                remedy="`lab-insights tenant list` shows who is registered; `lab-insights tenant add` registers.",
                tenant=tenant,
            )
        try:
            return _tenant(item)
        except _InvalidItemError as reason:
            raise ConfigError(f"The registry's item of this tenant is not valid: {reason}.", remedy=MEND, tenant=tenant) from None

    def listing(self) -> Listing:
        """Return every tenant, and the items that are none: one that was written wrongly by hand must not stop the others."""
        tenants: list[Tenant] = []
        invalid: dict[str, str] = {}
        for page in self._db.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True):
            for item in page["Items"]:
                try:
                    tenants.append(_tenant(item))
                except _InvalidItemError as reason:
                    invalid[item["tenant"]["S"]] = str(reason)
        tenants.sort(key=lambda tenant: (tenant.registered_at or datetime.min.replace(tzinfo=UTC), tenant.id))
        return Listing(tenants, dict(sorted(invalid.items())))

    def all(self) -> list[Tenant]:
        """Return every tenant in the order of registration, then of id; an item that is none is left out and logged as a warning."""
        found = self.listing()
        for name, reason in found.invalid.items():
            _LOG.warning("The registry's item %r is not valid and is left out: %s. Remedy: %s", name, reason, MEND, extra={"tenant": name})
        return found.tenants


class _InvalidItemError(Exception):
    """An item that is no tenant; the text says why."""


def _tenant(item: dict[str, Any]) -> Tenant:
    try:
        found = Tenant.model_validate_json(item["body"]["S"])
        registered = datetime.fromisoformat(item["registered_at"]["S"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _InvalidItemError(f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from None
    except (KeyError, ValueError):
        raise _InvalidItemError("`body` or `registered_at` is missing or no instant") from None
    if found.id != item["tenant"]["S"]:
        raise _InvalidItemError("its key and the id in its body differ")
    return found.model_copy(update={"registered_at": registered})


def read_file(path: Path) -> list[Tenant]:
    """Return the tenants that a YAML file lists under `tenants:`; raise `ConfigError` naming the entry and the remedy."""
    try:
        content = yaml.safe_load(path.read_text())
        found = TypeAdapter(list[Tenant]).validate_python(content["tenants"])
    except (OSError, KeyError, TypeError, UnicodeDecodeError, yaml.YAMLError):
        raise ConfigError(
            f"{path} is not a list of tenants.", remedy="write `tenants:` and below it entries with `id` and `key`."
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigError(f"{path}: tenants.{where}: {first['msg']}.", remedy="mend the entry; nothing was registered.") from None
    if twice := [name for name, count in Counter(tenant.id for tenant in found).items() if count > 1]:
        raise ConfigError(f"{path} names {twice[0]} twice.", remedy="leave one of the entries; nothing was registered.")
    return found
