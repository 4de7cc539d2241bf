"""The Dagster UI in a real browser: the graph reads as the architecture, a partition is materialized from it, and a check that fails is seen."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from lab_insights.warehouse.provision import use
from lab_insights_tests.assets.world import AURORA, FIRST, told
from lab_insights_tests.ui.conftest import ARGUMENTS, CHROMIUM, SCREENSHOTS, Ui

pytestmark = pytest.mark.slow
LAYERS = ("sources", "raw", "curated", "transformed", "snowflake", "reports")
# How long a page, and how long a run, may take on a busy machine; nothing is asserted of it.
PAGE, RUN = 240_000, 600_000


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = browser.new_page(viewport={"width": 1600, "height": 1000})
        opened.set_default_timeout(PAGE)
        yield opened
        browser.close()


def test_the_graph_shows_each_layer_as_a_group(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.url}/asset-groups/")
    for layer in LAYERS:
        expect(page.get_by_text(layer, exact=True).first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "graph.png")


def test_a_partition_is_materialized_from_the_ui_to_success(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.url}/assets/raw/audit/audit_event")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog").first
    dialog.get_by_placeholder("ex: ").fill(str(FIRST))
    dialog.get_by_role("button", name="All").last.click()
    launch = dialog.get_by_role("button", name="Launch")
    expect(launch).to_be_enabled(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "materialize.png")
    launch.click()
    expect(dialog).to_be_hidden(timeout=PAGE)

    page.goto(f"{ui.url}/runs")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=RUN)
    page.screenshot(path=SCREENSHOTS / "runs.png")

    [batch] = ui.world.lake.state.batches("raw", AURORA, "audit.audit_event", FIRST, FIRST)
    assert batch.rows > 0
    assert f"{FIRST}|{AURORA}" in ui.world.instance.get_materialized_partitions(dg.AssetKey(["raw", "audit", "audit_event"]))


def test_a_failed_reconciliation_is_a_failed_check_of_the_asset_with_the_tenant_and_the_numbers(ui: Ui, page: Page) -> None:
    chain = [dg.AssetKey(path) for path in (["raw", "crm", "account"], ["curated", "account"], ["snowflake", "account"])]
    result = ui.world.run("everything", [AURORA], [FIRST], assets=chain)
    assert result.success, told(result)
    whole = ui.world.count(AURORA, "CURATED.ACCOUNT")
    with ui.world.warehouse.session("test") as session:
        use(session, AURORA)
        session.execute("DELETE FROM CURATED.ACCOUNT WHERE ACCOUNT_ID = (SELECT MIN(ACCOUNT_ID) FROM CURATED.ACCOUNT)")
    assert ui.world.operate("reconcile").success

    page.goto(f"{ui.url}/assets/snowflake/account?view=checks&checkDetail=reconciled")
    expect(page.get_by_text("reconciled", exact=True).first).to_be_visible(timeout=PAGE)
    expect(page.get_by_text("Failed", exact=False).first).to_be_visible(timeout=PAGE)
    expect(page.get_by_text("failing_tenants").first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "failed-check.png")
    expect(page.get_by_text(AURORA, exact=True).first).to_be_visible(timeout=PAGE)
    expect(page.get_by_text(f"the lake has {whole} live rows and 0 tombstones, the warehouse {whole - 1} and 0").first).to_be_visible(
        timeout=PAGE
    )
