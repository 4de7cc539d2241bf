"""A patient with unmistakable values goes through every layer, failing loads included, and is found nowhere but in the tenant's own data.

`patient` says what is planted, `haystack` where is looked. That the search can fail is shown by planting a value in one place after another.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator
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
from lab_insights.governance.deidentify import pseudonym, tenant_key
from lab_insights.lake.layout import Partition
from lab_insights.lake.tables import partition_manifests, relation
from lab_insights.local import settings
from lab_insights.local.deployer import ACCOUNT
from lab_insights.sensors.alerts import run_facts
from lab_insights_tests.assets.apart import stand_ins
from lab_insights_tests.assets.world import AURORA, BIRCHWOOD, FIRST, PEOPLE, SECOND, Servers, World, customer, opened, told
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.governance import haystack
from lab_insights_tests.governance.haystack import Place
from lab_insights_tests.governance.patient import ADDRESS, EMAIL, EVERYTHING, FAMILY, GIVEN, MRN, NOON, NOTE, PHONE, found_in, plant, widen

LOUD = {"loggers": {"console": {"config": {"log_level": "DEBUG"}}}}


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
        yield from haystack.database(self.world, AURORA, ("OPS", "DEIDENTIFIED", "PSEUDONYMOUS", "REPORTS"))
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


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, mysql_url: str, postgres_url: str) -> Iterator[Servers]:
    """Stand-ins of these tests' own: what other tests have left there is not searched."""
    with stand_ins(tmp_path_factory.mktemp("servers"), mysql_url, postgres_url) as own:
        yield own


