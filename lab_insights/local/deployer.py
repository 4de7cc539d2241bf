"""Deploys `deploy/template.yaml` to the AWS stand-in, which creates only a part of it from CloudFormation.

moto 5.2.5 makes keys, buckets, tables, topics, queues and roles from a template, and silently leaves out the rest:
subscriptions, policies of buckets, topics and queues, notification, versioning, public access and lifecycle of
buckets, point-in-time recovery, Glue databases and alarms; policies of roles it writes as Python, not as JSON. Those
are applied here from the same parsed template, which stays the only source of truth.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lab_insights.aws import Aws
from lab_insights.local import template

ACCOUNT = "123456789012"
_Properties = dict[str, Any]


def deploy(endpoint_url: str, prefix: str, region: str = "us-east-1") -> str:
    """Create or find the stack `prefix`, apply the rest of the template, and return the stack's id; safe to repeat."""
    aws = Aws(region, endpoint_url)
    stack_id = _create(aws.client("cloudformation"), prefix)
    physical = {
        found["LogicalResourceId"]: found["PhysicalResourceId"]
        for found in aws.client("cloudformation").describe_stack_resources(StackName=prefix)["StackResources"]
        if "LogicalResourceId" in found  # moto lists what it did not make, without a name
    }
    # What has a condition (a trail, a role for Snowflake) is not wanted of the stand-in: the parameters that ask for it are off by default.
    resources = {name: each for name, each in template.load()["Resources"].items() if "Condition" not in each}
    names = _names(resources, physical, prefix, region)
    for resource in resources.values():
        if apply := _APPLIED.get(resource["Type"]):
            apply(aws, template.resolve(resource.get("Properties", {}), names))
    return stack_id


def deployed(endpoint_url: str, prefix: str, region: str = "us-east-1") -> str | None:
    """Return the id of the stack `prefix`, None when the stand-in has none (its process was started anew)."""
    from botocore.exceptions import ClientError

    try:
        found = Aws(region, endpoint_url).client("cloudformation").describe_stacks(StackName=prefix)
    except ClientError:
        return None
    return str(found["Stacks"][0]["StackId"])


def _create(cloudformation: Any, prefix: str) -> str:
    try:
        made = cloudformation.create_stack(
            StackName=prefix,
            TemplateBody=template.PATH.read_text(),
            Parameters=[{"ParameterKey": "Prefix", "ParameterValue": prefix}],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
    except cloudformation.exceptions.AlreadyExistsException:
        made = cloudformation.describe_stacks(StackName=prefix)["Stacks"][0]
    return str(made["StackId"])


def _names(resources: dict[str, Any], physical: dict[str, str], prefix: str, region: str) -> template.Names:
    """Return the names the template's functions see; a resource's physical id is what `Ref` gives."""
    at = f"{region}:{ACCOUNT}"
    refs = {
        **{name: parameter["Default"] for name, parameter in template.load()["Parameters"].items() if "Default" in parameter},
        "Prefix": prefix,
        "AWS::Partition": "aws",
        "AWS::Region": region,
        "AWS::AccountId": ACCOUNT,
        "AWS::StackName": prefix,
        **physical,
    }
    attributes: dict[str, str] = {}
    for logical, identity in physical.items():
        match resources[logical]["Type"]:
            case "AWS::S3::Bucket":
                attributes[f"{logical}.Arn"] = f"arn:aws:s3:::{identity}"
            case "AWS::SQS::Queue":
                attributes[f"{logical}.QueueName"] = identity.rsplit("/", 1)[-1]
                attributes[f"{logical}.Arn"] = f"arn:aws:sqs:{at}:{attributes[f'{logical}.QueueName']}"
            case "AWS::DynamoDB::Table":
                attributes[f"{logical}.Arn"] = f"arn:aws:dynamodb:{at}:table/{identity}"
            case "AWS::IAM::Role":
                attributes[f"{logical}.Arn"] = f"arn:aws:iam::{ACCOUNT}:role/{identity}"
            case "AWS::KMS::Key":
                attributes[f"{logical}.Arn"] = f"arn:aws:kms:{at}:key/{identity}"
    return template.Names(refs, attributes)


def _bucket(aws: Aws, of: _Properties) -> None:
    s3, bucket = aws.client("s3"), of["BucketName"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=of["VersioningConfiguration"])
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=of["PublicAccessBlockConfiguration"])
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=of["OwnershipControls"])
    rules = [_lifecycle(rule) for rule in of["LifecycleConfiguration"]["Rules"]]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    if notification := of.get("NotificationConfiguration"):
        topics = [
            {
                "TopicArn": each["Topic"],
                "Events": [each["Event"]],
                "Filter": {
                    "Key": {"FilterRules": [dict(rule) for rule in each["Filter"]["S3Key"]["Rules"]]},
                },
            }
            for each in notification["TopicConfigurations"]
        ]
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"TopicConfigurations": topics})


