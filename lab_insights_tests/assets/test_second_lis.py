"""A second laboratory system, of other tables, packed values and free-text times, beside the first: onboarded by files, through every layer."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from lab_insights import config, definitions
from lab_insights.aws import Aws
from lab_insights.config import SnowflakeSection
from lab_insights.errors import ConfigError
from lab_insights.lab import contracts
from lab_insights.lab.kpis import declared
from lab_insights.lab.mappings import every
from lab_insights.lab.report.model import Share
from lab_insights.lab.report.page import render
from lab_insights.lake.layout import Partition
from lab_insights.lake.tables import partition_manifests
from lab_insights.local import deployer, snowflake
from lab_insights.names import TenantId
from lab_insights.partitions import TENANTS, partition_key
from lab_insights.resources.lake import LakeResource
from lab_insights.resources.snowflake import WarehouseResource
from lab_insights.tenants.registry import Tenant
from lab_insights.verify.run import verify
from lab_insights.warehouse.provision import provision, use
from lab_insights.warehouse.report_page import read
from lab_insights.warehouse.reports import refresh
from lab_insights.warehouse.session import connect
from lab_insights_tests.commands.cli import Cli

pytestmark = pytest.mark.slow
RIDGELINE = Path(__file__).parents[1] / "lab" / "ridgeline"
FIRST = date(2026, 3, 2)
BOTH = TenantId("both_systems")

_LIS = """
CREATE TABLE {s}.patient (id INT PRIMARY KEY, mrn VARCHAR(20), family_name VARCHAR(40), given_name VARCHAR(40), birth_date DATE, sex CHAR(1),
  postal_code VARCHAR(10), phone VARCHAR(20), merged_into_id INT, updated_at DATETIME(6) NOT NULL, KEY (updated_at));
CREATE TABLE {s}.lab_order (id INT PRIMARY KEY, patient_id INT, encounter_id INT, connection_id VARCHAR(20), account_host_code VARCHAR(20),
  provider_id INT, placer_number VARCHAR(20), filler_number VARCHAR(20), accession VARCHAR(20), priority CHAR(1), status VARCHAR(20),
  ordered_at DATETIME(6), updated_at DATETIME(6) NOT NULL, KEY (updated_at));
CREATE TABLE {s}.result (id INT PRIMARY KEY, order_item_id INT, lab_order_id INT, patient_id INT, component_code VARCHAR(20), loinc VARCHAR(10),
  value_raw VARCHAR(40), value_type CHAR(2), unit_raw VARCHAR(20), range_raw VARCHAR(20), flag_raw VARCHAR(2), status_raw CHAR(1),
  performing_lab VARCHAR(20), analysed_at DATETIME(6), resulted_at DATETIME(6), verified_at DATETIME(6), updated_at DATETIME(6) NOT NULL, KEY (updated_at));
INSERT INTO {s}.patient (id, mrn, family_name, sex, birth_date, updated_at) VALUES (1, 'M1', 'Doe', 'F', '1980-05-06', '2026-03-02 08:00');
INSERT INTO {s}.lab_order (id, patient_id, priority, status, ordered_at, updated_at) VALUES (1, 1, 'S', 'completed', '2026-03-02 08:00', '2026-03-02 09:00');
INSERT INTO {s}.result (id, lab_order_id, patient_id, component_code, value_raw, status_raw, updated_at) VALUES
  (1, 1, 1, 'K', '4.1', 'F', '2026-03-02 09:00')"""
_RIDGELINE = """
CREATE TABLE {s}.ptnt (pt_no int PRIMARY KEY, chart_no text, last_nm text, first_nm text, dob text, sx char(1), zip text, tel text, kept_as int,
  chg_ts timestamptz NOT NULL);
CREATE TABLE {s}.clnt (clnt_cd text PRIMARY KEY, clnt_nm text, town text, live char(1), chg_ts timestamptz NOT NULL);
CREATE TABLE {s}.rqst (rqst_no text PRIMARY KEY, pt_no int, clnt_cd text, doc_cd text, ext_ref text, acc_no text, urg char(1), st char(1), rqst_tm text,
  chg_ts timestamptz NOT NULL);
CREATE TABLE {s}.rslt (line_no bigint PRIMARY KEY, rqst_no text, pt_no int, test_cd text, kind text, vals text, flags text, st char(1), done_tm text,
  sign_tm text, chg_ts timestamptz NOT NULL);
