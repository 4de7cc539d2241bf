"""Lake Formation: every grant of a tenant's people is there once, and no analyst reaches a column that is PHI."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from lab_insights.aws import Aws
from lab_insights.governance import glue, lake_formation, people
from lab_insights.governance.classes import PHI, STRICTEST, phi_class
from lab_insights.governance.lake_formation import Plan
from lab_insights.lab.contracts import contracts
from lab_insights.names import TenantId
from lab_insights_tests.listed import every

MINE, THEIRS = TenantId("acme"), TenantId("acme_east")
ACCOUNT = "arn:aws:iam::123456789012"
COLUMNS = {("curated", name): {column.name: column.phi for column in contract.columns} for name, contract in contracts().items()}
UNKNOWN = {("curated", "crm_udt_x"): {"c1": phi_class("curated", "crm.udt_x", "c1")}}


@pytest.fixture
def aws(aws_endpoint: str) -> Aws:
    return Aws(endpoint_url=aws_endpoint)


@pytest.fixture
def prefix(aws: Aws) -> Iterator[str]:
    made = f"lf-{uuid.uuid4().hex[:8]}"
    yield made
    for tenant in (MINE, THEIRS):
        lake_formation.forget(aws, made, tenant)


def planned(prefix: str, tenant: TenantId = MINE, *, open_: bool = True) -> Plan:
    return lake_formation.plan(prefix, ACCOUNT, tenant, {**COLUMNS, **UNKNOWN}, open_=open_)  # type: ignore[dict-item]


def held(aws: Aws, prefix: str) -> dict[tuple[str, str], tuple[dict[str, set[str]], set[str]]]:
    """Return tags and permissions by role and kind of resource, as Lake Formation lists them."""
    found = {}
    for each in every(aws.client("lakeformation"), "list_permissions", "PrincipalResourcePermissions"):
        policy = each["Resource"]["LFTagPolicy"]
        tags = {tag["TagKey"]: set(tag["TagValues"]) for tag in policy["Expression"]}
        if f"{prefix}-tenant" in tags:
            role = each["Principal"]["DataLakePrincipalIdentifier"].rpartition("/")[2]
            found[role, policy["ResourceType"]] = (tags, set(each["Permissions"]))
    return found


def everything(aws: Aws, prefix: str, *plans: Plan) -> Any:
    client = aws.client("lakeformation")
    tagged = [client.get_resource_lf_tags(Resource=each.resource) for plan in plans for each in plan.tagged]
    for each in tagged:
        each.pop("ResponseMetadata")
    values = {key: client.get_lf_tag(TagKey=f"{prefix}-{key}")["TagValues"] for key in ("tenant", "layer", "phi")}
    return tagged, values, held(aws, prefix)


def test_every_grant_is_there_and_a_second_apply_changes_nothing(aws: Aws, prefix: str) -> None:
    plans = [planned(prefix, tenant) for tenant in (MINE, THEIRS)]
    assert all(lake_formation.apply(aws, prefix, plan).changed > len(plan.tagged) for plan in plans)
    grants = held(aws, prefix)
    assert set(grants) == {
        (f"{prefix}-{tenant}-{kind}", type_)
        for tenant in (MINE, THEIRS)
        for kind in get_args(people.Kind)
        for type_ in ("DATABASE", "TABLE")
    }
    for (role, type_), (tags, permissions) in grants.items():
        tenant = THEIRS if THEIRS in role else MINE
        assert (tags[f"{prefix}-tenant"], tags[f"{prefix}-layer"]) == ({tenant}, {"curated", "transformed"})
        assert permissions == ({"DESCRIBE"} if type_ == "DATABASE" else {"SELECT", "DESCRIBE"})
    before = everything(aws, prefix, *plans)
    assert [lake_formation.apply(aws, prefix, plan).changed for plan in plans] == [0, 0]
    assert everything(aws, prefix, *plans) == before


def test_no_column_that_is_phi_is_reached_by_an_analysts_grant_and_every_column_by_a_readers(aws: Aws, prefix: str) -> None:
    lake_formation.apply(aws, prefix, planned(prefix))
    client, grants = aws.client("lakeformation"), held(aws, prefix)
    seen = {kind: grants[f"{prefix}-{MINE}-{kind}", "TABLE"][0][f"{prefix}-phi"] for kind in get_args(people.Kind)}
    reached: dict[str, set[tuple[str, str]]] = {kind: set() for kind in seen}
    for (layer, table), classes in {**COLUMNS, **UNKNOWN}.items():
        of = {"DatabaseName": glue.database(prefix, layer, MINE), "Name": table, "ColumnNames": list(classes)}
        tagged = client.get_resource_lf_tags(Resource={"TableWithColumns": of})["LFTagsOnColumns"]
        assert {each["Name"] for each in tagged} == set(classes), "no column is without a class"
        for each in tagged:
            [tag] = each["LFTags"]
            for kind, values in seen.items():
                reached[kind] |= {(table, each["Name"])} if set(tag["TagValues"]) <= values else set()
    every = {(table, name): phi for (_, table), classes in {**COLUMNS, **UNKNOWN}.items() for name, phi in classes.items()}
    assert reached["reader"] == set(every)
    assert reached["analyst"] == {column for column, phi in every.items() if phi not in PHI}
    assert {("patient", "mrn"), ("crm_udt_x", "c1")}.isdisjoint(reached["analyst"])


def test_a_column_that_nobody_tagged_yet_has_the_class_of_its_database_which_no_analyst_sees(prefix: str) -> None:
    plan = planned(prefix)
    assert {dict(each.tags)["phi"] for each in plan.tagged if not each.table} == {"unclassified"}
    [analyst] = [each for each in plan.grants if each.type == "TABLE" and each.principal.endswith("analyst")]
    assert not dict(analyst.tags)["phi"] & PHI
    assert PHI | {"operational", "none"} == set(STRICTEST)


def test_a_class_that_changed_and_a_grant_that_somebody_added_are_brought_into_line(aws: Aws, prefix: str) -> None:
    lake_formation.apply(aws, prefix, planned(prefix))
    expression = [{"TagKey": f"{prefix}-tenant", "TagValues": [MINE]}]
    aws.client("lakeformation").grant_permissions(
        Principal={"DataLakePrincipalIdentifier": f"{ACCOUNT}:role/somebody"},
        Resource={"LFTagPolicy": {"ResourceType": "TABLE", "Expression": expression}},
        Permissions=["SELECT"],
    )
    classified = {**COLUMNS, ("curated", "crm_udt_x"): {"c1": "none"}}
    again = lake_formation.plan(prefix, ACCOUNT, MINE, classified)  # type: ignore[arg-type]
    assert lake_formation.apply(aws, prefix, again).changed == 2
    assert not [role for role, _ in held(aws, prefix) if role == "somebody"]
    of = {"DatabaseName": glue.database(prefix, "curated", MINE), "Name": "crm_udt_x", "ColumnNames": ["c1"]}
    [tagged] = aws.client("lakeformation").get_resource_lf_tags(Resource={"TableWithColumns": of})["LFTagsOnColumns"]
    assert tagged["LFTags"][0]["TagValues"] == ["none"]


def test_a_suspended_tenants_people_are_granted_nothing_and_a_forgotten_one_is_no_value_of_the_tag(aws: Aws, prefix: str) -> None:
    for tenant in (MINE, THEIRS):
        lake_formation.apply(aws, prefix, planned(prefix, tenant))
    lake_formation.apply(aws, prefix, planned(prefix, open_=False))
    assert {tags[f"{prefix}-tenant"].copy().pop() for tags, _ in held(aws, prefix).values()} == {THEIRS}
    assert lake_formation.forget(aws, prefix, THEIRS) == 4
    assert held(aws, prefix) == {}
    assert aws.client("lakeformation").get_lf_tag(TagKey=f"{prefix}-tenant")["TagValues"] == [MINE]


def test_the_roles_of_a_tenant_carry_its_name_as_a_tag_are_made_once_and_go(aws: Aws, prefix: str) -> None:
    long = TenantId("a" * 63)
    iam = aws.client("iam")
    for _ in range(2):
        assert [people.establish(aws, prefix, ACCOUNT, tenant) for tenant in (MINE, long)] == [2, 2]
    names = {people.role_name(prefix, tenant, kind): tenant for tenant in (MINE, long) for kind in get_args(people.Kind)}
    assert len(names) == 4
    for name, tenant in names.items():
        assert len(name) <= 64
        assert iam.get_role(RoleName=name)["Role"]["Tags"] == [{"Key": "tenant", "Value": tenant}]
    assert people.account(aws) == ACCOUNT
    assert [people.remove(aws, prefix, tenant) for tenant in (MINE, long, long)] == [2, 2, 0]
