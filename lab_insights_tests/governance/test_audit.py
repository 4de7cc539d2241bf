"""The audit log: what was changed, removed or inserted is named, and writers at once make one chain."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from lab_insights.aws import Aws
from lab_insights.errors import CommitConflict
from lab_insights.governance.audit import BUCKET, DEPLOYMENT, Event, Log, Record
from lab_insights.governance.audit.evidence import controls, evidence
from lab_insights.governance.audit.log import chain_of, record_key
from lab_insights.governance.audit.reads import Read
from lab_insights.governance.audit.record import chained
from lab_insights.governance.audit.verify import verify
from lab_insights.lake.commit import Lake
from lab_insights.lake.erase import erase_items
from lab_insights.lake.storage import Storage
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import Killed, answer_lost, fresh_tenant, make_lake, watched

ROOT = Path(__file__).resolve().parents[2]
DAY = date(2026, 3, 2)


@pytest.fixture
def log(aws_endpoint: str, tmp_path: Path) -> Log:
    return Log(make_lake(aws_endpoint, tmp_path / "clock").storage)


@pytest.fixture
def tenant() -> TenantId:
    return fresh_tenant()


def event(number: int = 0, **more: Any) -> Event:
    return Event(action="materialize", subject=f"raw_{number}", days="2026-03-01", run_id="run", counts={"rows": number}, **more)


def filled(log: Log, tenant: TenantId, count: int = 5) -> str:
    for number in range(count):
        log.append(event(number), tenant)
    return chain_of(tenant)


def found(log: Log) -> list[tuple[str, int | None, str]]:
    return [(finding.chain, finding.sequence, finding.what) for chain in verify(log) for finding in chain.findings]


def put(log: Log, chain: str, number: int, body: bytes) -> None:
    log.storage.put(BUCKET, record_key(chain, number), body)


def read(log: Log, chain: str, number: int) -> Record:
    return Record.model_validate_json(log.record(chain, number) or b"")


def test_records_follow_each_other_and_say_who_what_and_when(log: Log, tenant: TenantId) -> None:
    before = datetime.now(UTC)
    chain = filled(log, tenant)
    records = list(log.records(chain))
    assert [(each.sequence, each.subject, each.counts) for each in records] == [(n + 1, f"raw_{n}", {"rows": n}) for n in range(4, -1, -1)]
    assert all(newer.previous == older.hash for newer, older in itertools.pairwise(records))
    assert all("@" in each.actor and each.identity.startswith("arn:aws:") and before <= each.at <= datetime.now(UTC) for each in records)
    [announced] = log.records(DEPLOYMENT)
    assert (announced.action, announced.subject) == ("audit.chain", tenant)
    assert found(log) == []
    assert [(each.chain, each.records) for each in verify(log)] == [(DEPLOYMENT, 1), (chain, 5)]


def test_records_of_days_are_those_of_these_days(log: Log, tenant: TenantId) -> None:
    chain, today = filled(log, tenant), datetime.now(UTC).date()
    assert len(list(log.records(chain, today - timedelta(days=1), today + timedelta(days=1)))) == 5
    assert list(log.records(chain, today + timedelta(days=2))) == []
    assert list(log.records(chain, None, today - timedelta(days=2))) == []


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_record_that_was_changed_is_named(log: Log, tenant: TenantId, number: int) -> None:
    chain = filled(log, tenant)
    body = (log.record(chain, number) or b"").replace(b'"raw_', b'"new_')
    put(log, chain, number, body)
    assert found(log) == [(chain, number, "changed")]


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_record_that_was_changed_and_hashed_again_is_named(log: Log, tenant: TenantId, number: int) -> None:
    chain = filled(log, tenant)
    old = read(log, chain, number)
    put(log, chain, number, chained(event(99), chain, number, old.previous, old.at).body())
    assert found(log) == [(chain, number, "changed")]


def test_a_chain_that_was_written_anew_from_a_record_on_is_found_by_its_anchor(log: Log, tenant: TenantId) -> None:
    chain = filled(log, tenant)
    previous = read(log, chain, 2).hash
    for number in range(3, 6):
        forged = chained(event(90 + number), chain, number, previous, datetime.now(UTC))
        put(log, chain, number, forged.body())
        previous = forged.hash
    assert found(log) == [(chain, 5, "changed")]


def test_a_record_that_was_written_again_is_found_by_its_versions_whatever_it_says(log: Log, tenant: TenantId) -> None:
    bucket = log.storage.bucket(BUCKET)
    log.storage.aws.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    chain = filled(log, tenant)
    put(log, chain, 2, log.record(chain, 2) or b"")
    assert found(log) == [(chain, 2, "changed")]
    log.storage.aws.client("s3").delete_object(Bucket=bucket, Key=record_key(chain, 4))
    assert found(log) == [(chain, 2, "changed"), (chain, 4, "removed")]


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_record_that_was_removed_is_named(log: Log, tenant: TenantId, number: int) -> None:
    chain = filled(log, tenant)
    log.storage.delete(BUCKET, record_key(chain, number))  # type: ignore[arg-type]
    assert found(log) == [(chain, number, "removed")]


def test_a_chain_that_was_removed_whole_is_missed(log: Log, tenant: TenantId) -> None:
    chain = filled(log, tenant, 2)
    for number in (1, 2):
        log.storage.delete(BUCKET, record_key(chain, number))  # type: ignore[arg-type]
    assert found(log) == [(chain, 1, "removed"), (chain, 2, "removed")]
    log.items.db.delete_item(TableName=log.items.status, Key={"pk": {"S": f"@audit#{chain}"}, "sk": {"S": "anchor"}})
    assert found(log) == [(chain, None, "removed")]


def _after_the_last(log: Log, chain: str) -> list[tuple[str, int | None, str]]:
    put(log, chain, 6, chained(event(6), chain, 6, read(log, chain, 5).hash, datetime.now(UTC)).body())
    return [(chain, 6, "inserted")]


def _between_two(log: Log, chain: str) -> list[tuple[str, int | None, str]]:
    """Record 3 is a new one and those after it move on, each hashed anew: only the anchor knows that there were five."""
    bodies = [read(log, chain, number) for number in range(3, 6)]
    previous = read(log, chain, 2).hash
    for number, each in enumerate([event(99), *bodies], 3):
        its = Event.model_validate(each.model_dump(include=set(Event.model_fields)))
        forged = chained(its, chain, number, previous, datetime.now(UTC))
        put(log, chain, number, forged.body())
        previous = forged.hash
    return [(chain, 5, "changed"), (chain, 6, "inserted")]


def _another_object(log: Log, chain: str) -> list[tuple[str, int | None, str]]:
    log.storage.put(BUCKET, f"{chain}/0000000003-again.json", b"{}")
    return [(chain, None, "inserted")]


def _of_another_chain(log: Log, chain: str) -> list[tuple[str, int | None, str]]:
    put(log, chain, 6, log.record(DEPLOYMENT, 1) or b"")
    return [(chain, 6, "inserted")]


@pytest.mark.parametrize("insert", [_after_the_last, _between_two, _another_object, _of_another_chain])
def test_a_record_that_was_inserted_is_named(
    log: Log, tenant: TenantId, insert: Callable[[Log, str], list[tuple[str, int | None, str]]]
) -> None:
    chain = filled(log, tenant)
    expected = insert(log, chain)
    assert found(log) == expected


def test_writers_at_once_make_one_chain(log: Log) -> None:
    tenants = [fresh_tenant(), fresh_tenant()]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: log.append(event(number), tenants[number % 2]), range(40)))
    assert found(log) == []
    for tenant in tenants:
        records = list(log.records(chain_of(tenant)))
        assert [each.sequence for each in records] == list(range(20, 0, -1))
        assert len({each.subject for each in records}) == 20


def test_a_writer_that_others_always_overtake_says_so(log: Log, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Log, "_move", lambda *_: False)
    with pytest.raises(CommitConflict, match="others were first"):
        log.append(event())


def test_a_writer_that_dies_after_any_call_leaves_a_chain_that_holds_and_goes_on(log: Log) -> None:
    log.append(event())  # the login is known
    with watched(log.storage.aws) as calls:
        log.append(event(), fresh_tenant())
    assert calls.made.count("PutObject") == 2, "the announcement and the record"
    for limit in range(1, len(calls.made) + 1):
        tenant = fresh_tenant()
        with pytest.raises(Killed), watched(log.storage.aws, limit):
            log.append(event(1), tenant)
        # The one thing that looks like a loss: a chain that was announced, and whose first record never came.
        announced = {(chain_of(tenant), None, "removed")} if log.anchor(chain_of(tenant)).sequence == 0 else set()
        assert set(found(log)) <= announced
        log.append(event(2), tenant)
        assert found(log) == []
        assert next(log.records(chain_of(tenant))).subject == "raw_2"


@pytest.mark.parametrize(("service", "operation"), [("dynamodb", "UpdateItem"), ("s3", "PutObject")])
def test_a_lost_answer_doubles_no_record(log: Log, tenant: TenantId, service: str, operation: str) -> None:
    filled(log, tenant, 1)
    with answer_lost(log.storage.aws, service, operation) as sent:
        log.append(event(7), tenant)
    assert len(sent) > 1
    assert [each.subject for each in log.records(chain_of(tenant))] == ["raw_7", "raw_0"]
    assert found(log) == []


@pytest.fixture
def deployed(aws_endpoint: str, deployed_prefix: str) -> Log:
    return Log(Storage(Aws(endpoint_url=aws_endpoint), deployed_prefix))


def test_the_templates_bucket_lets_nobody_delete_a_record(deployed: Log, tenant: TenantId) -> None:
    chain = filled(deployed, tenant, 1)
    with pytest.raises(ClientError, match="403"):
        deployed.storage.delete(BUCKET, record_key(chain, 1))  # type: ignore[arg-type]
    assert found(deployed) == []


def test_erasing_a_tenant_leaves_its_chain(aws_endpoint: str, tmp_path: Path) -> None:
    lake: Lake = make_lake(aws_endpoint, tmp_path / "clock")
    log = Log(lake.storage)
    for tenant in (TenantId("audit"), TenantId("deployment")):
        filled(log, tenant, 1)
        assert erase_items(lake, tenant) == 0
    assert found(log) == []


@pytest.mark.parametrize("more", [{"note": "free text"}, {"counts": {"rows": "Ada"}}, {"days": "Ada"}, {"action": "Ada"}])
def test_a_record_has_no_place_for_a_value(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Event(**{"action": "materialize", **more})


def test_a_label_is_made_a_plain_name() -> None:
    assert Event(action="materialize", subject="a b\n'c'; x" + "y" * 400).subject == "a_b_c_x" + "y" * 193


def test_evidence_names_tests_that_exist_and_the_records_of_its_days(log: Log, tenant: TenantId) -> None:
    filled(log, tenant, 2)
    log.append(event(3, outcome="failed"), tenant)
    today = datetime.now(UTC).date()
    made = evidence(log, today - timedelta(days=1), today + timedelta(days=1))
    assert made.ok
    assert made.records == {"audit.chain": {"begun": 1}, "materialize": {"done": 2, "failed": 1}}
    page = made.markdown()
    assert "## 164.312(b) Audit controls" in page
    assert "materialize: 2 done, 1 failed" in page
    assert "2 chains with 4 records: all hold" in page
    assert "not available locally" in page
    for control in controls():
        assert control.tests, control.control
        for test in control.tests:
            path, _, name = test.partition("::")
            assert f"def {name}(" in (ROOT / path).read_text(), test
    listed = json.loads(json.dumps(made.to_dict()))["controls"]
    assert {each["control"].split("(")[0] for each in listed} == {"164.308", "164.310", "164.312", "164.316"}
    order = [[part.rstrip(")") for part in each["control"].split("(")] for each in listed]
    assert order == sorted(order)
    served = {each["control"] for each in listed}
    assert served >= {"164.308(a)(3)(ii)(C)", "164.308(a)(7)(ii)(B)", "164.312(d)", "164.316(b)(2)(i)"}


def test_evidence_has_the_reads_of_the_stores_that_were_asked_and_says_which_were_not(log: Log) -> None:
    read = Read("acme", "lake", "curated", "patient", "2026-03-01", "arn:ada", "2026-03-02")
    found = Counter({read: 2, dataclasses.replace(read, table="result"): 3, dataclasses.replace(read, identity="arn:bob"): 1})
    asked = evidence(log, DAY, DAY, {"lake": found})
    page = asked.markdown()
    assert "## Reads of the lake\n\n- acme: arn:ada, 5 reads of 2 tables\n- acme: arn:bob, 1 reads of 1 tables\n" in page
    assert [line.partition(":")[0] for line in asked.not_recorded] == ["Reads of tables", "Looking at the Dagster UI"]
    [first, *_] = asked.to_dict()["reads"]["lake"]
    assert (first["identity"], first["on"], first["reads"]) == ("arn:ada", "2026-03-02", 2)
    nobody = evidence(log, DAY, DAY, {"lake": Counter(), "snowflake": Counter()})
    assert "## Reads of the client databases\n\n- none in this period\n" in nobody.markdown()
    assert len(nobody.not_recorded) == 1


def test_evidence_of_a_broken_chain_says_so(log: Log, tenant: TenantId) -> None:
    chain = filled(log, tenant)
    log.storage.delete(BUCKET, record_key(chain, 2))  # type: ignore[arg-type]
    made = evidence(log, date(2026, 1, 1), date(2026, 1, 2))
    assert not made.ok
    assert "**broken**" in made.markdown()
    assert f"{chain} record 2 was removed" in made.markdown()
