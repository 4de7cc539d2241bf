"""The page of a tenant-day, as the asset graph makes it."""

from __future__ import annotations

import re
import urllib.request
from datetime import UTC, datetime, time

import pytest

from lab_insights.partitions import partition_key
from lab_insights.tenants.registry import Registry, Tenant
from lab_insights_tests.assets.world import AURORA, FIRST, SECOND, Loaded, told

pytest_plugins = ("lab_insights_tests.assets.fixtures",)
pytestmark = pytest.mark.xdist_group("laboratory")


def test_each_tenant_day_has_a_page_that_its_materialization_links(loaded: Loaded) -> None:
    assert loaded.result.success, told(loaded.result)
    for day in (FIRST, SECOND):
        metadata = loaded.world.metadata(loaded.result.run_id, "reports/daily_page", str(partition_key(day, AURORA)))
        assert metadata["bytes"] < 1_000_000
        with urllib.request.urlopen(metadata["page"]) as answer:
            html = answer.read().decode()
        assert f"{day:%A}, {day.day} {day:%B %Y}" in html
        assert "Aurora Clinic" in html
        assert loaded.world.resource.registry().get(AURORA).zone in html
        with urllib.request.urlopen(metadata["deidentified_page"]) as answer:
            shared = answer.read().decode()
        assert "Aurora" not in shared


def test_the_page_says_that_what_was_landed_is_what_was_loaded(loaded: Loaded) -> None:
    metadata = loaded.world.metadata(loaded.result.run_id, "reports/daily_page", str(partition_key(FIRST, AURORA)))
    with urllib.request.urlopen(metadata["page"]) as answer:
        _, _, delivered = answer.read().decode().partition("From the source to the warehouse")
    assert delivered.count("<td>yes</td>") >= 8
    rows = re.findall(r'<th scope="row">(.+?)</th>(.*)', delivered)
    assert [name for name, cells in rows if "<td>no</td>" in cells] == []


def test_a_day_before_the_tenants_registration_says_that_it_is_computed_as_known_now(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, get = loaded.world, Registry.get
    began = datetime.combine(SECOND, time(0), UTC)

    def registered(self: Registry, tenant: str) -> Tenant:
        return get(self, tenant).model_copy(update={"registered_at": began, "zone": "UTC"})

    monkeypatch.setattr(Registry, "get", registered)
    every = world.definitions.resolve_job_def("everything").asset_layer.executable_asset_keys
    result = world.run("everything", [AURORA], [FIRST, SECOND], assets=[key for key in every if key.path[0] == "reports"])
    assert result.success, told(result)
    for name in ("daily_page", "turnaround"):
        before, after = (
            world.metadata(result.run_id, f"reports/{name}", str(partition_key(day, AURORA))).get("before_onboarding")
            for day in (FIRST, SECOND)
        )
        now = world.lake.clock.now().date()
        assert before == f"The tenant was registered on {SECOND}: this day is computed as known on {now}."
        assert after is None
