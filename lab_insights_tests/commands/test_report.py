"""`lab-insights report` over a deployment whose lake holds one page."""

from __future__ import annotations

import json
import webbrowser
from datetime import date
from pathlib import Path

import pytest
import typer

from lab_insights.aws import Aws
from lab_insights.lake.storage import Storage
from lab_insights.names import tenant_id
from lab_insights.tenants.registry import Registry, Tenant
from lab_insights.warehouse.report_page import LAYER, key
from lab_insights_tests.commands.test_commands import CONFIG, Cli, _wide, cli

__all__ = ["_wide", "cli"]
DAY = date(2026, 3, 2)
AURORA = tenant_id("aurora")


@pytest.fixture
def reported(cli: Cli, aws_endpoint: str, deployed_prefix: str) -> Cli:
    cli.path.write_text(CONFIG.format(endpoint=aws_endpoint, prefix=deployed_prefix))
    aws = Aws(endpoint_url=aws_endpoint)
    Registry(aws, deployed_prefix).put(Tenant.model_validate({"id": AURORA, "key": "1"}))
    for shared, body in {False: b"whole", True: b"shared"}.items():
        Storage(aws, deployed_prefix).put(LAYER, key(AURORA, DAY, shared=shared), body)
    return cli


def test_the_page_is_written_here_and_opened_when_asked(reported: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(typer, "launch", opened.append)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    reported("report", "--tenant", "aurora", "--date", str(DAY), code=0)
    assert opened == []
    path = tmp_path / "report-aurora-2026-03-02.html"
    assert path.read_bytes() == b"whole"
    reported("report", "--tenant", "aurora", "--date", str(DAY), "--open", code=0)
    assert opened == [path.as_uri()]
    told = json.loads(reported("report", "--tenant", "aurora", "--date", str(DAY), "--json", code=0).stdout)
    assert told == {"tenant": "aurora", "day": str(DAY), "file": str(path), "bytes": len(b"whole"), "deidentified": False}


def test_the_page_to_share_is_another_file(reported: Cli, tmp_path: Path) -> None:
    reported("report", "--tenant", "aurora", "--date", str(DAY), "--deidentified", code=0)
    assert (tmp_path / "report-aurora-2026-03-02-deidentified.html").read_bytes() == b"shared"
    reported("report", "--tenant", "aurora", "--date", str(DAY), "--deidentified", "--output", "x.html", code=0)
    assert (tmp_path / "x.html").read_bytes() == b"shared"


def test_what_is_not_there_is_told_with_what_to_do(reported: Cli) -> None:
    output = reported("report", "--tenant", "aurora", "--date", "2026-03-03", code=1).output
    assert "There is no report of this day." in output
    assert "remedy: materialize reports" in output
    assert "is no date" in reported("report", "--tenant", "aurora", "--date", "yesterday", code=2).output
    assert "does not hold this tenant" in reported("report", "--tenant", "nobody", "--date", str(DAY), code=2).output
    assert (
        "can not be written" in reported("report", "--tenant", "aurora", "--date", str(DAY), "--output", "/nowhere/x.html", code=2).output
    )