def _lifecycle(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a rule as S3's own API spells it."""
    told: dict[str, Any] = {"Filter": {"Prefix": ""}, **rule, "ID": rule["Id"]}
    if "ExpirationInDays" in told:
        told["Expiration"] = {"Days": told.pop("ExpirationInDays")}
    del told["Id"]
    return told


def _bucket_policy(aws: Aws, of: _Properties) -> None:
    # moto denies on every matching Deny, blind to its condition: "only over TLS" would close the bucket to everybody
    document = of["PolicyDocument"]
    statements = [statement for statement in document["Statement"] if "Condition" not in statement]
    if statements:
        policy = json.dumps({**document, "Statement": statements})
        aws.client("s3").put_bucket_policy(Bucket=of["Bucket"], Policy=policy)


def _topic_policy(aws: Aws, of: _Properties) -> None:
    for topic in of["Topics"]:
        aws.client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(of["PolicyDocument"]))


def _queue_policy(aws: Aws, of: _Properties) -> None:
    for queue in of["Queues"]:
        aws.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(of["PolicyDocument"])})


def _subscription(aws: Aws, of: _Properties) -> None:
    attributes = {
        "RawMessageDelivery": str(of["RawMessageDelivery"]).lower(),
        "FilterPolicyScope": of["FilterPolicyScope"],
        "FilterPolicy": json.dumps(of["FilterPolicy"]),
    }
    aws.client("sns").subscribe(
        TopicArn=of["TopicArn"],
        Protocol=of["Protocol"],
        Endpoint=of["Endpoint"],
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )


def _table(aws: Aws, of: _Properties) -> None:
    aws.client("dynamodb").update_continuous_backups(
        TableName=of["TableName"],
        PointInTimeRecoverySpecification=of["PointInTimeRecoverySpecification"],
    )


def _glue_database(aws: Aws, of: _Properties) -> None:
    glue = aws.client("glue")
    try:
        glue.create_database(DatabaseInput=of["DatabaseInput"])
    except glue.exceptions.AlreadyExistsException:
        glue.update_database(Name=of["DatabaseInput"]["Name"], DatabaseInput=of["DatabaseInput"])


def _role(aws: Aws, of: _Properties) -> None:
    for policy in of["Policies"]:
        document = json.dumps(policy["PolicyDocument"])
        aws.client("iam").put_role_policy(RoleName=of["RoleName"], PolicyName=policy["PolicyName"], PolicyDocument=document)


def _alarm(aws: Aws, of: _Properties) -> None:
    aws.client("cloudwatch").put_metric_alarm(**of)


_APPLIED: dict[str, Callable[[Aws, _Properties], None]] = {
    "AWS::S3::Bucket": _bucket,
    "AWS::S3::BucketPolicy": _bucket_policy,
    "AWS::SNS::TopicPolicy": _topic_policy,
    "AWS::SQS::QueuePolicy": _queue_policy,
    "AWS::SNS::Subscription": _subscription,
    "AWS::DynamoDB::Table": _table,
    "AWS::Glue::Database": _glue_database,
    "AWS::IAM::Role": _role,
    "AWS::CloudWatch::Alarm": _alarm,
}
