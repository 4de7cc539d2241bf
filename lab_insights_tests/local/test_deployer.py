"""The production template on the AWS stand-in: what moto leaves out is there too, and events go where they should."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab_insights.aws import Aws
from lab_insights.local import deployer, template


@pytest.fixture
def aws(aws_endpoint: str) -> Aws:
    return Aws(endpoint_url=aws_endpoint)


def keys_in(aws: Aws, queue: str) -> list[str]:
    """Return the `bucket/key` of each event that waits in `queue`, and delete them."""
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            event = json.loads(message["Body"])["Records"][0]["s3"]
            found.append(f"{event['bucket']['name']}/{event['object']['key']}")
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return sorted(found)


def test_the_template_is_clean_by_cfn_lint() -> None:
    linter = Path(sys.executable).with_name("cfn-lint")
    linted = subprocess.run([linter, template.PATH], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_manifests_of_raw_go_to_curation_those_of_curated_to_transformation_and_no_other_object_anywhere(
    aws: Aws, deployed_prefix: str
) -> None:
    s3, p = aws.client("s3"), deployed_prefix
    for layer in ("raw", "curated", "transformed", "reports"):
        s3.put_object(Bucket=f"{p}-{layer}", Key="tenant=a/x.manifest.json", Body=b"{}")
        s3.put_object(Bucket=f"{p}-{layer}", Key="tenant=a/x.parquet", Body=b"{}")
        s3.upload_fileobj(io.BytesIO(b"{}"), f"{p}-{layer}", "tenant=a/manifest.json")
    assert keys_in(aws, f"{p}-curation") == [f"{p}-raw/tenant%3Da%2Fx.manifest.json"]
    assert keys_in(aws, f"{p}-transformation") == [f"{p}-curated/tenant%3Da%2Fx.manifest.json"]


def test_deploying_again_finds_the_same_stack_and_doubles_no_event(aws: Aws, deployed_prefix: str) -> None:
    assert aws.endpoint_url
    before = deployer.deployed(aws.endpoint_url, deployed_prefix)
    assert deployer.deploy(aws.endpoint_url, deployed_prefix) == before
    aws.client("s3").put_object(Bucket=f"{deployed_prefix}-raw", Key="a.manifest.json", Body=b"{}")
    assert keys_in(aws, f"{deployed_prefix}-curation") == [f"{deployed_prefix}-raw/a.manifest.json"]
    assert deployer.deployed(aws.endpoint_url, f"{deployed_prefix}-never") is None


@pytest.mark.parametrize("queue", ["curation", "transformation"])
def test_a_message_that_was_received_five_times_in_vain_is_in_the_dead_letter_queue(aws: Aws, deployed_prefix: str, queue: str) -> None:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{deployed_prefix}-{queue}")["QueueUrl"]
    dead = sqs.get_queue_url(QueueName=f"{deployed_prefix}-{queue}-dlq")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(5):
        assert sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"][0]["Body"] == "poison"
    assert "Messages" not in sqs.receive_message(QueueUrl=dead)
    assert "Messages" not in sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)
    assert sqs.receive_message(QueueUrl=dead)["Messages"][0]["Body"] == "poison"


def test_buckets_are_versioned_encrypted_private_and_forget_old_versions(aws: Aws, deployed_prefix: str) -> None:
    s3 = aws.client("s3")
    for layer in ("raw", "curated", "transformed", "reports", "audit"):
        bucket = f"{deployed_prefix}-{layer}"
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
        rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
        assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
        # of the audit log nothing is ever forgotten, and of the lake nothing by its age
        forgets = {"audit": set[str](), "reports": {"noncurrent-versions", "aged-pages"}}.get(layer, {"noncurrent-versions"})
        assert set(rules) == {"abandoned-uploads"} | forgets
        assert {name for name, rule in rules.items() if "Expiration" in rule} == forgets & {"aged-pages"}


def test_what_the_law_wants_kept_can_not_be_set_to_go_earlier_and_report_pages_go_only_where_somebody_says_so() -> None:
    parameters, resources = template.load()["Parameters"], template.load()["Resources"]
    years = {name: parameters[name]["MinValue"] / 365.25 for name in ("TrailDays", "ReportDays")}
    assert {name: int(its) for name, its in years.items()} == {"TrailDays": 6, "ReportDays": 2}
    lock = resources["AuditBucket"]["Properties"]["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert lock == {"Mode": "GOVERNANCE", "Years": 6}

    def aged(bucket: str) -> list[tuple[Any, Any]]:
        rules = resources[bucket]["Properties"]["LifecycleConfiguration"]["Rules"]
        return [(rule["Status"], rule["ExpirationInDays"]) for rule in rules if "ExpirationInDays" in rule]

    assert aged("ReportsBucket") == [({"Ref": "ReportPages"}, {"Ref": "ReportDays"})]
    assert parameters["ReportPages"]["Default"] == "Disabled"
    assert aged("TrailBucket") == [("Enabled", {"Ref": "TrailDays"})]


def test_state_tables_have_their_keys_and_can_be_restored_to_a_point_in_time(aws: Aws, deployed_prefix: str) -> None:
    dynamodb = aws.client("dynamodb")
    for name, keys in {"tenants": ["tenant"], "bookmarks": ["pk", "sk"], "status": ["pk", "sk"]}.items():
        table = f"{deployed_prefix}-{name}"
        described = dynamodb.describe_table(TableName=table)["Table"]
        assert [key["AttributeName"] for key in described["KeySchema"]] == keys
        backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_each_layer_has_a_glue_database_and_each_dead_letter_queue_an_alarm(aws: Aws, deployed_prefix: str) -> None:
    name = deployed_prefix.replace("-", "_")
    for layer in ("raw", "curated", "transformed", "reports"):
        assert aws.client("glue").get_database(Name=f"{name}_{layer}")["Database"]["LocationUri"] == f"s3://{deployed_prefix}-{layer}/"
    alarms = aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=deployed_prefix)["MetricAlarms"]
    assert {alarm["Dimensions"][0]["Value"] for alarm in alarms} == {
        f"{deployed_prefix}-curation-dlq",
        f"{deployed_prefix}-transformation-dlq",
    }


def test_every_bucket_and_queue_of_the_template_refuses_plain_http_and_keeps_its_data_on_deletion() -> None:
    resources: dict[str, Any] = template.load()["Resources"]
    policies = [each["Properties"] for each in resources.values() if each["Type"].endswith(("BucketPolicy", "QueuePolicy"))]
    for policy in policies:
        [denied] = [each for each in policy["PolicyDocument"]["Statement"] if each["Sid"] == "TlsOnly"]
        assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    covered = {reference["Ref"] for policy in policies for reference in [policy.get("Bucket"), *policy.get("Queues", [])] if reference}
    lasting = {name for name, each in resources.items() if each["Type"] in ("AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key")}
    assert {name for name, each in resources.items() if each["Type"] in ("AWS::S3::Bucket", "AWS::SQS::Queue")} == covered
    assert all(resources[name]["DeletionPolicy"] == "Retain" for name in lasting)


def test_every_bucket_denies_other_encryption_and_other_tenants_prefixes() -> None:
    resources: dict[str, Any] = template.load()["Resources"]
    names = _names()
    policies = [template.resolve(each["Properties"], names) for each in resources.values() if each["Type"] == "AWS::S3::BucketPolicy"]
    assert len(policies) == 6
    for policy in policies:
        by_sid = {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}
        assert {"TlsOnly", *(("ServiceOnly",) if policy["Bucket"] == "p-TrailBucket" else ("KmsOnly", "OwnKeyOnly"))} <= set(by_sid)
        allowed = {sid for sid, statement in by_sid.items() if statement["Effect"] != "Deny"}
        assert allowed == ({"TrailLooks", "TrailDelivers"} if policy["Bucket"] == "p-TrailBucket" else set())
        if policy["Bucket"] in {"p-AuditBucket", "p-TrailBucket"}:
            assert "Condition" not in by_sid["AppendOnly"]
            assert by_sid["NoTenant"]["Condition"] == {"Null": {"aws:PrincipalTag/tenant": "false"}}
            continue
        bucket = f"arn:{policy['Bucket'].removeprefix('p-')}.Arn"
        assert by_sid["OwnPrefixOnly"]["NotResource"] == [bucket, f"{bucket}/tenant=${{aws:PrincipalTag/tenant}}/*"]
        assert by_sid["OwnListingOnly"]["Condition"]["StringNotLike"] == {"s3:prefix": "tenant=${aws:PrincipalTag/tenant}/*"}


def test_every_statement_of_the_tenants_role_speaks_of_the_sessions_tag_or_of_the_key() -> None:
    [policy] = template.load()["Resources"]["TenantRole"]["Properties"]["Policies"]
    statements = {each["Sid"]: json.dumps(each) for each in policy["PolicyDocument"]["Statement"]}
    assert {sid for sid, text in statements.items() if "aws:PrincipalTag/tenant" not in text} == {"Key"}


def test_the_trail_that_one_may_ask_for_records_objects_of_every_bucket_of_the_deployment_and_alone_may_deliver() -> None:
    parsed = template.load()
    resources: dict[str, Any] = parsed["Resources"]
    assert parsed["Parameters"]["Trail"]["Default"] == "no"
    trail = template.resolve(resources["LakeTrail"]["Properties"], _names())
    [selector] = trail["AdvancedEventSelectors"]
    fields = {each["Field"]: each for each in selector["FieldSelectors"]}
    recorded = set(fields["resources.ARN"]["StartsWith"])
    buckets = {name for name, each in resources.items() if each["Type"] == "AWS::S3::Bucket"} - {"TrailBucket"}
    assert recorded == {f"arn:{name}.Arn/" for name in buckets}
    # reads, and writes: a selector that does not name readOnly takes both
    assert set(fields) == {"eventCategory", "resources.type", "resources.ARN"}
    arn = f"arn:aws:cloudtrail:us-east-1:{deployer.ACCOUNT}:trail/{trail['TrailName']}"
    policy = template.resolve(resources["TrailBucketPolicy"]["Properties"]["PolicyDocument"], _names())
    key = template.resolve(resources["LakeKey"]["Properties"]["KeyPolicy"], _names())
    services = [each for each in [*policy["Statement"], *key["Statement"]] if each["Principal"] == {"Service": "cloudtrail.amazonaws.com"}]
    assert len(services) == 3
    assert {each["Condition"]["StringEquals"]["aws:SourceArn"] for each in services} == {arn}
    assert all(resources[name]["Condition"] == "HasTrail" for name in ("LakeTrail", "TrailBucket", "TrailBucketPolicy"))


def test_the_code_servers_role_is_assumed_by_the_one_principal_that_is_named_else_by_tasks_of_ecs_of_this_account() -> None:
    parsed = template.load()
    assert parsed["Parameters"]["CodeServerPrincipal"]["Default"] == ""
    assert parsed["Conditions"]["HasCodeServerPrincipal"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "CodeServerPrincipal"}, ""]}]}
    role = template.resolve(parsed["Resources"]["CodeServerRole"]["Properties"], _names())
    [trusted] = role["AssumeRolePolicyDocument"]["Statement"]
    condition, named, tasks = trusted["Fn::If"]
    assert (condition, named["Principal"]) == ("HasCodeServerPrincipal", {"AWS": "p-CodeServerPrincipal"})
    assert tasks["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert tasks["Condition"] == {"StringEquals": {"aws:SourceAccount": deployer.ACCOUNT}}


@pytest.mark.parametrize(
    ("arn", "taken"),
    [
        ("", True),
        ("arn:aws:iam::123456789012:role/host", True),
        ("arn:aws-us-gov:iam::123456789012:user/people/ada", True),
        ("*", False),
        ("arn:aws:iam::123456789012:root", False),
        ("arn:aws:sts::123456789012:assumed-role/host/session", False),
    ],
)
def test_the_principal_of_the_code_servers_role_is_one_role_or_one_user(arn: str, taken: bool) -> None:
    pattern = template.load()["Parameters"]["CodeServerPrincipal"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, arn)) is taken


def test_snowflakes_role_reads_what_is_loaded_and_is_assumed_by_its_integration_alone() -> None:
    role = template.resolve(template.load()["Resources"]["SnowflakeRole"]["Properties"], _names())
    [trusted] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Principal"] == {"AWS": "p-SnowflakeUser"}
    assert trusted["Condition"] == {"StringEquals": {"sts:ExternalId": "p-SnowflakeExternalId"}}
    statements = {each["Sid"]: each for each in role["Policies"][0]["PolicyDocument"]["Statement"]}
    layers = [f"arn:{layer}Bucket.Arn" for layer in ("Curated", "Transformed")]
    assert statements["Objects"]["Resource"] == [f"{arn}/tenant=*" for arn in layers]
    assert statements["Listing"]["Resource"] == layers
    actions = json.dumps([each["Action"] for each in statements.values()])
    assert not [verb for verb in ("Put", "Delete", "Encrypt", "GenerateDataKey", "*") if verb in actions]


def _names() -> template.Names:
    """Return names for all that the template refers to, deployed or not."""
    parsed = template.load()
    pseudo = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": deployer.ACCOUNT}
    return template.Names(
        {**{name: f"p-{name}" for name in [*parsed["Resources"], *parsed["Parameters"]]}, **pseudo, "Prefix": "p"}, _Arns()
    )


class _Arns(dict[str, str]):
    """Any resource's attribute, told by its name."""

    def __missing__(self, name: str) -> str:
        return f"arn:{name}"
