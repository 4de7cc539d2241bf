"""What deploy/template.yaml makes in AWS, and the tenants that lie in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lab_insights.aws import Aws
from lab_insights.config import Config
from lab_insights.doctor.check import Check, Checks, guarded
from lab_insights.governance.glue import database
from lab_insights.tenants.registry import MEND, Listing

DATABASES = ("raw", "curated", "transformed", "reports")
BUCKETS = (*DATABASES, "audit")
TABLES = ("tenants", "bookmarks", "status")
QUEUES = ("curation", "curation-dlq", "transformation", "transformation-dlq")
TOPICS = ("manifests", "alarms")
REMEDY = (
    "deploy deploy/template.yaml with this prefix, correct `aws` and `lake.prefix`, or grant this login what the code server's role has."
)
_DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "403"}


def resources(config: Config, aws: Aws) -> Checks:
    """Yield a check for the login, then for each bucket, table, queue, topic and catalog database of the prefix."""
    with guarded("aws", "check the login (aws sts get-caller-identity), `aws.region` and `aws.endpoint_url`.") as trouble:
        identity = aws.client("sts").get_caller_identity()
        account, who = identity["Account"], identity["Arn"].rpartition(":")[2]
    if trouble.check:
        yield trouble.check
        return
    yield Check("aws", "ok", f"account {account} as {who}, {aws.endpoint_url or aws.region}")
    prefix, partition = config.lake.prefix, identity["Arn"].split(":")[1]
    looks: Mapping[str, Callable[[], str | Check]] = {
        **{f"bucket {prefix}-{name}": _bucket(aws, f"{prefix}-{name}") for name in BUCKETS},
        **{f"table {prefix}-{name}": _table(aws, f"{prefix}-{name}") for name in TABLES},
        **{f"queue {prefix}-{name}": _queue(aws, f"{prefix}-{name}") for name in QUEUES},
        **{f"topic {prefix}-{name}": _topic(aws, f"arn:{partition}:sns:{aws.region}:{account}:{prefix}-{name}") for name in TOPICS},
        **{f"glue {database(prefix, name)}": _glue(aws, database(prefix, name)) for name in DATABASES},
    }
    for subject, look in looks.items():
        with guarded(subject, REMEDY) as trouble:
            told = look()
        yield trouble.check or (told if isinstance(told, Check) else Check(subject, "ok", told))


def registered(listing: Listing) -> Checks:
    """Yield how many tenants there are, and a failed check for each item that is none."""
    for name, reason in listing.invalid.items():
        yield Check(f"tenant {name!r}", "failed", f"the registry's item is not valid and is left out: {reason}", MEND)
    if listing.tenants:
        yield Check("tenants", "ok", f"{len(listing.tenants)} registered")
    else:
        yield Check("tenants", "warning", "none is registered, so nothing can be loaded", "lab-insights tenant add ID --key KEY")


def _bucket(aws: Aws, name: str) -> Callable[[], str]:
    def look() -> str:
        # Not head_bucket: a HEAD's error has no code but its number.
        aws.client("s3").list_objects_v2(Bucket=name, MaxKeys=1)
        return "can be listed"

    return look


def _table(aws: Aws, name: str) -> Callable[[], str]:
    def look() -> str:
        return str(aws.client("dynamodb").describe_table(TableName=name)["Table"]["TableStatus"]).lower()

    return look


def _queue(aws: Aws, name: str) -> Callable[[], str | Check]:
    def look() -> str | Check:
        client = aws.client("sqs")
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
        waiting = int(found["ApproximateNumberOfMessages"])
        if waiting and name.endswith("-dlq"):
            return Check(
                f"queue {name}", "warning", f"{waiting} dead letters", "`lab-insights dlq list` shows why, `dlq redrive` tries again."
            )
        return f"{waiting} messages"

    return look


def _topic(aws: Aws, arn: str) -> Callable[[], str | Check]:
    name = arn.rpartition(":")[2]

    def look() -> str | Check:
        from botocore.exceptions import ClientError

        try:
            # Counted by listing them: the topic's own count is a guess that may be hours old.
            pages = aws.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
            found = [each["SubscriptionArn"] for page in pages for each in page["Subscriptions"]]
        except ClientError as error:
            if error.response["Error"]["Code"] not in _DENIED:
                raise
            # The code server's role needs nothing of SNS: the buckets publish.
            return Check(f"topic {name}", "warning", "this login may not look at it", "look with sns:ListSubscriptionsByTopic.")
        subscribed = sum(each.startswith("arn:") for each in found)
        if not subscribed and name.endswith("-alarms"):
            return Check(
                f"topic {name}", "warning", "nobody is subscribed, so nobody is told", "subscribe an e-mail address or a chat to it."
            )
        waiting = len(found) - subscribed
        if waiting and name.endswith("-alarms"):
            return Check(
                f"topic {name}",
                "warning",
                f"{waiting} of {len(found)} subscriptions are not confirmed",
                "open the link that each was sent.",
            )
        return f"{subscribed} subscriptions"

    return look


def _glue(aws: Aws, name: str) -> Callable[[], str]:
    def look() -> str:
        aws.client("glue").get_database(Name=name)
        return "catalog database"

    return look
