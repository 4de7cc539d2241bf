"""What a tenant's day holds, whoever asks for it: first, frequent, scheduled, past-day, `reload` and backfill runs of one table, through Dagster."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import dagster as dg
import pytest
import yaml

from lab_insights import retries
from lab_insights.extract.window import end_of, midnight
from lab_insights.lake.layout import Partition
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.tables import partition_manifests, relation, state
from lab_insights.partitions import partition_key
from lab_insights_tests.assets.world import BIRCHWOOD, DOVER, FIRST, SECOND, World, told

pytest_plugins = ("lab_insights_tests.assets.fixtures",)
pytestmark = pytest.mark.xdist_group("laboratory")
ASSET = dg.AssetKey(["raw", "user_defined"])


@dataclass
class Days:
    """A user-defined table of a tenant of the laboratory; `today` has just begun, and the days before it are in the source."""

    world: World
    today: date
    table: str = field(default_factory=lambda: f"udt_days_{uuid.uuid4().hex[:8]}")
    run_id: str = ""

    @property
    def physical(self) -> str:
        return f"{self.world.base}_crm_{DOVER}.{self.table}"

    def write(self, key: int, day: date, hour: float) -> None:
        """Write a row that the source stamped at an hour of a day."""
        at = midnight(day).replace(tzinfo=None) + timedelta(hours=hour)
        self.world.execute("crm", f"REPLACE INTO {self.physical} VALUES ({key}, '{at}')")

    def run(self, first: date, last: date | None = None, *, reload: bool = False, mode: str = "auto") -> dg.ExecuteInProcessResult:
        """Materialize the days as a person, a schedule or a backfill does."""
        config = {"ops": {"raw_user_defined": {"config": {"reload": reload, "mode": mode}}}}
        result = self.world.run("raw", [DOVER], [first, last or first], assets=[ASSET], config=config)
        self.run_id = result.run_id
        return result

    def load(self, first: date, last: date | None = None, *, reload: bool = False) -> None:
        result = self.run(first, last, reload=reload)
        assert result.success, told(result)

    def batches(self, day: date) -> list[Manifest]:
        return partition_manifests(self.world.lake, self.partition(day))

    def told(self, day: date) -> list[tuple[str, int, bool, bool]]:
        """Kind, rows, whether it supersedes and whether it is reconstructed, of the live batches of a day."""
        return [(each.kind, each.rows, each.supersedes, each.reconstructed) for each in self.batches(day)]

    def partition(self, day: date) -> Partition:
        return Partition("raw", DOVER, f"crm.{self.table}", day)

    @property
    def bookmark(self) -> datetime | None:
        return self.world.lake.state.head(self.partition(self.today)).position

    def keys(self) -> list[int]:
        """Every row that the lake holds, doubled ones twice."""
        its = state(self.world.lake, "raw", DOVER, f"crm.{self.table}")
        return sorted(relation(self.world.lake.storage, its.manifests, its.schema)["id"].to_pylist())


@pytest.fixture
def days(world: World) -> Iterator[Days]:
    """A table with a row at six o'clock of each of the last three days, which nobody has loaded yet."""
    made = Days(world, world.simulate())
    world.execute("crm", f"CREATE TABLE {made.physical} (id INT PRIMARY KEY, updated_at DATETIME(6) NOT NULL)")
    for back in range(3):
        made.write(back, made.today - timedelta(days=back), 6)
    yield made
    world.execute("crm", f"DROP TABLE {made.physical}")


def test_first_frequent_and_scheduled_runs_read_what_follows_the_bookmark_until_the_day_is_closed(days: Days) -> None:
    today, tomorrow = days.today, days.today + timedelta(days=1)
    days.world.at(today, 7)
    days.load(today)
    assert days.told(today) == [("snapshot", 3, False, False)]
    days.write(10, today, 8)
    days.world.at(today, 9)
    days.load(today)
    assert days.told(today)[1:] == [("delta", 1, False, False)]
    # others of this machine may have transactions open, which hold the ceiling back
    assert midnight(today) + timedelta(hours=8.5) < (days.bookmark or midnight(today)) < midnight(today) + timedelta(hours=9)
    days.write(11, today, 24)
    days.write(12, tomorrow, 0.25)
    days.world.at(tomorrow, 0.5)
    days.load(today)
    assert days.told(today)[2:] == [("delta", 1, False, False)]
    assert days.bookmark == end_of(today)
    closed = days.batches(today)
    days.load(today)
    assert days.batches(today) == closed, "a closed day reads nothing"
    days.load(tomorrow)
    assert days.told(tomorrow) == [("delta", 1, False, False)]
    assert days.keys() == [0, 1, 2, 10, 11, 12]


