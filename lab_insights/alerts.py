"""Alerts: the one place that says what is worth waking somebody, and how it is told: once, to one SNS topic, with the run and the runbook page.

E-mail and chat subscribe to the topic `<prefix>-alarms`; there is no notifier of ours. What was told is remembered (`<prefix>-status`, `alerts`), each
fact by itself: a message names only what is new, and none is sent when nothing is. A fact that still holds is told again after `AGAIN`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from lab_insights.config import AlertsSection
from lab_insights.lake.items import Items

Kind = Literal["failed_partition", "late_tenant", "dead_letters", "schema_change", "reconciliation", "data_checks", "cost"]
AGAIN = timedelta(hours=24)
# A run that named no tenant failed for all of them.
EVERYBODY = "every tenant of the run"
# SNS cuts a subject at 100 characters and a message at 256 KiB; what a person reads on a telephone is shorter.
SUBJECT, LINES = 100, 40
_PLAIN = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True)
class Rule:
    """What a kind of alert is called, which page says what to do, and why somebody is woken for it."""

    title: str
    runbook: str
    why: str


RULES: dict[Kind, Rule] = {
    "failed_partition": Rule("Failed partitions", "failed-partition", "the tenants below have no data of these days"),
    "late_tenant": Rule("Late tenants", "late-tenant", "a deliver-by time has passed"),
    "dead_letters": Rule("Dead letters", "dead-letters", "the sensors gave up, nothing will happen by itself"),
    "schema_change": Rule("Schema changes", "schema-change", "a source changed under us"),
    "reconciliation": Rule("Reconciliation", "reconciliation", "a client database differs from the lake; its reports are held back"),
    "cost": Rule("Unusual cost", "cost", "a tenant's day cost far more than its days usually do"),
    "data_checks": Rule("Data checks", "data-checks", "a tenant's rows are doubled or not its own; they are held back"),
}


@dataclass(frozen=True)
class Fact:
    """One thing to tell of one tenant: `identity` says when it is the same again, `asset` whose check it is. Counts, names, reasons; never a row's value."""

    tenant: str
    told: str
    identity: str
    asset: str = ""


@dataclass(frozen=True)
class Alerts(Items):
    """Publishes alerts of one deployment."""

    section: AlertsSection
    now: Callable[[], float] = time.time

    @property
    def topic(self) -> str:
        """The topic's ARN, of the account that this process is in."""
        caller = self.aws.client("sts").get_caller_identity()
        partition, account = caller["Arn"].split(":")[1], caller["Account"]
        return f"arn:{partition}:sns:{self.aws.region}:{account}:{self.prefix}-alarms"

    def publish(self, kind: Kind, facts: Sequence[Fact], *, run_id: str = "") -> list[Fact]:
        """Send one message of those facts that were not told before, and return them; none when there are none.

        A fact is only remembered when it was sent: a message may come twice after a death in between, and is never lost.
        """
        new = [fact for fact in dict.fromkeys(facts) if not self._told(kind, fact)]
        if not new:
            return []
        subject, body = message(kind, new, self.prefix, self.section, run_id)
        names = {"kind": kind, "deployment": self.prefix}
        self.aws.client("sns").publish(
            TopicArn=self.topic,
            Subject=subject,
            Message=body,
            MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in names.items()},
        )
        for fact in new:
            expires = {"N": str(int(self.now() + AGAIN.total_seconds()))}
            self.db.put_item(TableName=self.status, Item={**_key(kind, fact), "expires_at": expires})
        return new

    def _told(self, kind: Kind, fact: Fact) -> bool:
        item = self.db.get_item(TableName=self.status, Key=_key(kind, fact), ConsistentRead=True).get("Item")
        # DynamoDB drops expired items when it likes, up to days later.
        return item is not None and int(item["expires_at"]["N"]) > self.now()


def message(kind: Kind, facts: Sequence[Fact], prefix: str, section: AlertsSection, run_id: str = "") -> tuple[str, str]:
    """Return subject and body of a message: the tenants first, then a line each, then where to look and what to do."""
    rule, tenants = RULES[kind], sorted({fact.tenant for fact in facts})
    subject = f"[{prefix}] {rule.title}: {', '.join(tenants)}"
    lines = [f"{rule.title} ({EVERYBODY if EVERYBODY in tenants else f'{len(tenants)} tenants'}): {rule.why}.", ""]
    lines += [f"- {fact.tenant}: {fact.told}" for fact in facts[:LINES]]
    if rest := facts[LINES:]:
        lines.append(f"- and {len(rest)} more: {', '.join(sorted({fact.tenant for fact in rest}))}")
    assets = {fact.asset for fact in facts}
    its = f"assets/{assets.pop()}?view=checks" if len(assets) == 1 and "" not in assets else _LOOK.get(kind, "overview/activity")
    look = f"{section.ui_url.rstrip('/')}/{f'runs/{run_id}' if run_id else its}"
    lines += ["", f"Look: {look}", f"Do: {section.runbook(rule.runbook)}"]
    return _short(_PLAIN.sub("?", subject)), "\n".join(lines)


_LOOK: dict[Kind, str] = {
    "dead_letters": "overview/sensors",
    "schema_change": "asset-groups",
    "reconciliation": "asset-groups",
    "data_checks": "asset-groups",
}


def failed_tenants(texts: Collection[str]) -> dict[str, str]:
    """Return the tenants (or sources of tenants) that the failed steps of a run name, each with its first reason."""
    found: dict[str, str] = {}
    for text in texts:
        for name, reason in re.findall(r"^- \*\*(.+?)\*\* (.*)$", text, re.MULTILINE):
            found.setdefault(name, reason)
    return found


def _short(subject: str) -> str:
    return subject if len(subject) <= SUBJECT else f"{subject[: SUBJECT - 3]}..."


def _key(kind: Kind, fact: Fact) -> dict[str, Any]:
    # By a digest: what was told must not keep the name of a tenant that is erased.
    digest = hashlib.sha256(json.dumps([kind, fact.tenant, fact.identity]).encode()).hexdigest()
    return {"pk": {"S": "alerts"}, "sk": {"S": digest}}