@pytest.fixture(scope="module")
def scene(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The patient in every source, and every layer of two tenants with one failure after another."""
    directory = tmp_path_factory.mktemp("patient")
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
    for module, name, job, asset in FAULTS:
        only = [dg.AssetKey.from_user_string(asset)] if asset else None
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(module, name, raises)
            failed = world.operate(job) if job in OPERATIONS else world.run(job, [AURORA], [FIRST], assets=only, config=LOUD)
        assert not failed.success, (name, "was not called")
        results.append(failed)
    lis = f"{world.base}_lis_{AURORA}"
    world.execute("lis", f"DELETE FROM {lis}.result WHERE id = 990001")
    world.execute("lis", f"UPDATE {lis}.patient SET phone = '{PHONE}-2', updated_at = '{NOON}' WHERE id = 990001")
    results.append(world.run("find_deletes", [AURORA], [SECOND], config=LOUD))
    for sensor in world.definitions.get_repository_def().sensor_defs:
        if isinstance(sensor, dg.RunStatusSensorDefinition):
            # it has no tick of its own: what it would tell of each run
            scene.said += [("failures told", str(run_facts(world.instance, run))) for run in world.instance.get_runs()]
        else:
            world.tick(sensor.name)
    for words in COMMANDS:
        scene.said.append((" ".join(words), scene.cli(*words).output))


@pytest.mark.slow
def test_the_patient_is_in_the_data(scene: Scene) -> None:
    """Else nothing would be shown by finding it nowhere."""
    world = scene.world
    assert scene.results[0].success, told(scene.results[0])

    def rows(layer: Any, table: str) -> str:
        found = partition_manifests(world.lake, Partition(layer, AURORA, table, FIRST))
        return str([_rows(world, each) for each in found])

    for layer, table, needles in (
        ("raw", "lis.patient", (FAMILY, GIVEN, MRN, PHONE)),
        ("raw", "lis.result", (NOTE,)),
        ("raw", "crm.crm_case", (EVERYTHING,)),
        ("raw", "crm.udt_patient_note", (EMAIL, ADDRESS)),
        ("raw", "crm.udt_by_mrn", (MRN,)),
        ("raw", "messages.message", (FAMILY, NOTE)),
        ("raw", "messages.udt_note", (FAMILY, NOTE)),
        ("raw", "audit.audit_event", (MRN, NOTE)),
        ("raw", "notifications.critical_notification", (MRN, NOTE)),
        ("curated", "patient", (FAMILY, MRN)),
        ("curated", "message_patient", (FAMILY, MRN)),
        ("curated", "critical_notification", (MRN,)),
    ):
        text = rows(layer, table)
        assert all(needle in text for needle in needles), (layer, table)
    rejects = rows("curated", "message_reject")
    assert rejects.count("'reason'") >= 8
    assert found_in(rejects) == [], "a reason, type or release names what the message says"
    assert any(FAMILY.casefold() in text.casefold() for _, text in haystack.database(world, AURORA, ("CURATED",)))


@pytest.mark.slow
def test_the_patient_is_in_the_de_identified_schema_under_another_name(scene: Scene) -> None:
    world = scene.world
    key = tenant_key(world.resource.config().phi, world.resource.aws(), AURORA)
    assert key
    for table, column in (
        ("PATIENT", "MRN"),
        ("MESSAGE_PATIENT", "MRN"),
        ("CRM_CASE", "PATIENT_MRN"),
        ("CRITICAL_NOTIFICATION", "PATIENT_MRN"),
    ):
        place = f'"LAB_INSIGHTS_{AURORA.upper()}"."DEIDENTIFIED"."{table}" WHERE "{column}" = \'{pseudonym(key, MRN)}\''
        assert world.count(AURORA, place) > 0, table
    [(scanned, output)] = [each for each in scene.said if each[0].endswith("--json") and "scan" in each[0]]
    found = {(each["table"], each["column"]): each for each in json.loads(output)}
    assert found["crm.udt_patient_note", "email"]["proposed"] == "direct", scanned
    assert found["crm.udt_by_mrn", "mrn"]["proposed"] == "direct"


def _rows(world: World, manifest: Any) -> Any:
    found = relation(world.lake.storage, [manifest], manifest.schema_())
    return (found if hasattr(found, "to_pylist") else found.to_table()).to_pylist()


@pytest.mark.slow
def test_a_planted_patient_is_found_nowhere_but_in_the_data(scene: Scene) -> None:
    leaks = scene.leaks()
    assert leaks == [], "\n".join(sorted({f"{where}: {needle}" for where, needle in leaks})[:60])


def _log(scene: Scene) -> None:
    scene.said.append(("captured logs", f"lab_insights read {NOTE}"))


def _key(scene: Scene) -> None:
    scene.world.lake.storage.put("reports", f"tenant={AURORA}/{FAMILY}.html", b"")


def _body(scene: Scene) -> None:
    scene.world.lake.storage.put("raw", "tenant=x/y.manifest.json", json.dumps({"reason": MRN}).encode())


def _item(scene: Scene) -> None:
    name = f"{scene.world.resource.prefix}-status"
    scene.world.resource.aws().client("dynamodb").put_item(TableName=name, Item={"pk": {"S": "x"}, "sk": {"S": EMAIL}})


def _column(scene: Scene) -> None:
    glue = scene.world.resource.aws().client("glue")
    name = glue.get_databases()["DatabaseList"][0]["Name"]
    glue.create_table(
        DatabaseName=name, TableInput={"Name": "leak", "StorageDescriptor": {"Columns": [{"Name": GIVEN.lower(), "Type": "int"}]}}
    )


def _event(scene: Scene) -> None:
    @dg.op
    def leak() -> None:
        dg.OpExecutionContext.get().log_event(dg.AssetMaterialization("leak", metadata={"reason": PHONE}))

    @dg.job
    def leaking() -> None:
        leak()

    leaking.execute_in_process(instance=scene.world.instance, tags={"note": ADDRESS})


def _neighbour(scene: Scene) -> None:
    with scene.world.warehouse.session("test") as session:
        session.execute(f'CREATE TABLE "LAB_INSIGHTS_{BIRCHWOOD.upper()}"."OPS"."LEAK" AS SELECT \'{MRN}\' AS "X"')


def _deidentified(scene: Scene) -> None:
    with scene.world.warehouse.session("test") as session:
        place = f'"LAB_INSIGHTS_{AURORA.upper()}"."DEIDENTIFIED"."LEAK"'
        session.execute(f"CREATE VIEW {place} AS SELECT '{FAMILY}' AS \"X\", '{scene.pseudonym_key}' AS \"Y\"")


def _message(scene: Scene) -> None:
    sqs = scene.world.resource.aws().client("sqs")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=f"{scene.world.resource.prefix}-curation-dlq")["QueueUrl"], MessageBody=NOTE)


def _alarm(scene: Scene) -> None:
    arn = f"arn:aws:sns:us-east-1:{ACCOUNT}:{scene.world.resource.prefix}-alarms"
    scene.world.resource.aws().client("sns").publish(TopicArn=arn, Message=GIVEN)


@pytest.mark.slow
def test_a_leak_in_any_place_is_found(scene: Scene) -> None:
    """This comes last: what it plants stays."""
    own = f"snowflake LAB_INSIGHTS_{AURORA.upper()}.DEIDENTIFIED.LEAK"
    neighbour = f"snowflake LAB_INSIGHTS_{BIRCHWOOD.upper()}.OPS.LEAK"
    planted: tuple[tuple[Callable[[Scene], None], str, str], ...] = (
        (_log, "captured logs", NOTE),
        (_key, "key s3://", FAMILY),
        (_body, "object s3://", MRN),
        (_item, "dynamodb status", EMAIL),
        (_column, "glue ", GIVEN),
        (_event, "metadata leak", PHONE),
        (_event, "run ", ADDRESS),
        (_event, "file storage", ADDRESS),
        (_neighbour, neighbour, MRN),
        (_deidentified, own, FAMILY),
        (_deidentified, own, "the key of pseudonyms"),
        (_message, "dead letters curation", NOTE),
        (_alarm, "alarms", GIVEN),
    )
    for leak in dict.fromkeys(leak for leak, _, _ in planted):
        leak(scene)
    found = scene.leaks()
    missed = [
        (where, needle)
        for _, where, needle in planted
        if not any(place.startswith(where) and needle.casefold() == of for place, of in found)
    ]
    assert missed == []