CREATE TABLE {s}.qc (qc_no int PRIMARY KEY, inst text, ok char(1), run_tm text, chg_ts timestamptz NOT NULL);
INSERT INTO {s}.ptnt VALUES (1, 'R1', 'Roe', 'Jan', '7/4/1961', '1', '04101', null, null, '2026-03-02 08:00Z'),
  (2, 'R2', 'Poe', 'Ann', 'about 1950', '2', null, null, null, '2026-03-02 08:00Z');
INSERT INTO {s}.clnt VALUES ('C7', 'Harbor Clinic', 'Portland', 'Y', '2026-03-02 08:00Z');
INSERT INTO {s}.rqst VALUES ('A-1', 1, 'C7', 'D1', null, 'X1', '1', 'D', '3/2/26 7:55a', '2026-03-02 09:00Z'),
  ('A-2', 2, 'C7', 'D1', null, 'X2', '3', 'W', 'this morning', '2026-03-02 09:00Z');
INSERT INTO {s}.rslt VALUES (1, 'A-1', 1, 'CBC3', 'RES', '12.1,14.0,neg', '+,,', 'D', '3/2/26 8:40a', '3/2/26 8:50a', '2026-03-02 09:00Z'),
  (2, 'A-2', 2, 'CBC3', 'RES', '7.0,13.1', null, 'D', '3/2/26 8:41a', null, '2026-03-02 09:00Z'),
  (3, 'A-1', 1, 'CBC3', 'NOTE', 'drawn twice', null, 'D', null, null, '2026-03-02 09:00Z');
INSERT INTO {s}.qc VALUES (1, 'XN-10', 'Y', '3/2/26 6:00a', '2026-03-02 08:00Z')"""


@dataclass(frozen=True)
class Deployment:
    """Two sources on two servers, described by a configuration and files."""

    path: Path
    ridgeline: str
    postgres: str
    instance: dg.DagsterInstance

    @property
    def lake(self) -> LakeResource:
        return LakeResource(config_path=str(self.path))

    @property
    def warehouse(self) -> WarehouseResource:
        return WarehouseResource(lake=self.lake)

    def load(self, day: date) -> dg.ExecuteInProcessResult:
        """Run everything for a day that has ended."""
        self.lake.open().clock.set(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, hours=0.5))
        key = str(partition_key(day, BOTH))
        tags = {"dagster/asset_partition_range_start": key, "dagster/asset_partition_range_end": key}
        job = definitions.build(self.lake.config(), str(self.path)).resolve_job_def("everything")
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        return job.execute_in_process(instance=self.instance, tags=tags, run_config=quiet, raise_on_error=False)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.warehouse.session("test") as session:
            use(session, BOTH)
            return [tuple(row) for row in session.execute(query)]

    def execute(self, *statements: str) -> None:
        with _connected(self.postgres) as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.format(s=self.ridgeline))


def _unused(schema: str) -> Iterator[str]:
    """Yield what makes the laboratory's other tables, which contracts expect and this story has no rows of."""
    made = set(re.findall(r"CREATE TABLE \{s\}\.(\w+)", _LIS))
    for _, mapping in every():
        source = mapping.source
        if source.name != "lis" or source.table in made:
            continue
        read = {name for _, rule in mapping.columns for name in rule.reads} - {*source.key, source.cursor}
        columns = [
            *(f"`{name}` VARCHAR(40) NOT NULL" for name in source.key),
            *(f"`{name}` VARCHAR(40)" for name in sorted(read)),
            *([f"`{source.cursor}` DATETIME(6) NOT NULL, KEY (`{source.cursor}`)"] if source.cursor else []),
        ]
        yield f"CREATE TABLE IF NOT EXISTS {schema}.{source.table} ({', '.join(columns)}, PRIMARY KEY ({', '.join(source.key)}))"


def _connected(url: str) -> sa.Connection:
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool).connect()