def test_a_past_day_is_reconstructed_by_its_window_and_moves_no_bookmark(days: Days) -> None:
    past = days.today - timedelta(days=1)
    days.world.at(days.today, 7)
    days.load(days.today)
    bookmark = days.bookmark
    days.load(past)
    assert days.told(past) == [("delta", 1, False, True)]
    assert days.bookmark == bookmark
    assert days.world.metadata(days.run_id, "raw/user_defined", str(partition_key(past, DOVER)))["quarantined_tables"] == 0
    assert set(days.keys()) == {0, 1, 2}


def test_a_reload_reads_a_closed_days_window_again_supersedes_it_and_keeps_the_old_manifests(days: Days) -> None:
    today, tomorrow = days.today, days.today + timedelta(days=1)
    days.world.at(today, 7)
    days.load(today)
    days.world.at(tomorrow, 0.5)
    days.load(today)
    before = days.batches(today)
    days.write(20, today, 10)
    days.load(today)
    assert days.batches(today) == before
    days.load(today, reload=True)
    assert days.told(today) == [("snapshot", 4, True, False)]
    assert all(days.world.lake.storage.manifest("raw", each.object_key) == each for each in before)
    assert days.bookmark == end_of(today)


def test_a_backfill_of_a_range_splits_it_at_midnights_and_what_follows_goes_on_from_there(days: Days) -> None:
    first, middle, today = (days.today - timedelta(days=back) for back in (2, 1, 0))
    days.world.at(today, 7)
    days.load(first, today)
    assert [days.told(day) for day in (first, middle, today)] == [
        [("snapshot", 1, False, True)],
        [("delta", 1, False, False)],
        [("delta", 1, False, False)],
    ]
    bookmark = days.bookmark
    days.load(first, middle)
    assert days.bookmark == bookmark, "a backfill never moves a bookmark back"
    days.write(30, today, 8)
    days.world.at(today, 9)
    days.load(today)
    assert days.keys() == [0, 1, 2, 30]


def test_a_past_day_of_a_table_without_a_cursor_is_a_clear_error(days: Days) -> None:
    past = days.today - timedelta(days=1)
    days.world.execute("crm", f"ALTER TABLE {days.physical} DROP COLUMN updated_at")
    days.world.at(days.today, 7)
    days.load(days.today)
    assert days.told(days.today) == [("snapshot", 3, True, False)]
    result = days.run(past)
    assert not result.success
    [message] = [entry.user_message for entry in days.world.instance.all_logs(result.run_id) if days.table in entry.user_message]
    assert "A past day's snapshot can not be taken today. Remedy: materialize today's partition" in message
    days.world.at(days.today + timedelta(days=1), 5)
    days.load(days.today)
    assert days.bookmark == end_of(days.today), "within six hours it is still the day's"


def test_a_closed_day_is_derived_again_while_its_source_is_gone_and_an_open_one_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.home / "lab_insights.yaml"
    before = path.read_text()
    content = yaml.safe_load(before)
    content["sources"]["crm"]["url"] = "env:URL_OF_NOTHING"
    monkeypatch.setenv("URL_OF_NOTHING", "mysql://nobody:x@127.0.0.1:1/x")
    monkeypatch.setattr(retries.time, "sleep", lambda _: None)
    assets = [dg.AssetKey(["raw", "crm", "account"]), ASSET]
    path.write_text(yaml.safe_dump(content))
    try:
        closed = world.run("raw", [BIRCHWOOD], [FIRST], assets=assets)
        assert closed.success, told(closed)
        assert world.materialized(closed.run_id) == {(key.to_user_string(), str(partition_key(FIRST, BIRCHWOOD))): 1 for key in assets}
        metadata = world.metadata(closed.run_id, "raw/user_defined", str(partition_key(FIRST, BIRCHWOOD)))
        assert metadata["dagster/partition_row_count"] > 0
        again = world.run("raw", [BIRCHWOOD], [FIRST], assets=assets[:1], config={"ops": {"raw_crm": {"config": {"reload": True}}}})
        open_ = world.run("raw", [BIRCHWOOD], [SECOND + timedelta(days=1)], assets=assets)
        for result in (again, open_):
            assert not result.success
            assert all("can not be reached" in message for message in told(result).values())
    finally:
        path.write_text(before)
