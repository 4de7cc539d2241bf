"""Lake Formation: which people of a tenant see which columns of its own catalog databases, by LF-tags.

Three LF-tags, each with the deployment's prefix: `tenant` and `layer` lie on a tenant's own databases, `phi` on every column, by its contract. A database
is `unclassified`, so that a column that nobody has tagged yet is seen by nobody who may not see PHI. Grants name tags alone: a new table needs none.

A tenant has two roles: `reader` sees every class, `analyst` none that is PHI. The local stand-in records all of it and enforces none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lab_insights.aws import Aws
from lab_insights.governance.classes import PHI, STRICTEST
from lab_insights.governance.glue import SHOWN, database, own_columns
from lab_insights.governance.people import Kind, role_arn
from lab_insights.lake.layout import LAYERS, Layer
from lab_insights.names import TenantId

Key = Literal["tenant", "layer", "phi"]
_SEEN: dict[Kind, tuple[str, ...]] = {"reader": STRICTEST, "analyst": tuple(each for each in STRICTEST if each not in PHI)}
# What one request may add to a tag.
_VALUES = 50


@dataclass(frozen=True)
class Tagged:
    """Where tags lie: on a database, or on columns of one of its tables."""

    database: str
    tags: tuple[tuple[Key, str], ...]
    table: str = ""
    columns: tuple[str, ...] = ()

    @property
    def resource(self) -> dict[str, Any]:
        """The resource, as Lake Formation names it."""
        if not self.table:
            return {"Database": {"Name": self.database}}
        return {"TableWithColumns": {"DatabaseName": self.database, "Name": self.table, "ColumnNames": list(self.columns)}}


@dataclass(frozen=True)
class Grant:
    """What a role may do with whatever has these tags: of each key any of the values."""

    principal: str
    type: Literal["DATABASE", "TABLE"]
    tags: frozenset[tuple[Key, frozenset[str]]]
    permissions: frozenset[str]


@dataclass(frozen=True)
class Plan:
    """What is to be for one tenant: values that the tags know, where tags lie, and what is granted."""

    tenant: TenantId
    values: Mapping[Key, tuple[str, ...]]
    tagged: tuple[Tagged, ...]
    grants: tuple[Grant, ...]


@dataclass(frozen=True)
class Applied:
    """How many tag values, tagged resources and grants are in force, and how many of them an apply had to change."""

    in_force: int
    changed: int


def plan(
    prefix: str, account: str, tenant: TenantId, columns: Mapping[tuple[Layer, str], Mapping[str, str]], *, open_: bool = True
) -> Plan:
    """Return the plan of a tenant whose own tables have `columns` with their PHI classes; a suspended tenant (not `open_`) has no grants."""
    tagged = [Tagged(database(prefix, layer, tenant), (("tenant", tenant), ("layer", layer), ("phi", "unclassified"))) for layer in SHOWN]
    for (layer, table), classes in columns.items():
        by_class = ((phi, tuple(sorted(name for name, of in classes.items() if of == phi))) for phi in STRICTEST)
        tagged += [Tagged(database(prefix, layer, tenant), (("phi", phi),), table, its) for phi, its in by_class if its]
    values: dict[Key, tuple[str, ...]] = {"tenant": (tenant,), "layer": LAYERS, "phi": STRICTEST}
    where: frozenset[tuple[Key, frozenset[str]]] = frozenset({("tenant", frozenset({tenant})), ("layer", frozenset(SHOWN))})
    grants = []
    for kind in get_args(Kind) if open_ else ():
        arn, seen = role_arn(prefix, account, tenant, kind), frozenset(_SEEN[kind])
        grants.append(Grant(arn, "DATABASE", where, frozenset({"DESCRIBE"})))
        grants.append(Grant(arn, "TABLE", where | {("phi", seen)}, frozenset({"SELECT", "DESCRIBE"})))
    return Plan(tenant, values, tuple(tagged), tuple(grants))


def apply(aws: Aws, prefix: str, wanted: Plan) -> Applied:
    """Bring tags and grants into line with the plan; what is as it should be is not touched."""
    client = aws.client("lakeformation")
    changed = sum(_know(client, f"{prefix}-{key}", values) for key, values in wanted.values.items())
    changed += sum(_tag(client, prefix, each) for each in wanted.tagged)
    there = _granted(client, prefix, wanted.tenant)
    for grant in wanted.grants:
        held = there.pop((grant.principal, grant.type, grant.tags), frozenset())
        if grant.permissions - held:
            client.grant_permissions(**_request(prefix, grant), Permissions=sorted(grant.permissions))
            changed += 1
        if held - grant.permissions:
            client.revoke_permissions(**_request(prefix, grant), Permissions=sorted(held - grant.permissions))
            changed += 1
    for (principal, type_, tags), held in there.items():
        client.revoke_permissions(**_request(prefix, Grant(principal, type_, tags, held)), Permissions=sorted(held))
        changed += 1
    return Applied(len(wanted.tagged) + len(wanted.grants), changed)


def govern(aws: Aws, prefix: str, account: str, tenant: TenantId, *, open_: bool = True) -> Applied:
    """Plan a tenant's permissions from its own catalog databases and apply them."""
    return apply(aws, prefix, plan(prefix, account, tenant, own_columns(aws, prefix, tenant), open_=open_))


