"""The Dagster UI over a small world of its own, as `lab-insights ui` starts it, and a real browser."""

import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from lab_insights.local import processes, settings
from lab_insights.names import tenant_id
from lab_insights.partitions import partition_key
from lab_insights_tests.assets.apart import stand_ins
from lab_insights_tests.assets.world import FIRST, PEOPLE, QUIET, Servers, World, customer, opened

CHROMIUM = shutil.which("chromium")
# What the test machine's closed network would refuse, many times at each start.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
SCREENSHOTS = Path("build/screenshots")
# The conftest above says in the summary that they are left out.
collect_ignore_glob = [] if CHROMIUM else ["test_*"]


# A grid as an operator has it, beside the one tenant that has data: partitions of a table, most of them loaded.
GRID = dg.AssetKey(["raw", "crm", "crm_case"])
TENANTS, DAYS = tuple(f"tenant_{number:02}" for number in range(50)), 60


@dataclass(frozen=True)
class Ui:
    """A running Dagster UI: where it answers, and the world that it shows."""

    url: str
    world: World


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, mysql_url: str, postgres_url: str) -> Iterator[Servers]:
    """Stand-ins of the UI's own: another deployment may live on those of this test process."""
    with stand_ins(tmp_path_factory.mktemp("servers"), mysql_url, postgres_url) as own:
        yield own


@pytest.fixture(scope="module")
def ui(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """The UI of a deployment with one tenant, whose first day has just ended in the sources and is in no layer yet."""
    directory = tmp_path_factory.mktemp("ui")
    home = directory / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings.dagster(home)))
    with opened(servers, directory, PEOPLE[:1], FIRST, kept=True) as world:
        world.register(customer(PEOPLE[0]))
        world.at(FIRST, 24.5)
        _fill(world.instance)
        port = processes.free_port()
        url = f"http://127.0.0.1:{port}"
        environment = {name: value for name, value in os.environ.items() if name != "LAB_INSIGHTS_CONFIG"}
        handle = processes.start(
            "Dagster UI",
            [sys.executable, "-m", "dagster", "dev", "-m", "lab_insights.definitions", "-h", "127.0.0.1", "-p", str(port)],
            address=url,
            log=directory / "dagster.log",
            ready=lambda: processes.answers(f"{url}/server_info"),
            env={**environment, "DAGSTER_HOME": str(home)},
            seconds=240,
        )
        try:
            _stop(url, "curation_queue", "transformation_queue", "manifest_sweep")
            yield Ui(url, world)
        finally:
            processes.stop(handle, seconds=60)


_SENSORS = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { ... on RepositoryLocation {
  repositories { sensors { id name } } } } } } } }"""
_STOP = "mutation Stop($id: String!) { stopSensor(id: $id) { ... on StopSensorMutationResult { instigationState { status } } } }"


def _stop(url: str, *names: str) -> None:
    """Stop the sensors that follow what a test lands: their runs would be the newest of an asset whose state another test looks at."""

    def ask(query: str, **variables: str) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["data"]

    [location] = ask(_SENSORS)["workspaceOrError"]["locationEntries"]
    [repository] = location["locationOrLoadError"]["repositories"]
    ids = {sensor["name"]: sensor["id"] for sensor in repository["sensors"]}
    for name in names:
        # The daemon writes the first state of a sensor, too. Dagster refuses whoever is second; from then on there is one, and it can be changed.
        with suppress(urllib.error.HTTPError):
            ask(_STOP, id=ids[name])
        assert ask(_STOP, id=ids[name])["stopSensor"]["instigationState"]["status"] == "STOPPED"


def _fill(instance: dg.DagsterInstance) -> None:
    """Give the instance the grid's tenants, and its table their materializations, some of them missing."""

    @dg.op
    def load(context: dg.OpExecutionContext) -> None:
        for back in range(DAYS):
            for number, tenant in enumerate(TENANTS):
                if (number + back) % 17:
                    rows = {"dagster/partition_row_count": 100 + number + back % 7 * 10}
                    key = partition_key(FIRST + timedelta(days=back), tenant_id(tenant))
                    context.log_event(dg.AssetMaterialization(GRID, partition=key, metadata=rows))

    @dg.job
    def filled() -> None:
        load()

    instance.add_dynamic_partitions("tenants", list(TENANTS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
        assert filled.execute_in_process(instance=instance, run_config=QUIET).success
