"""A patient goes through every source and layer of two tenants, failures and commands included, and all that is said is kept."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from lab_insights import operations
from lab_insights.assets import curated, reports, snowflake, transformed
from lab_insights.aws import resolve
from lab_insights.commands import console
from lab_insights.extract import land
from lab_insights.extract.sources import Sources
from lab_insights.local import settings
from lab_insights.sensors.alerts import run_facts
from lab_insights_tests.assets.world import AURORA, BIRCHWOOD, FIRST, PEOPLE, SECOND, Servers, World, customer, opened, told
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.governance import haystack
from lab_insights_tests.governance.haystack import Place
from lab_insights_tests.governance.patient import EVERYTHING, NOON, NOTE, PHONE, found_in, plant, widen

LOUD = {"loggers": {"console": {"config": {"log_level": "DEBUG"}}}}
# A day that is closed is loaded when it is asked for again, and by nobody else.
AGAIN = LOUD | {"ops": {"raw_lis": {"config": {"reload": True}}}}

# Of the tenant's own database, the schemas that hold no value as it is.
SHARED = ("OPS", "DEIDENTIFIED", "PSEUDONYMOUS", "REPORTS")


@dataclass
class Scene:
    """The world with all that was said while the patient went through it."""

    world: World
    cli: Cli
    results: list[dg.ExecuteInProcessResult] = field(default_factory=list)
    said: list[Place] = field(default_factory=list)

    def places(self) -> Iterator[Place]:
        """Yield everything where no value may be."""
        yield from self.said
        yield from haystack.exceptions(self.results)
        yield from haystack.dagster(self.world)
        yield from haystack.buckets(self.world)
        yield from haystack.tables(self.world)
        yield from haystack.catalog(self.world)
        yield from haystack.messages(self.world)
        yield from haystack.alarms(self.world)
        yield from haystack.another_tenant(self.world, BIRCHWOOD)
        yield from haystack.database(self.world, AURORA, SHARED)
        yield from haystack.statements(self.world)

    def leaks(self) -> list[tuple[str, str]]:
        """Return each place that has a needle, and which."""
        key = self.pseudonym_key
        return [
            (where, needle)
            for where, text in self.places()
            for needle in [*found_in(where), *found_in(text), *(["the key of pseudonyms"] if key in text else [])]
        ]

    @property
    def pseudonym_key(self) -> str:
        """The secret that pseudonyms are made with, which is to be found nowhere either."""
        reference = self.world.resource.config().phi.pseudonym_key
        assert reference
        return resolve(reference, self.world.resource.aws())


class Heard(logging.Handler):
    """Keeps what any logger says, tracebacks and arguments included."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Place] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append((f"captured logs of {record.name}", f"{self.format(record)} {record.args}"))


@contextlib.contextmanager
def lived(servers: Servers, directory: Path) -> Iterator[Scene]:
    """The patient in every source, and every layer of two tenants with one failure after another."""
    out, handler = io.StringIO(), Heard()
    root, level = logging.getLogger(), logging.getLogger().level
    home = directory / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings.dagster(home)))
    with opened(servers, directory, PEOPLE[:2], FIRST, kept=True) as world, pytest.MonkeyPatch.context() as patched:
        for name, value in {
            "LAB_INSIGHTS_CONFIG": world.resource.config_path,
            "DAGSTER_HOME": str(home),
            "LAB_INSIGHTS_ACTOR": "test",
        }.items():
            patched.setenv(name, value)
        patched.chdir(directory)
        for each in (console.out, console.err):
            patched.setattr(each, "_width", 300)
        widen(Path(world.resource.config_path))
        world.register(*map(customer, PEOPLE[:2]))
        plant(world)
        haystack.subscribe(world)
        world.at(SECOND, 5)
        scene = Scene(world, Cli(Path(world.resource.config_path)))
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                live(scene)
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
        scene.said += handler.said
        scene.said.append(("standard output and error", out.getvalue()))
        yield scene


class DriverError(Exception):
    """What a driver raises: the row that it could not take is in its text."""


def raises(*_: Any, **__: Any) -> Any:
    raise DriverError(f"can not convert row ({EVERYTHING!r})") from ValueError(NOTE)


# A function of each layer and operation, the job that calls it, and an asset that is enough (none: the job's all).
FAULTS: tuple[tuple[Any, str, str, str], ...] = (
    (land, "load", "raw", "raw/lis/patient"),
    (curated, "curate_table", "curation", "curated/patient"),
    (transformed, "transform_wide", "transformation", "transformed/patient_profile"),
    (snowflake, "load", "curated_to_snowflake", "snowflake/patient"),
    (reports, "refresh", "curated_to_snowflake", ""),
    (Sources, "catalog", "crawl", ""),
    (operations.glue, "register_lake", "crawl", ""),
    (operations.sync, "sync", "schema_sync", ""),
    (operations, "compact_all", "keep_lake", ""),
    (operations, "sweep_all", "keep_lake", ""),
)
OPERATIONS = ("crawl", "schema_sync", "keep_lake")
COMMANDS = (
    ("tenant", "list"),
    ("plan", "--json"),
    ("status",),
    ("status", "--history", "crm.udt_broken"),
    ("status", "--history", "lis.patient"),
    ("run", "full_load", "--tenant", AURORA, "--day", str(SECOND)),
    ("run", "dynamic_full_load", "--tenant", AURORA, "--day", str(SECOND), "--json"),
    ("verify", "--all"),
    ("verify", "--json"),
    ("schema", "diff"),
    ("schema", "history"),
    ("catalog", "find", "m"),
    ("catalog", "scan"),
    ("catalog", "scan", "--tenant", AURORA, "--json"),
    ("cost",),
    ("dlq", "list"),
    ("audit", "show"),
    ("audit", "verify"),
    ("audit", "evidence", "--from", "2026-01-01", "--to", "2099-01-01"),
    ("report", "--tenant", AURORA, "--date", str(FIRST), "--deidentified"),
    ("doctor",),
)


def live(scene: Scene) -> None:
    """Load, operate, fail in every layer, look for deletes, and ask every command."""
    world, results = scene.world, scene.results
    results.append(world.run("everything", [AURORA, BIRCHWOOD], [FIRST], config=LOUD))
    results.extend(world.operate(job) for job in OPERATIONS)
    assert all(result.success for result in results), [told(result) for result in results]
    for module, name, job, asset in FAULTS:
        only = [dg.AssetKey.from_user_string(asset)] if asset else None
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(module, name, raises)
            config = AGAIN if job == "raw" else LOUD
            failed = world.operate(job) if job in OPERATIONS else world.run(job, [AURORA], [FIRST], assets=only, config=config)
        assert not failed.success, (name, "was not called")
        results.append(failed)
    lis = f"{world.base}_lis_{AURORA}"
    world.execute("lis", f"DELETE FROM {lis}.result WHERE id = 990001")
    world.execute("lis", f"UPDATE {lis}.patient SET phone = '{PHONE}-2', updated_at = '{NOON}' WHERE id = 990001")
    results.append(found := world.run("find_deletes", [AURORA], [SECOND], config=LOUD))
    assert found.success, told(found)
    for sensor in world.definitions.get_repository_def().sensor_defs:
        world.tick(sensor.name)
    scene.said += [("failures told", str(run_facts(world.instance, run))) for run in world.instance.get_runs()]
    for words in COMMANDS:
        answered = scene.cli(*words)
        assert answered.exit_code in {0, 1}, (words, answered.output)
        scene.said.append((" ".join(words), answered.output))
