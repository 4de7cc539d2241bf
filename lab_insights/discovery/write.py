"""The commented `lab_insights.yaml` of what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import yaml

from lab_insights.config import Config
from lab_insights.discovery.look import Seen
from lab_insights.discovery.tenancy import Proposal


@dataclass(frozen=True)
class Deployment:
    """What no database can tell: where the lake and the warehouse are, and the first day."""

    prefix: str
    region: str
    endpoint_url: str | None
    account: str
    credentials: str
    start: date


def render(deployment: Deployment, found: Sequence[tuple[Seen, Proposal]]) -> str:
    """Return the text of the file; it is a valid configuration and holds references in place of URLs and passwords."""
    endpoint = f"\n  endpoint_url: {_quoted(deployment.endpoint_url)} # a local server in place of AWS" if deployment.endpoint_url else ""
    text = f"""\
# Lab Insights: where the data is and where it goes. Every key: docs/reference/config.md. `lab-insights doctor` tries all of it.
# URLs and passwords are not in this file: `env:NAME` is a variable of the process, `secret:NAME` a secret of AWS Secrets Manager.

aws:
  region: {_quoted(deployment.region)}{endpoint}

lake:
  # The parameter with which deploy/template.yaml was deployed: every bucket, table, queue and topic is named from it.
  prefix: {_quoted(deployment.prefix)}

snowflake:
  account: {_quoted(deployment.account)}
  # JSON: {{"user": ..., "password": ...}} or {{"user": ..., "private_key": ...}}.
  credentials: {_quoted(deployment.credentials)}
  # warehouse: LOAD
  # role: LOADER

# What pseudonyms are made with: a secret of random text. Without it the schema DEIDENTIFIED stays empty.
# phi: {{pseudonym_key: {_quoted(f"secret:{deployment.prefix}/pseudonyms")}}}

partitions:
  # The first day, in UTC. Days before it do not exist; the first load holds what the sources have by then, however old.
  start: {deployment.start}

sources:
{"".join(_source(seen, proposal) for seen, proposal in found)}"""
    Config.model_validate(yaml.safe_load(text))
    return text


def _source(seen: Seen, proposal: Proposal) -> str:
    where = "" if seen.engine == "dynamodb" else f", {len(seen.schemas)} schema{'' if len(seen.schemas) == 1 else 's'}"
    lines = [f"# {seen.version}{where}, {seen.tables} table{'' if seen.tables == 1 else 's'} that this login sees.", f"{seen.name}:"]
    lines += [f"  engine: {seen.engine}"]
    if seen.reference:
        lines += [f"  url: {_quoted(seen.reference)}"]
    else:
        lines += [f"  tables: [{', '.join(_quoted(table) for tables in seen.schemas.values() for table in tables)}]"]
    lines += [f"  # Proposed, since {proposal.evidence}.", *([f"  # Check: {proposal.check}."] if proposal.check else [])]
    lines += ["  tenancy:", f"    {proposal.layout}:"]
    lines += [f"      {key}: {_quoted(value)}" for key, value in proposal.keys.items()]
    if seen.engine != "dynamodb":
        lines += ["  # exclude: [tmp_*]", "  # limits: {connections: 4, hours: 22:00-06:00}"]
    # A name in a comment may hold a line break; what follows it would be read as YAML.
    return "".join(f"  {' '.join(line.splitlines())}\n" for line in lines)


def _quoted(text: str) -> str:
    # YAML reads JSON's strings, and a plain word may be a number, a date or a truth value.
    return json.dumps(text, ensure_ascii=False)
