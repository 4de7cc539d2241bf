"""A patient with unmistakable values goes through every layer, failing loads included, and is found nowhere but in the tenant's own data.

`haystack` says where is looked. That the search can fail is shown by planting a value in one place after another.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from lab_insights import operations
from lab_insights.assets import curated, reports, snowflake, transformed
from lab_insights.commands import console
from lab_insights.extract import land
from lab_insights.extract.sources import Sources
from lab_insights.lake.layout import Partition
from lab_insights.lake.tables import partition_manifests, relation
from lab_insights.local import aws, processes, settings
from lab_insights.local import snowflake as local_snowflake
from lab_insights.local.deployer import ACCOUNT
from lab_insights.local.laboratory import dynamodb
from lab_insights.sensors.alerts import run_facts
from lab_insights_tests.assets.world import AURORA, BIRCHWOOD, FIRST, PEOPLE, SECOND, Servers, World, customer, opened, told
from lab_insights_tests.commands.cli import Cli
from lab_insights_tests.governance import haystack
from lab_insights_tests.governance.haystack import Place, insert

FAMILY, GIVEN, MRN = "Zzyxqvarnheim", "Qwyrmintrude", "MRNZQ7744190XK"
PHONE, ADDRESS, EMAIL = "555-0199-77316", "4417 Xylquorn Crescent", "qwyrm@needle.example"
NOTE = "frobnicated spleen beneath the purple walrus"
NEEDLES = tuple(
    value.casefold() for value in (FAMILY, GIVEN, MRN, PHONE, ADDRESS, EMAIL, NOTE, "xylquorn", "needle.example", "purple walrus")
)
EVERYTHING = f"{FAMILY}, {GIVEN} ({MRN}) {PHONE} {ADDRESS} {EMAIL}: {NOTE}"
NOON = datetime(FIRST.year, FIRST.month, FIRST.day, 12)
LOUD = {"loggers": {"console": {"config": {"log_level": "DEBUG"}}}}

_PID = f"PID|1||{MRN}^^^HOSP^MR||{FAMILY}^{GIVEN}||19700101|F|||{ADDRESS}^^Springfield^IL^62701||{PHONE}^PRN^PH^{EMAIL}"
HL7 = "\r".join(
    (
        "MSH|^~\\&|APP|LAB|||20260302120000+0000||ORU^R01|c990001|P|2.5.1",
        _PID,
        "OBR|1|P990001|F990001|CBC^Count^L|||20260302110000+0000",
        f"OBX|1|TX|NOTE^Comment^L||{NOTE}||||||F",
        f"NTE|1||{EVERYTHING}",
        "",
    )
)
BUNDLE = {
    "resourceType": "Bundle",
    "type": "message",
    "entry": [
        {
            "fullUrl": "urn:uuid:1",
            "resource": {
                "resourceType": "Patient",
                "id": "p1",
                "identifier": [{"value": MRN, "type": {"coding": [{"code": "MR"}]}}],
                "name": [{"family": FAMILY, "given": [GIVEN]}],
                "telecom": [{"system": "phone", "value": PHONE}, {"system": "email", "value": EMAIL}],
                "address": [{"line": [ADDRESS], "postalCode": "62701"}],
            },
        },
        {
            "fullUrl": "urn:uuid:2",
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "code": {"text": "Comment"},
                "subject": {"reference": "urn:uuid:1"},
                "valueString": NOTE,
                "note": [{"text": EVERYTHING}],
            },
        },
    ],
}
BROKEN_BUNDLE = json.loads(json.dumps(BUNDLE))
BROKEN_BUNDLE["entry"][0]["resource"]["name"] = EVERYTHING
BROKEN_BUNDLE["entry"][1]["resource"]["subject"] = [EVERYTHING]
MESSAGES = {
    "whole HL7": HL7,
    "no message at all": f"hello, this is about {EVERYTHING}",
    "a line that is no segment": HL7.replace("OBR|1", f"{EVERYTHING}\rOBR|1"),
    "a type that is a name": HL7.replace("ORU^R01", f"{FAMILY}^{GIVEN}").replace("2.5.1", MRN),
    "no delimiters": f"MSH{EVERYTHING}",
    "no type, a name for a version": HL7.replace("ORU^R01", "").replace("2.5.1", FAMILY),
    "dates that are notes": HL7.replace("19700101", NOTE).replace("20260302110000+0000", EVERYTHING),
    "whole FHIR": json.dumps(BUNDLE),
    "cut off": json.dumps(BUNDLE)[:-90],
    "forms that are none": json.dumps(BROKEN_BUNDLE),
    "a resource that is a name": json.dumps({"resourceType": FAMILY, "name": GIVEN}),
    "an entry that is a name": json.dumps({"resourceType": "Bundle", "entry": [EVERYTHING]}),
    "a profile that is a name": json.dumps({"resourceType": "Patient", "meta": {"profile": [f"http://x/stu3/{FAMILY}"]}}),
    "a type of another release and a name": json.dumps({"resourceType": "MedicationOrder", "patient": {"display": EVERYTHING}}),
}


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
        yield from haystack.database(self.world, AURORA, ("OPS", "DEIDENTIFIED", "REPORTS"))
        yield from haystack.statements(self.world)

    def leaks(self) -> list[tuple[str, str]]:
        """Return each place that has a needle, and which."""
        return [(where, needle) for where, text in self.places() for needle in found_in(where) + found_in(text)]


def found_in(text: str) -> list[str]:
    """Return the needles in a text."""
    folded = text.casefold()
    return [needle for needle in NEEDLES if needle in folded]


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
    directory = tmp_path_factory.mktemp("servers")
    cloud = aws.start(directory / "aws.log")
    warehouse = local_snowflake.start(directory, cloud.address, directory / "snowflake.log")
    yield Servers(cloud.address, int(warehouse.address.rpartition(":")[2]), {"mysql": mysql_url, "postgresql": postgres_url})
    processes.stop(warehouse)
    processes.stop(cloud)


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


def widen(path: Path) -> None:
    """Let the tables that these tests make be read too, the one whose key is a record number in ranges."""
    content = yaml.safe_load(path.read_text())
    content["sources"]["messages"]["include"] = ["message", "udt_*"]
    content["sources"]["crm"]["overrides"] = {"udt_by_mrn": {"ranges": 2}}
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def plant(world: World) -> None:
    """Put the patient into every source of one tenant."""
    crm, lis, texts = (f"{world.base}_{source}_{AURORA}" for source in ("crm", "lis", "messages"))
    person = {"mrn": MRN, "family_name": FAMILY, "given_name": GIVEN, "phone": PHONE}
    insert(world, "lis", lis, "patient", id=990001, **person, postal_code="62701", sex="F", updated_at=NOON)
    result = {"id": 990001, "order_item_id": 1, "lab_order_id": 1, "patient_id": 990001, "component_code": "NOTE", "value_raw": NOTE}
    insert(world, "lis", lis, "result", **result, value_type="TX", unit_raw="purple walrus", status_raw="F", updated_at=NOON)
    case = {"id": 990001, "account_id": 1, "patient_mrn": MRN, "subject": NOTE, "body": EVERYTHING, "status": "open", "deleted": 0}
    insert(world, "crm", crm, "crm_case", **case, opened_at=NOON, updated_at=NOON)
    world.execute(
        "crm",
        f"CREATE TABLE {crm}.udt_patient_note (id BIGINT PRIMARY KEY, email VARCHAR(80), note TEXT, at_all TEXT, updated_at DATETIME(6))",
    )
    insert(world, "crm", crm, "udt_patient_note", id=1, email=EMAIL, note=NOTE, at_all=EVERYTHING, updated_at=NOON)
    world.execute("crm", f"CREATE TABLE {crm}.udt_by_mrn (mrn VARCHAR(40) PRIMARY KEY, phone VARCHAR(40))")
    for number in range(40):
        insert(world, "crm", crm, "udt_by_mrn", mrn=f"{MRN}-{number:02d}", phone=PHONE)
    # one that can not be read at all, and one whose key is there twice when case counts
    world.execute("crm", f"CREATE TABLE {crm}.udt_part (id INT PRIMARY KEY) ENGINE=MyISAM")
    world.execute("crm", f"CREATE TABLE {crm}.udt_broken (id INT PRIMARY KEY) ENGINE=MERGE UNION=({crm}.udt_part)")
    world.execute("crm", f"DROP TABLE {crm}.udt_part")
    world.execute("messages", f"CREATE TABLE {texts}.udt_note (mrn TEXT PRIMARY KEY, words TSVECTOR, told JSONB, at_all TEXT[])")
    its = sa.text(f"INSERT INTO {texts}.udt_note VALUES (:mrn, to_tsvector('simple', :note), CAST(:told AS jsonb), ARRAY[:every])")
    with sa.create_engine(world.laboratory.targets.messages, poolclass=sa.NullPool).begin() as connection:
        connection.execute(its, {"mrn": MRN, "note": NOTE, "told": json.dumps({"name": FAMILY}), "every": EVERYTHING})
    stamps = {"received_at": NOON.replace(tzinfo=UTC), "updated_at": NOON.replace(tzinfo=UTC)}
    for number, body in enumerate(MESSAGES.values(), 990001):
        kind = {"format": "hl7", "message_type": "ORU^R01", "control_id": f"c{number}", "patient_mrn": MRN}
        insert(world, "messages", texts, "message", id=number, **kind, body=body, **stamps)
    event = {
        "tenant_id": PEOPLE[0].key,
        "id": 990001,
        "occurred_at": NOON,
        "user_name": "user01",
        "action": "read",
        "entity_type": "patient",
    }
    details = sa.cast(json.dumps({"note": EVERYTHING}), sa.JSON().with_variant(sa.dialects.postgresql.JSONB(), "postgresql"))
    insert(
        world, "audit", f"{world.base}_audit", "audit_event", **event, entity_id=MRN, outcome="success", details=details, updated_at=NOON
    )
    item = {"notification_id": f"n-{MRN}", "result_id": "990001", "patient_mrn": MRN, "value_text": NOTE, "notified_to": FAMILY}
    calls = [{"1": {"outcome": EVERYTHING}}, "at", NOON.isoformat()]
    table = dynamodb._resource(world.laboratory.targets.dynamodb_endpoint, "us-east-1").Table(world.laboratory.targets.notification_table)
    moment = f"{NOON.isoformat()}+00:00"
    table.put_item(
        Item={"tenant_id": str(PEOPLE[0].key), **item, "channel": "phone", "notified_at": moment, "attempts": calls, "updated_at": moment}
    )


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


def _message(scene: Scene) -> None:
    sqs = scene.world.resource.aws().client("sqs")
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=f"{scene.world.resource.prefix}-curation-dlq")["QueueUrl"], MessageBody=NOTE)


def _alarm(scene: Scene) -> None:
    arn = f"arn:aws:sns:us-east-1:{ACCOUNT}:{scene.world.resource.prefix}-alarms"
    scene.world.resource.aws().client("sns").publish(TopicArn=arn, Message=GIVEN)


@pytest.mark.slow
def test_a_leak_in_any_place_is_found(scene: Scene) -> None:
    """This comes last: what it plants stays."""
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
