"""The Dagster UI in a real browser: the graph reads as the architecture, a partition is materialized from it, and a check that fails is seen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from lab_insights.warehouse.provision import use
from lab_insights_tests.assets.world import AURORA, FIRST, told
from lab_insights_tests.ui.conftest import ARGUMENTS, CHROMIUM, DAYS, GRID, SCREENSHOTS, TENANTS, Ui

pytestmark = pytest.mark.slow
LAYERS = ("sources", "raw", "curated", "transformed", "snowflake", "reports")
# How long a page, and how long a run, may take on a busy machine; nothing is asserted of it.
PAGE, RUN = 240_000, 600_000


COLOURED = """canvas => {
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let coloured = 0;
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue, alpha] = data.slice(at, at + 4);
    coloured += alpha > 128 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60;
  }
  return coloured > 200;
}"""


def _choose_tenants(page: Page, dialog: Locator, *tenants: str) -> None:
    """Tick tenants in the menu of the dialog that launches runs."""
    dialog.get_by_text("Select a partition or create one").click()
    for tenant in tenants:
        page.get_by_text(tenant, exact=True).first.click()
    page.keyboard.press("Escape")


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
    _choose_tenants(page, dialog, AURORA)
    launch = dialog.get_by_role("button", name="Launch")
    expect(launch).to_be_enabled(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "materialize.png")
    launch.click()
    expect(dialog).to_be_hidden(timeout=PAGE)

    page.goto(f"{ui.url}/runs?q%5B0%5D=status%3ASUCCESS&q%5B1%5D=tag%3Adagster%2Fpartition%3D{FIRST}%7C{AURORA}")
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
    expect(page.get_by_text(AURORA, exact=True).first).to_be_visible(timeout=PAGE)
    numbers = page.get_by_text(f"the lake has {whole} live rows and 0 tombstones, the warehouse {whole - 1} and 0").first
    expect(numbers).to_be_visible(timeout=PAGE)
    numbers.scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / "failed-check.png")


def test_the_lineage_of_a_table_shows_each_layer_with_its_kinds(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.url}/assets/snowflake/account?view=lineage&lineageScope=upstream&lineageDepth=4")
    for kind in ("Snowflake", "DuckDB", "Parquet"):
        expect(page.get_by_text(kind, exact=True).first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "lineage.png")
    for layer in ("curated", "raw", "sources"):
        expect(page.get_by_text(layer, exact=True).first).to_be_visible(timeout=PAGE)


def test_a_kpis_column_leads_to_the_columns_of_the_sources(ui: Ui, page: Page) -> None:
    """By a table with links: the open-source UI draws no graph of columns."""
    page.goto(f"{ui.url}/assets/reports/turnaround")
    shown = page.get_by_role("row").filter(has=page.get_by_text("column lineage", exact=True)).get_by_text("[Show Markdown]")
    shown.click(timeout=PAGE)
    try:
        expect(page.get_by_role("dialog")).to_be_visible(timeout=20_000)
    except AssertionError:  # a row that the page draws anew meanwhile, since the asset's events have come, takes no click
        shown.click()
    its = page.get_by_role("dialog").get_by_role("row").filter(has=page.get_by_text("p90_minutes", exact=True))
    expect(its).to_contain_text("reports/ordered_test total_minutes", timeout=PAGE)
    expect(its).to_contain_text("sources/lis/result verified_at")
    its.scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / "column-lineage.png")
    its.get_by_role("link", name="sources/lis/result", exact=True).first.click()
    expect(page).to_have_url(re.compile("/assets/sources/lis/result"), timeout=PAGE)


def test_an_asset_shows_what_it_is_with_links_to_what_it_is_made_from(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.url}/assets/curated/account")
    made_from = page.get_by_role("link", name="raw/crm/account")
    expect(made_from).to_be_visible(timeout=PAGE)
    for shown in ("client-services", "DuckDB", "phi: operational", "domain: crm"):
        expect(page.get_by_text(shown, exact=True).first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "asset.png")
    made_from.click()
    expect(page).to_have_url(re.compile("/assets/raw/crm/account"), timeout=PAGE)


def test_the_partition_page_shows_fifty_tenants_and_sixty_days(ui: Ui, page: Page) -> None:
    last = FIRST + timedelta(days=DAYS - 1)
    page.goto(f"{ui.url}/assets/{GRID.to_user_string()}?view=partitions")
    page.get_by_placeholder("ex: ").fill(f"[{FIRST}...{last}]")
    page.keyboard.press("Enter")
    # One more tenant than the grid has: the one with data.
    expect(page.get_by_text(f"{DAYS * (len(TENANTS) + 1):,} Partitions Selected")).to_be_visible(timeout=PAGE)
    expect(page.get_by_text(TENANTS[0], exact=True).first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "partitions.png")
    page.get_by_text(str(last), exact=True).first.click()
    page.get_by_text(TENANTS[7], exact=True).first.click()
    expect(page.get_by_text("dagster/partition_row_count").first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "partition.png")


def test_rows_over_time_are_plotted(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.url}/assets/{GRID.to_user_string()}")
    page.get_by_text("Plots", exact=True).first.click()
    # By partition it plots the newest 120 alone, which the grid of these tests does not have.
    page.get_by_text("Events", exact=True).last.click()
    expect(page.get_by_text("dagster/partition_row_count").first).to_be_visible(timeout=PAGE)
    plot = page.locator("canvas").first
    plot.scroll_into_view_if_needed()
    expect(plot).to_be_visible(timeout=PAGE)
    # Its line has a colour; axes and labels are grey.
    page.wait_for_function(COLOURED, arg=plot.element_handle(), timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "plots.png")


def test_a_backfill_of_a_rectangle_is_launched_from_the_ui(ui: Ui, page: Page) -> None:
    # Two tenants without a source: what is looked at is what is asked for.
    chosen = TENANTS[:2]
    page.goto(f"{ui.url}/assets/raw/crm/account")
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog").first
    dialog.get_by_placeholder("ex: ").fill(f"[{FIRST}...{FIRST + timedelta(days=1)}]")
    _choose_tenants(page, dialog, *chosen)
    launch = dialog.get_by_role("button", name="Launch backfill")
    expect(launch).to_be_enabled(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "backfill-dialog.png")
    launch.click()
    expect(dialog).to_be_hidden(timeout=PAGE)
    [backfill] = ui.world.instance.get_backfills()
    page.goto(f"{ui.url}/runs/b/{backfill.backfill_id}")
    expect(page.get_by_text(backfill.backfill_id).first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "backfill.png")
    asked = backfill.asset_backfill_data.target_subset.get_partitions_subset(dg.AssetKey(["raw", "crm", "account"]))  # type: ignore[union-attr]
    assert set(asked.get_partition_keys()) == {f"{FIRST + timedelta(days=day)}|{tenant}" for day in (0, 1) for tenant in chosen}


def test_the_launchpad_has_defaults_and_help_and_refuses_what_is_none(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.url}/locations/lab_insights.definitions/jobs/keep_lake/playground")
    expect(page.get_by_text("No errors")).to_be_visible(timeout=PAGE)
    expect(page.get_by_text("grace_hours").first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "launchpad.png")
    page.locator(".cm-content, .CodeMirror").first.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("\nnothing_such: 1\n")
    expect(page.get_by_text(re.compile("nothing_such.*at the root|undefined field", re.IGNORECASE)).first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "launchpad-refused.png")


def test_the_launchpad_of_a_load_offers_reload_and_engine_with_their_help(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.url}/locations/lab_insights.definitions/jobs/raw/playground")
    expect(page.get_by_text("No errors")).to_be_visible(timeout=PAGE)
    page.locator(".cm-content, .CodeMirror").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.type("ops:\n  raw_audit:\n    config:\n      ")
    for option, help_ in (("reload", "Read a closed day's window again"), ("engine", "Who reads")):
        expect(page.get_by_text(option).first).to_be_visible(timeout=PAGE)
        expect(page.get_by_text(help_).first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "launchpad-raw.png")


def test_schedules_and_sensors_say_what_they_do_and_why_they_skipped(ui: Ui, page: Page) -> None:
    base = f"{ui.url}/locations/lab_insights.definitions"
    page.goto(f"{ui.url}/automation")
    for name in ("daily", "checking", "curation_queue", "tenant_registry"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "automation.png")
    page.goto(f"{base}/schedules/checking")
    expect(page.get_by_text("On by default: it changes nothing").first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "schedule.png")
    page.goto(f"{base}/sensors/tenant_registry")
    tick = page.get_by_text("0 runs requested").first
    expect(tick).to_be_visible(timeout=RUN)
    tick.hover()
    expect(page.get_by_text(re.compile("[0-9]+ tenants[.]")).first).to_be_visible(timeout=PAGE)
    page.screenshot(path=SCREENSHOTS / "sensor.png")
