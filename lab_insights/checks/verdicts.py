"""The verdicts that stand, in DynamoDB: which check fails for which tenant, table and day.

`<prefix>-status`, `checks#<check>`: one item a verdict, under `<asset>#<tenant>#<table>#<day>`. What passes has no item.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date

from lab_insights.errors import LabInsightsError
from lab_insights.lake.items import Item, Items
from lab_insights.names import TenantId

RECONCILED = "reconciled"
UNIQUE_GRAIN = "unique_grain"
NO_CROSS_TENANT_ROW = "no_cross_tenant_row"
SCHEMA_UNCHANGED = "schema_unchanged"
NO_ORPHANS = "no_orphans"
FRESH = "fresh"
COST_AS_USUAL = "cost_as_usual"
NO_PARTITION_LEFT_FAILED = "no_partition_left_failed"
# What a layer's rows must pass before the next layer reads them.
GATES = (NO_CROSS_TENANT_ROW, UNIQUE_GRAIN)


class HeldBack(LabInsightsError):
    """A tenant's day that is not carried on, because a check of its input fails."""


@dataclass(frozen=True, order=True)
class Subject:
    """What was evaluated: a check of an asset, for one table of a tenant, and the day; None for the table as a whole, which covers every day of it."""

    check: str
    asset: str
    tenant: TenantId
    table: str
    day: date | None = None

    @property
    def key(self) -> dict[str, Item]:
        """The key of its item."""
        return {"pk": {"S": _pk(self.check)}, "sk": {"S": f"{self.asset}#{self.tenant}#{self.table}#{self.day or ''}"}}

    def covers(self, other: Subject) -> bool:
        """Return whether a judgement of this says something about `other`."""
        same = (self.check, self.asset, self.tenant, self.table) == (other.check, other.asset, other.tenant, other.table)
        return same and self.day in {None, other.day}


@dataclass(frozen=True)
class Judgement:
    """One evaluation; without a `message` it passed. `numbers` are counts and names of columns, never values."""

    of: Subject
    message: str = ""
    numbers: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.message

    def __str__(self) -> str:
        day = f" {self.of.day}" if self.of.day else ""
        return f"{self.of.tenant} {self.of.table}{day}: {self.message}"


@dataclass(frozen=True)
class Verdicts(Items):
    """The failed judgements of one deployment that stand."""

    def standing(self, check: str, assets: Collection[str] = ()) -> list[Judgement]:
        """Return what fails by a check now, of some assets or of all, in order."""
        between = (f"{min(assets)}#", f"{max(assets)}#~") if assets else None
        found = (_judgement(item) for item in self.query(self.status, _pk(check), between))
        return [each for each in found if not assets or each.of.asset in assets]

    def settle(self, judgements: Collection[Judgement]) -> list[Judgement]:
        """Write what fails, delete what passes by now, and return all that stands of the checks and assets that were judged."""
        stands: list[Judgement] = []
        for check in dict.fromkeys(each.of.check for each in judgements):
            mine = [each for each in judgements if each.of.check == check]
            before = {each.of: each for each in self.standing(check, {each.of.asset for each in mine})}
            for old in [of for of in before if any(each.of.covers(of) for each in mine)]:
                del before[old]
                if not any(each.of == old and not each.passed for each in mine):
                    self.db.delete_item(TableName=self.status, Key=old.key)
            for each in mine:
                if not each.passed:
                    self._put(each)
                    before[each.of] = each
            stands += [before[of] for of in sorted(before, key=_order)]
        return stands

    def _put(self, failed: Judgement) -> None:
        of = failed.of
        body = {"asset": of.asset, "table": of.table, "day": str(of.day or ""), "message": failed.message, "numbers": dict(failed.numbers)}
        self.db.put_item(
            TableName=self.status,
            Item={**of.key, "tenant": {"S": of.tenant}, "check": {"S": of.check}, "body": {"S": json.dumps(body)}},
        )


@dataclass(frozen=True)
class Gate:
    """What stands against the input of a layer: read once when its step begins, asked for each tenant's day."""

    standing: tuple[Judgement, ...]

    @classmethod
    def of(cls, verdicts: Verdicts, layers: Collection[str], checks: Collection[str] = GATES) -> Gate:
        """Return the gate behind `layers`."""
        found = (each for check in checks for each in verdicts.standing(check))
        return cls(tuple(each for each in found if each.of.asset.partition("/")[0] in layers))

    def pass_(self, tenant: TenantId, day: date) -> None:
        """Raise `HeldBack` when the input of this tenant's day fails a check; no other tenant is asked about."""
        against = [each for each in self.standing if each.of.tenant == tenant and each.of.day in {None, day}]
        if against:
            first = against[0]
            raise HeldBack(
                f"{len(against)} checks of its input fail; the first is {first.of.check} of {first.of.asset}: {first.message}.",
                remedy=f"mend it (docs/runbooks/{'reconciliation' if first.of.check == RECONCILED else 'data-checks'}.md), "
                f"then materialize {first.of.asset} for this day again.",
                tenant=tenant,
                table=first.of.table,
                partition=str(day),
            )


def _pk(check: str) -> str:
    return f"checks#{check}"


def _order(of: Subject) -> tuple[str, str, date]:
    return of.tenant, of.table, of.day or date.min


def _judgement(item: Item) -> Judgement:
    body = json.loads(item["body"])
    day = date.fromisoformat(body["day"]) if body["day"] else None
    return Judgement(Subject(item["check"], body["asset"], TenantId(item["tenant"]), body["table"], day), body["message"], body["numbers"])
