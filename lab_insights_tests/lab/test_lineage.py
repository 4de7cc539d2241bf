"""Column lineage: derived from what computes each column, kept as the code says, and walked from a KPI to the source."""

from __future__ import annotations

import ibis
import pyarrow as pa

from lab_insights.lab import tracing
from lab_insights.lab.contracts import contracts
from lab_insights.lab.engine import Query
from lab_insights.lab.kpis import REPORTS
from lab_insights.lab.kpis.model import MINUTES
from lab_insights.lab.lineage import CACHE, at_source, lineage
from lab_insights.lab.tracing import trace
from lab_insights.lab.unpivot import unpivoted
from lab_insights.lab.wide import WIDE_TABLES


def test_the_kept_lineage_is_what_the_expressions_say() -> None:
    assert CACHE.read_text() == tracing.written(), f"the definitions changed: {tracing.COMMAND}"


def test_values_are_followed_through_joins_windows_aggregates_unions_and_what_chooses_rows_is_not() -> None:
    a = ibis.table({"k": "string", "x": "int64", "y": "int64", "z": "string"}, name="a")
    b = ibis.table({"k": "string", "w": "int64"}, name="b")
    summed = b.group_by("k").agg(total=b.w.sum(where=b.k != "q"), n=b.count())
    both = a.filter(a.z == "1").left_join(summed, "k").drop("k_right")
    ranked = both.mutate(place=ibis.row_number().over(group_by="z", order_by="y"), most=both.x.max().over(group_by="z"))
    shown = ranked.select("k", "total", "n", "place", "most", kind=(ranked.z == "u").ifelse(ranked.y, 0))
    found = trace(Query(shown.union(shown.mutate(n=shown.total))))
    assert found == {
        "k": {("a", "k")},
        "total": {("b", "w")},
        "n": {("b", "w")},
        "place": set(),
        "most": {("a", "x")},
        "kind": {("a", "z"), ("a", "y")},
    }


def test_of_a_union_only_the_part_is_followed_that_has_the_constant_which_is_asked_for() -> None:
    a, b = (ibis.table({"k": "string", "x": "int64"}, name=name) for name in ("a", "b"))
    both = a.mutate(kind=ibis.literal("a")).union(b.mutate(kind=ibis.literal("b")))
    each = both.group_by("k", "kind").agg(most=both.x.max(where=both.x != 3))
    found = trace(Query(each.group_by("k").agg(a=each.most.max(where=each.kind == "a"), any=each.most.max())))
    assert found == {"k": {("a", "k"), ("b", "k")}, "a": {("a", "x")}, "any": {("a", "x"), ("b", "x")}}


def test_a_table_turned_to_rows_has_its_values_from_every_column() -> None:
    schema = pa.schema([("id", pa.int64()), ("a", pa.string()), ("b", pa.int64()), ("is_deleted", pa.bool_())])
    found = trace(unpivoted(schema, ("id",)))
    assert found["row_key"] == {("rows", "id")}
    assert {("rows", "a"), ("rows", "b")} <= found["value_text"]


def test_a_kpi_column_leads_through_every_layer_to_the_columns_of_the_sources() -> None:
    assert ("sources/lis/lab_order", "ordered_at") in at_source("reports/turnaround", "median_minutes")
    assert ("sources/lis/result", "verified_at") in at_source("reports/turnaround", "median_minutes")
    assert ("sources/lis/result", "status_raw") in at_source("reports/turnaround", "median_minutes")
    assert at_source("reports/daily_activity", "orders") == (), "it is counted"
    assert ("sources/messages/message", "body") in at_source("curated/message_result", "value_raw")


def test_the_time_since_an_order_is_measured_in_one_place_which_knows_midnights_add_ons_and_partial_panels() -> None:
    """`daily_activity` once measured it anew: orders of a date only had the median of a morning."""
    ordered, verified = ("sources/lis/lab_order", "ordered_at"), ("sources/lis/result", "verified_at")
    measured = {
        report.name
        for report in REPORTS
        for name, column in report.columns.items()
        if report.inputs and column.type == MINUTES and {ordered, verified} <= {*at_source(f"reports/{report.name}", name)}
    }
    assert measured == {"ordered_test"}, "the others are counted from its facts alone"


def test_every_column_of_a_contract_and_of_a_wide_table_is_followed_to_a_source() -> None:
    asked = [(f"snowflake/{contract.table}", column.name) for contract in contracts().values() for column in contract.columns]
    asked += [(f"snowflake/{wide.table}", field.name) for wide in WIDE_TABLES for field in wide.fields if not field.name.endswith("_count")]
    # Constants, what a batch says of its rows, and what only a deployment's own mappings fill.
    ours = {"unread_times", "removed_at", "is_lower_bound", "record_type"}
    counted = {("snowflake/result_component_long", "sequence")}
    assert [each for each in asked if not at_source(*each) and each[1] not in ours and each not in counted] == []
    assert {f"reports/{report.name}" for report in REPORTS} <= lineage().keys()