def forget(aws: Aws, prefix: str, tenant: TenantId) -> int:
    """Revoke what a tenant's roles were granted, and forget it as a tag's value; return how many grants there were."""
    client = aws.client("lakeformation")
    there = _granted(client, prefix, tenant)
    for (principal, type_, tags), held in there.items():
        client.revoke_permissions(**_request(prefix, Grant(principal, type_, tags, held)), Permissions=sorted(held))
    key = f"{prefix}-tenant"
    known = _values(client, key)
    if known == [tenant]:
        client.delete_lf_tag(TagKey=key)
    elif tenant in known:
        client.update_lf_tag(TagKey=key, TagValuesToDelete=[tenant])
    return len(there)


def held(aws: Aws, prefix: str, tenant: TenantId) -> int:
    """Return how many grants a tenant's roles have."""
    return len(_granted(aws.client("lakeformation"), prefix, tenant))


def _values(client: Any, key: str) -> list[str]:
    try:
        return list(client.get_lf_tag(TagKey=key)["TagValues"])
    except client.exceptions.EntityNotFoundException:
        return []


def _know(client: Any, key: str, values: tuple[str, ...]) -> int:
    known = _values(client, key)
    new = [value for value in values if value not in known]
    if not new:
        return 0
    if not known:
        client.create_lf_tag(TagKey=key, TagValues=new)
        return 1
    for start in range(0, len(new), _VALUES):
        client.update_lf_tag(TagKey=key, TagValuesToAdd=new[start : start + _VALUES])
    return 1


def _tag(client: Any, prefix: str, wanted: Tagged) -> int:
    found = client.get_resource_lf_tags(Resource=wanted.resource, ShowAssignedLFTags=True)
    tags = {(f"{prefix}-{key}", value) for key, value in wanted.tags}
    if wanted.table:
        has = {each["Name"]: _pairs(each["LFTags"]) for each in found.get("LFTagsOnColumns", ())}
        if all(tags <= has.get(column, set()) for column in wanted.columns):
            return 0
    elif tags <= _pairs(found.get("LFTagOnDatabase", ())):
        return 0
    pairs = [{"TagKey": key, "TagValues": [value]} for key, value in sorted(tags)]
    client.add_lf_tags_to_resource(Resource=wanted.resource, LFTags=pairs)
    return 1


def _pairs(tags: Any) -> set[tuple[str, str]]:
    return {(tag["TagKey"], value) for tag in tags for value in tag["TagValues"]}


def _granted(client: Any, prefix: str, tenant: TenantId) -> dict[tuple[str, Any, frozenset[tuple[Any, frozenset[str]]]], frozenset[str]]:
    """Return what is granted by this tenant's tag, as principal, type and tags; Lake Formation may list one grant in parts."""
    found: dict[tuple[str, Any, frozenset[tuple[Any, frozenset[str]]]], frozenset[str]] = {}
    asked: dict[str, str] = {}
    while True:
        page = client.list_permissions(**asked)
        for each in page["PrincipalResourcePermissions"]:
            policy = each["Resource"].get("LFTagPolicy", {})
            tags = {tag["TagKey"]: frozenset(tag["TagValues"]) for tag in policy.get("Expression", ())}
            if tags.get(f"{prefix}-tenant") != frozenset({tenant}):
                continue
            plain = frozenset((key.removeprefix(f"{prefix}-"), values) for key, values in tags.items())
            what = (each["Principal"]["DataLakePrincipalIdentifier"], policy["ResourceType"], plain)
            found[what] = found.get(what, frozenset()) | frozenset(each["Permissions"])
        if not page.get("NextToken"):
            return found
        asked = {"NextToken": page["NextToken"]}


def _request(prefix: str, grant: Grant) -> dict[str, Any]:
    tags = [{"TagKey": f"{prefix}-{key}", "TagValues": sorted(values)} for key, values in sorted(grant.tags, key=lambda each: each[0])]
    return {
        "Principal": {"DataLakePrincipalIdentifier": grant.principal},
        "Resource": {"LFTagPolicy": {"ResourceType": grant.type, "Expression": tags}},
    }