@pytest.fixture(scope="module")
def deployment(
    mysql_url: str,
    postgres_url: str,
    aws_endpoint: str,
    snowflake_server: tuple[str, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    base, home = f"mapped{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("mapped")
    deployer.deploy(aws_endpoint, base)
    content = {
        "aws": {"endpoint_url": aws_endpoint},
        "lake": {"prefix": base},
        "snowflake": {
            "account": "fakesnow", "credentials": "env:MAPPED_SNOWFLAKE", "host": "127.0.0.1", "port": snowflake_server[1], "protocol": "http",
        },
        "sources": {
            "lis": {"engine": "mysql", "url": "env:MAPPED_LIS", "tenancy": {"schema": {"schema": f"{base}_lis"}}},
            "ridgeline": {"engine": "postgresql", "url": "env:MAPPED_RIDGELINE", "tenancy": {"schema": {"schema": f"{base}_ridgeline"}}},
        },
        "partitions": {"start": FIRST},
        "clock": {"file": str(home / "clock")},
        "models": "models",
    }  # fmt: skip
    shutil.copytree(RIDGELINE, home / "models")
    (home / "lab_insights.yaml").write_text(yaml.safe_dump(content))
    (home / "clock").write_text("2026-03-02T00:00:00+00:00")
    with pytest.MonkeyPatch.context() as patched, _connected(mysql_url) as mysql, _connected(postgres_url) as postgres:
        urls = {"MAPPED_LIS": mysql_url, "MAPPED_RIDGELINE": postgres_url, "MAPPED_SNOWFLAKE": json.dumps(snowflake.LOGIN)}
        for name, value in urls.items():
            patched.setenv(name, value)
        try:
            mysql.exec_driver_sql(f"CREATE DATABASE {base}_lis")
            postgres.exec_driver_sql(f"CREATE SCHEMA {base}_ridgeline")
            for connection, script, schema in ((mysql, _LIS, f"{base}_lis"), (postgres, _RIDGELINE, f"{base}_ridgeline")):
                for statement in script.format(s=schema).split(";"):
                    connection.exec_driver_sql(statement)
            for statement in _unused(f"{base}_lis"):
                mysql.exec_driver_sql(statement)
            with dg.DagsterInstance.ephemeral() as instance:
                made = Deployment(home / "lab_insights.yaml", f"{base}_ridgeline", postgres_url, instance)
                made.lake.registry().put(Tenant(id=BOTH, key="1"))
                with made.warehouse.session("test") as session:
                    provision(session, made.lake.open().storage, BOTH)
                instance.add_dynamic_partitions(str(TENANTS.name), [BOTH])
                result = made.load(FIRST)
                assert result.success, [event.message for event in result.all_events if event.is_step_failure]
                yield made
        finally:
            contracts.use(None)
            mysql.exec_driver_sql(f"DROP DATABASE IF EXISTS {base}_lis")
            postgres.exec_driver_sql(f"DROP SCHEMA IF EXISTS {base}_ridgeline CASCADE")
            with connect(SnowflakeSection.model_validate(content["snowflake"]), Aws(endpoint_url=aws_endpoint)) as session:
                session.execute(f'DROP DATABASE IF EXISTS "LAB_INSIGHTS_{BOTH.upper()}"')


def test_a_second_laboratory_system_ends_in_the_same_tables_by_files_alone_and_the_next_day_follows_each_system(
    deployment: Deployment,
) -> None:
    assert deployment.rows("SELECT PATIENT_ID, MRN, SEX, CAST(BIRTH_DATE AS VARCHAR) FROM CURATED.PATIENT_LIVE ORDER BY 1") == [
        ("1", "M1", "female", "1980-05-06"),
        ("ridgeline:1", "R1", "male", "1961-07-04"),
        ("ridgeline:2", "R2", "female", None),
    ]
    results = "SELECT RESULT_ID, LAB_ORDER_ID, COMPONENT_CODE, VALUE_RAW, SOURCE_SYSTEM FROM CURATED.RESULT_LIVE ORDER BY 1"
    assert deployment.rows(results) == [
        ("1", "1", "K", "4.1", "lis"),
        ("ridgeline:1^1", "ridgeline:A-1", "WBC", "12.1", "ridgeline"),
        ("ridgeline:1^2", "ridgeline:A-1", "HGB", "14.0", "ridgeline"),
        ("ridgeline:1^3", "ridgeline:A-1", "PLT", "neg", "ridgeline"),
        ("ridgeline:2^1", "ridgeline:A-2", None, "7.0,13.1", "ridgeline"),
    ]
    wide = "SELECT LAB_ORDER_ID, MRN, ACCOUNT_NAME, PRIORITY, CAST(ORDERED_AT AS VARCHAR), RESULT_COUNT FROM TRANSFORMED.ORDER_DETAIL_LIVE ORDER BY 1"
    assert [(*row[:4], str(row[4])[:16], row[5]) for row in deployment.rows(wide)] == [
        ("1", "M1", None, "stat", "2026-03-02 08:00", 1),
        ("ridgeline:A-1", "R1", "Harbor Clinic", "stat", "2026-03-02 07:55", 3),
        ("ridgeline:A-2", "R2", "Harbor Clinic", "routine", "None", 1),
    ]
    assert deployment.rows("SELECT CHECK_ID, PASSED FROM CURATED.INSTRUMENT_CHECK_LIVE") == [("ridgeline:1", True)], "a whole new domain"
    made = filter(deployment.instance.get_latest_materialization_event, deployment.instance.all_asset_keys())
    computed = {key.path[-1] for key in made if key.path[0] == "reports"}
    assert "instrument_checks" in computed
    assert not {"daily_activity", "data_quality", "daily_page"} & computed, "their tables have no source here"
    assert deployment.rows("SELECT CHECKS, PASSED FROM REPORTS.INSTRUMENT_CHECKS") == [(1, 1)]

    lake = deployment.lake.open()
    counts = {
        table: partition_manifests(lake, Partition("curated", BOTH, table, FIRST))[-1].counts
        for table in ("patient", "lab_order", "result")
    }
    assert {table: its["unread_times"] for table, its in counts.items() if "unread_times" in its} == {"patient": 1, "lab_order": 1}
    assert (counts["result"]["unmatched"], counts["result"]["excluded_ridgeline"], counts["result"]["split_ridgeline"]) == (1, 1, 4)
    assert (
        deployment.rows("SELECT UNREAD_TIMES FROM CURATED.LAB_ORDER_LIVE WHERE UNREAD_TIMES IS NOT NULL")[0][0].count("this morning") == 1
    )

    # The next day follows each system alone, and everything is proven.
    deployment.execute(
        "UPDATE {s}.rslt SET vals = '7.0,13.1,212', st = 'R', chg_ts = '2026-03-03 10:00Z' WHERE line_no = 2",
        "UPDATE {s}.rqst SET st = 'D', chg_ts = '2026-03-03 10:00Z' WHERE rqst_no = 'A-2'",
    )
    result = deployment.load(FIRST + timedelta(days=1))
    assert result.success, [event.message for event in result.all_events if event.is_step_failure]
    assert deployment.rows(
        "SELECT COMPONENT_CODE, VALUE_RAW, STATUS_NORM FROM CURATED.RESULT_LIVE WHERE RESULT_ID LIKE 'ridgeline:2%' ORDER BY RESULT_ID"
    ) == [
        ("WBC", "7.0", "corrected"),
        ("HGB", "13.1", "corrected"),
        ("PLT", "212", "corrected"),
    ]
    assert deployment.rows("SELECT COUNT(*) FROM CURATED.RESULT_LIVE WHERE SOURCE_SYSTEM = 'lis'") == [(1,)]
    assert deployment.rows("SELECT STATUS, RESULT_COUNT FROM TRANSFORMED.ORDER_DETAIL_LIVE WHERE LAB_ORDER_ID = 'ridgeline:A-2'") == [
        ("completed", 3)
    ]
    report = verify(deployment.lake.open(), [BOTH], session_factory=lambda: deployment.warehouse.session("test"))
    assert {finding.status for finding in report.findings} == {"ok"}, [finding for finding in report.findings if finding.status != "ok"]


def test_its_kpis_and_their_tiles_on_the_page_are_files_which_the_command_line_scaffolds(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_INSIGHTS_CONFIG", str(deployment.path))
    Cli(deployment.path.parent)("scaffold", "kpi", "checks_by_day", "--reads", "instrument_check", code=0)
    declared._kpis.cache_clear()  # the next process
    zone = "America/New_York"
    with deployment.warehouse.session("test") as session:
        made = {receipt.table: (receipt.rows, receipt.day_rows) for receipt in refresh(session, BOTH, zone, FIRST)}
        page = read(session, deployment.lake.open(), BOTH, zone, FIRST)
    assert (made["instrument_checks"], made["checks_by_day"]) == ((1, 1), (1, 1))
    assert deployment.rows("SELECT CAST(EVENT_DAY AS VARCHAR), ROWS_CHANGED FROM REPORTS.CHECKS_BY_DAY") == [(str(FIRST), 1)]
    own = page.tiles[-2:]
    assert {(tile.label, tile.kind, tile.now, tile.before, tile.better) for tile in own} == {
        ("Controls in range", "share", Share(1, 1), Share(0, 0), "up"),
        ("Rows of instrument_check", "count", 1, 0, None),
    }
    html = render(page)
    assert re.search(r"<dt>Controls in range</dt>\s*<dd class=\"value\">100.0%</dd>", html), "a whole new domain"
    assert "of those measured" in html


def test_a_configuration_that_names_no_directory_is_told_by_its_line(deployment: Deployment, tmp_path: Path) -> None:
    wrong = tmp_path / "lab_insights.yaml"
    wrong.write_text(deployment.path.read_text())
    with pytest.raises(ConfigError, match=r"lab_insights\.yaml:\d+: models: there is no directory"):
        config.load(wrong)
