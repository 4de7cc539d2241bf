"""What accounts, providers and patients have: orders, results, cases, tasks and memos, each counted, with the last time and the newest five keys.

What messages alone tell is of the owner that theirs is linked to; an order that the laboratory's system has as well is that system's, with its results.
What a patient has who was merged is of the one who survives.
All fifteen pairs are made by one expression for each owner, from what is declared here: one window, one aggregation and one join, however many pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lab_insights.lab.joins import account_codes, order_links
from lab_insights.lab.terminology import REPORTED
from lab_insights.lab.transform import VERSION, Field, Inputs, newest_first

if TYPE_CHECKING:
    import ibis.expr.types as ir

Owner = Literal["account", "provider", "patient"]
NEWEST = 5


@dataclass(frozen=True)
class Activity:
    """Something that owners have, in the curated `table`; `at` is its time, and `own` the column that names its owner.

    A column of `own` that the table lacks is its order's. What is `linked` belongs to those that `activity_link` names as well.
    Where `statuses` are given, rows of another `status_norm` are none.
    """

    name: str
    table: str
    key: str
    at: str
    own: Mapping[Owner, str]
    linked: bool = False
    statuses: tuple[str, ...] = ()


_BY_ORDER: Mapping[Owner, str] = {"account": "account_host_code", "provider": "provider_id", "patient": "patient_id"}
ACTIVITIES = (
    Activity("order", "lab_order", "lab_order_id", "ordered_at", _BY_ORDER),
    Activity("result", "result", "result_id", "resulted_at", _BY_ORDER, statuses=(*REPORTED, "preliminary")),
    Activity(
        "case",
        "crm_case",
        "case_id",
        "opened_at",
        {"account": "account_id", "provider": "provider_id", "patient": "patient_mrn"},
        linked=True,
    ),
    Activity("task", "crm_task", "task_id", "created_at", {"account": "account_id"}, linked=True),
    Activity("memo", "crm_memo", "memo_id", "created_at", {"account": "account_id"}, linked=True),
)
_ACTIVITY = ("kind", "key", "at", "is_open", "live", "changed")
_NAMING = ("direct", "number", "connection")
# What `activity_link` calls an owner.
_LINKED_AS: Mapping[Owner, str] = {"account": "account", "provider": "contact", "patient": "patient"}
TABLES = (*(activity.table for activity in ACTIVITIES), "activity_link", "patient")
"""The curated tables that any owner's pairs are made of; an account's need those of its codes, too."""


def fields() -> tuple[Field, ...]:
    """Return the columns that each profile carries."""
    return tuple(
        each
        for activity in ACTIVITIES
        for each in (
            Field(
                f"{activity.name}_count",
                "int64",
                f"How many {activity.name}s there are{_counted(activity)}; those that users deleted are none.",
            ),
            Field(f"last_{activity.name}_at", "timestamp", f"Time of the newest {activity.name} ({activity.at}), UTC."),
            Field(
                f"newest_{activity.name}s",
                "json",
                f"The {activity.key} of the newest {NEWEST} {activity.name}s, the newest first, as a JSON array; null where there is none.",
            ),
        )
    )


def _counted(activity: Activity) -> str:
    return f" ({', '.join(activity.statuses)})" if activity.statuses else ""


def had(inputs: Inputs, owner: Owner, owners: ir.Table, merged: ir.Table | None = None) -> tuple[ir.Table, ir.Table]:
    """Return a row per `owner_id` with the columns of `fields` and `open_case_count`, and the `owner_id` of those that the day touched.

    What an owner of messages has is that of the owner which it is linked to, where `owners` says so; what a patient has (`joins.merged_people`) the survivor's.
    """
    import ibis

    rows = _activities(inputs, owner)
    links = inputs.live("activity_link")
    its = links.filter(links.record_type == _LINKED_AS[owner]).select("activity_type", "activity_id", "record_id")
    linked = its.join(rows, [its.activity_type == rows.kind, its.activity_id == rows["key"]])
    # An activity that names its owner is linked to it as well, and is one all the same.
    named = "number" if owner == "patient" else "direct"
    others = linked.filter(linked[named].isnull() | (linked[named] != linked.record_id))
    none = {name: ibis.null("string") for name in _NAMING}
    changed = inputs.changed("activity_link")
    relinked = changed.filter(changed.record_type == _LINKED_AS[owner]).select(
        kind=changed.activity_type, key=changed.activity_id, at=ibis.null("timestamp(6)"), is_open=False, live=False, changed=True,
        **{**none, named: changed.record_id},
    )  # fmt: skip
    told = ibis.union(rows.select(*_ACTIVITY, *_NAMING), others.select(*_ACTIVITY, **{**none, named: others.record_id}), relinked)
    found = _resolved(inputs, owner, owners, merged, told)
    return _summed(found.filter(found.live)), found.filter(found.changed).select("owner_id").distinct()


def _activities(inputs: Inputs, owner: Owner) -> ir.Table:
    """The activities that are there (`live`), and every version of those that changed on the day, with what names their owner.

    That is its identifier (`direct`), or a `number` of it: a medical record number, or a code together with the `connection` whose it is.
    """
    import ibis

    keys = [inputs.day(each.table).select(changed_kind=ibis.literal(each.name), changed_key=each.key) for each in ACTIVITIES]
    changed = ibis.union(*keys).distinct()
    every = newest_first(ibis.union(*(_versions(inputs, each, owner) for each in ACTIVITIES)), ["kind", "key"])
    links = order_links(inputs)
    marked = every.left_join(changed, [every.kind == changed.changed_kind, every["key"] == changed.changed_key])
    marked = marked.left_join(links, marked.order_id == links.told_order)
    marked = marked.mutate(
        live=(marked["__rank"] == 0) & ~marked.gone & marked.linked_order_id.isnull(),
        changed=marked.changed_key.notnull() | marked.relinked.fill_null(False),
    )
    rows = marked.filter(marked.live | marked.changed)
    if owner == "patient":
        return rows
    orders = rows.filter((rows.kind == "order") & rows.live)
    order = orders.select(of_order="key", **{f"order_{name}": name for name in _NAMING})
    with_order = rows.left_join(order, rows.order_id == order.of_order)
    return with_order.mutate(**{name: with_order[name].coalesce(with_order[f"order_{name}"]) for name in _NAMING})


def _versions(inputs: Inputs, activity: Activity, owner: Owner) -> ir.Table:
    """Every version of an activity, in the columns that all activities share."""
    import ibis

    rows, column, null = inputs.versions(activity.table), activity.own.get(owner), ibis.null("string")
    naming = dict.fromkeys((*_NAMING, "order_id"), null)
    if column == "account_host_code" and column in rows.columns:
        naming |= {"number": rows[column], "connection": rows.connection_id}
    elif column == "patient_mrn":
        naming["number"] = rows[column]
    elif column in rows.columns:
        naming["direct"] = rows[column]
    if activity.own is _BY_ORDER:
        naming["order_id"] = rows.lab_order_id
    gone = rows.is_deleted | rows.is_removed.fill_null(False) if "is_removed" in rows.columns else rows.is_deleted
    if activity.statuses:
        gone = gone | ~rows.status_norm.isin(activity.statuses).fill_null(False)
    is_open = (rows.status != "closed").fill_null(False) if activity.name == "case" else ibis.literal(False)
    shared = {"kind": ibis.literal(activity.name), "key": rows[activity.key], "at": rows[activity.at], "is_open": is_open, "gone": gone}
    return rows.select(**shared, **naming, **{name: rows[name] for name in VERSION})


def _resolved(inputs: Inputs, owner: Owner, owners: ir.Table, merged: ir.Table | None, rows: ir.Table) -> ir.Table:
    """Rows with their `owner_id`, which is the one that theirs is linked to or was merged into; those that have none are left out."""
    linked = owners[f"linked_{owner}_id"]
    if owner == "account":
        codes = account_codes(inputs).select("code_connection", "code", person="account_id")
        rows = rows.left_join(codes, [rows.connection == codes.code_connection, rows.number == codes.code])
    elif owner == "patient":
        # Whom a patient is linked to has the same number, and is found by it.
        person = owners.filter(~owners.is_deleted & linked.isnull()).select(person=owners.patient_id, mrn=owners.mrn)
        rows = rows.left_join(person, rows.number == person.mrn)
    found = rows.mutate(owner_id=rows.direct if owner == "provider" else rows.direct.coalesce(rows.person))
    same = owners.select(told_owner=owners[f"{owner}_id"], linked_owner=linked)
    if merged is not None:
        same = same.left_join(merged, same.told_owner == merged.person)
        same = same.select("told_owner", linked_owner=same.surviving_patient_id.coalesce(same.linked_owner))
    same = same.filter(same.linked_owner.notnull())
    found = found.left_join(same, found.owner_id == same.told_owner)
    found = found.mutate(owner_id=found.linked_owner.coalesce(found.owner_id))
    found = found.filter(found.owner_id.notnull()).select(*_ACTIVITY, "owner_id")
    # What names two patients who are one is one all the same.
    return found.distinct() if merged is not None else found


def _summed(rows: ir.Table) -> ir.Table:
    import ibis

    order = [ibis.desc("at", nulls_first=False), ibis.asc("key")]
    ranked = rows.mutate(place=ibis.row_number().over(ibis.window(group_by=["owner_id", "kind"], order_by=order)))
    keys = {f"key_{place}": ranked["key"].max(where=ranked.place == place) for place in range(NEWEST)}
    each = ranked.group_by("owner_id", "kind").agg(count=ranked.count(), last=ranked["at"].max(), open=ranked.is_open.sum(), **keys)
    told = [ibis.literal('"') + each[name].replace("\\", "\\\\").replace('"', '\\"') + '"' for name in keys]
    newest = ibis.literal("[") + told[0]
    for text in told[1:]:
        newest = newest + (ibis.literal(",") + text).fill_null("")
    each = each.mutate(newest=newest + "]")
    wanted: dict[str, ir.Value] = {"open_case_count": each.open.sum()}
    for activity in ACTIVITIES:
        its, name = each.kind == activity.name, activity.name
        wanted[f"{name}_count"] = each["count"].sum(where=its).fill_null(0)
        wanted[f"last_{name}_at"], wanted[f"newest_{name}s"] = each["last"].max(where=its), each.newest.max(where=its)
    return each.group_by("owner_id").agg(**wanted)
