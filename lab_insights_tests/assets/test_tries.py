"""One tenant's trouble, and the others: what passes by itself is tried again, what does not is not, and nobody waits for the slow."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from lab_insights import retries
from lab_insights.errors import SourceError, SourceUnavailable
from lab_insights.extract.sources import Sources
from lab_insights_tests.assets.world import AURORA, BIRCHWOOD, FIRST, GHOST, World, told

pytest_plugins = ("lab_insights_tests.assets.fixtures",)
pytestmark = pytest.mark.xdist_group("laboratory")
ACCOUNT = dg.AssetKey(["raw", "crm", "account"])
Load = Callable[[Sources, Any, Any], Any]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each tenant's table was loaded; nobody waits between two tries."""
    monkeypatch.setattr(retries.time, "sleep", lambda _: None)
    return Counter()


def _loading(monkeypatch: pytest.MonkeyPatch, calls: Counter[str], before: Callable[[str, int], None]) -> None:
    load = Sources.load

    def watched(self: Sources, table: Any, request: Any) -> Any:
        calls[table.tenant] += 1
        before(table.tenant, calls[table.tenant])
        return load(self, table, request)

    monkeypatch.setattr(Sources, "load", watched)
    # A closed day would be loaded by nobody.
    monkeypatch.setattr(Sources, "closed", lambda *_: [])


def test_a_source_that_is_gone_for_a_moment_fails_nobody(world: World, calls: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(tenant: str, attempt: int) -> None:
        if tenant == AURORA and attempt == 1:
            raise SourceUnavailable("Source crm broke off.", remedy="wait.")

    _loading(monkeypatch, calls, gone)
    result = world.run("raw", [AURORA, BIRCHWOOD], [FIRST], assets=[ACCOUNT])
    assert result.success, told(result)
    assert calls == {AURORA: 2, BIRCHWOOD: 1}
    assert set(world.materialized(result.run_id).values()) == {1}, "each partition once, whatever was tried for it"


def test_a_permanent_fault_is_not_tried_again_and_one_that_lasts_is_given_up(
    world: World, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(tenant: str, _: int) -> None:
        raise (SourceError if tenant == AURORA else SourceUnavailable)("It can not be read.", remedy="mend it.")

    _loading(monkeypatch, calls, broken)
    result = world.run("raw", [AURORA, BIRCHWOOD], [FIRST], assets=[ACCOUNT])
    assert "2 of 2 tenants failed" in told(result)["raw_crm"]
    assert calls == {AURORA: 1, BIRCHWOOD: 1 + len(retries.WAITS)}


def test_a_slow_tenant_does_not_keep_the_others_waiting(world: World, calls: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    others = threading.Event()

    def slow(tenant: str, _: int) -> None:
        if tenant != AURORA:
            others.set()
        elif not others.wait(60):
            raise SourceError("The others were never begun.", remedy="none.")

    _loading(monkeypatch, calls, slow)
    result = world.run("raw", [AURORA, BIRCHWOOD], [FIRST], assets=[ACCOUNT])
    assert result.success, told(result)


@pytest.mark.parametrize(
    ("step", "config", "refused"),
    [
        ("raw_crm", {"reload": True, "mode": "full"}, "contradict each other"),
        ("raw_notifications", {"engine": "spark"}, "Spark does not read DynamoDB"),
        ("raw_user_defined", {"tables": ["nowhere.udt_visit"]}, "No source has the tables nowhere.udt_visit"),
    ],
    ids=["reload and full", "Spark for DynamoDB", "tables of no source"],
)
def test_choices_that_can_not_be_are_refused_with_the_remedy_before_anything_is_read(
    world: World, calls: Counter[str], monkeypatch: pytest.MonkeyPatch, step: str, config: dict[str, Any], refused: str
) -> None:
    _loading(monkeypatch, calls, lambda *_: None)
    assets = {"raw_crm": ACCOUNT, "raw_notifications": dg.AssetKey(["raw", "notifications", "critical_notification"])}
    chosen = [assets.get(step, dg.AssetKey(["raw", "user_defined"]))]
    result = world.run("raw", [AURORA], [FIRST], assets=chosen, config={"ops": {step: {"config": config}}})
    assert refused in told(result)[step]
    assert "Remedy:" in told(result)[step]
    assert calls == {}


def test_a_run_takes_the_tables_and_the_engine_that_it_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []
    load = Sources.load

    def watched(self: Sources, table: Any, request: Any) -> Any:
        seen.append((table.table_id, self.plan(table, engine=request.engine).engine))
        return load(self, table, request)

    monkeypatch.setattr(Sources, "load", watched)

    def run(*tables: str) -> list[tuple[str, str | None]]:
        seen.clear()
        config = {"ops": {"raw_user_defined": {"config": {"tables": list(tables), "engine": "arrow"}}}}
        result = world.run("raw", [AURORA], [FIRST], assets=[dg.AssetKey(["raw", "user_defined"])], config=config)
        assert result.success, told(result)
        return list(seen)

    [(one, _)] = run()
    assert run(one) == [(one, "arrow")]
    assert run("crm.udt_nothing") == []


def test_the_receipt_previews_the_columns_and_no_value(world: World) -> None:
    result = world.run("everything", [AURORA], [FIRST], assets=[ACCOUNT, dg.AssetKey(["curated", "account"])])
    assert result.success, told(result)
    shown = world.metadata(result.run_id, "curated/account", f"{FIRST}|{AURORA}")
    assert "| name | string | 100% |" in shown["preview"]
    assert shown["cpu_seconds"] > 0
    with world.warehouse.session("test") as session:
        session.execute(f'USE SCHEMA "LAB_INSIGHTS_{AURORA.upper()}"."CURATED"')
        names = [str(row[0]) for row in session.execute("SELECT NAME FROM ACCOUNT")]
    assert names
    assert not any(name in shown["preview"] for name in names)


def test_the_ghost_is_not_tried_again_since_a_schema_does_not_come_by_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waits.append)
    assert not world.run("raw", [GHOST], [FIRST], assets=[ACCOUNT]).success
    assert waits == []
