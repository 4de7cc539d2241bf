"""MkDocs hook: what `lab_insights.yaml` and files of `models` may say, from their models; assets, jobs, schedules and sensors, from the definitions."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import textwrap
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, get_args, get_origin

import dagster as dg
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lab_insights import config as configuration
from lab_insights import definitions
from lab_insights.config import Config
from lab_insights.lab.contracts import Contract
from lab_insights.lab.kpis.declared import Kpi
from lab_insights.lab.mappings import Mapping

FIVE_SOURCES = """
lake: {prefix: acme-lab}
snowflake: {account: acme, credentials: "env:SNOWFLAKE_LOGIN"}
sources:
  crm: {engine: mysql, url: "env:CRM_URL", tenancy: {schema: {schema: "crm_{tenant}"}}}
  lis: {engine: mysql, url: "env:LIS_URL", tenancy: {schema: {schema: "lis_{tenant}"}}}
  audit: {engine: postgresql, url: "env:AUDIT_URL", tenancy: {schema: {schema: "audit_{tenant}"}}}
  messages: {engine: postgresql, url: "env:MESSAGES_URL", tenancy: {schema: {schema: "messages_{tenant}"}}}
  notifications: {engine: dynamodb, tenancy: {discriminator: {column: tenant_id, value: "{key}"}}, tables: [critical_notification]}
partitions: {start: 2026-01-01}
"""
KEYS = """Every key of `lab_insights.yaml`, written from the models that read it. [Configuration](config.md) says the same by example."""
FILES = """What a file in the directory `models` may say, written from the models that read it. `lab-insights scaffold` writes
[contracts and KPIs](../how-to/add.md) to begin with; [mappings](../how-to/map.md) have a page of their own."""
ASSETS = """Written from the specs that Dagster shows, for a configuration of five sources. A deployment has those whose sources it configures, and those of
its own files. *Days × tenants* is [the grid](../explanation/partitions.md) that every step shares."""


JOBS = """Written from the definitions, for a configuration of five sources. In the UI each has a *Launchpad*; in a terminal it is `lab-insights run JOB`.
Every option has a default, so `{}` is a run config of every job. What is none of the choices below is refused, with those that there are, before a run
is made; choices that contradict each other are refused by their step, with the remedy, before it reads anything."""
TICKS = """Written from the definitions. What is off is switched on in the UI under *Automation*, once for a deployment, or
[in a terminal](../how-to/deploy.md#switch-on-what-loads); what somebody switched stays so when the code server starts anew. Both need the daemon."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `keys.md`, `files.md`, `assets.md`, `jobs.md` and `schedules.md` of the reference."""
    built = _built()
    models = "\n".join(
        f"## {title}\n\n{_models(model)}" for title, model in (("Contracts", Contract), ("Mappings", Mapping), ("KPIs", Kpi))
    )
    for name, content in (
        ("keys", f"# Every key of lab_insights.yaml\n\n{KEYS}\n\n{_models(Config)}"),
        ("files", f"# Contract, mapping and KPI files\n\n{FILES}\n\n{models}"),
        ("assets", f"# Assets\n\n{ASSETS}\n\n{_assets(built)}"),
        ("jobs", f"# Jobs\n\n{JOBS}\n\n{_jobs(built)}"),
        ("schedules", f"# Schedules and sensors\n\n{TICKS}\n\n{_ticks(built)}"),
    ):
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def _models(model: type[BaseModel]) -> str:
    return "\n".join(_table(each) for each in dict.fromkeys(_below(model)))


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a model, then those of its fields."""
    yield model
    for field in model.model_fields.values():
        for inner in _inner(field.annotation):
            yield from _below(inner)


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _inner(each)


def _table(model: type[BaseModel]) -> str:
    meanings = _meanings(model)
    rows = "\n".join(
        f"| `{field.alias or name}` | {_type(field.annotation)} | {_default(field)} | {_text(field.description or meanings.get(name, ''))} |"
        for name, field in model.model_fields.items()
    )
    about = " ".join((model.__doc__ or "").split())
    return f"### {model.__name__}\n\n{about}\n\n| key | type | default | meaning |\n|---|---|---|---|\n{rows}\n"


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the text below each field of a model. Pydantic would read it for each process: a ninth of a profile of loading the definitions."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__[: model.__mro__.index(BaseModel)]):
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        for field, below in itertools.pairwise(tree.body if isinstance(tree, ast.ClassDef) else []):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[ast.unparse(field.target)] = inspect.cleandoc(str(below.value.value))
    return found


def _type(annotation: Any) -> str:
    """Return how a person would say the type of a key."""
    origin, arguments = get_origin(annotation), [each for each in get_args(annotation) if each is not type(None)]
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin is dict:
        return f"map of {_type(arguments[1])}"
    if origin is tuple:
        # Pairs are written as a map.
        return f"map of {_type(get_args(arguments[0])[1])}" if get_origin(arguments[0]) is tuple else f"list of {_type(arguments[0])}"
    if arguments:
        return " or ".join(dict.fromkeys(_type(each) for each in arguments))
    if issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return {str: "text", int: "whole number", bool: "true or false", Path: "path", date: "day"}[annotation]


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if value is None or value in ((), {}, "") or isinstance(value, BaseModel):
        return ""
    return _text(f"`{', '.join(map(str, value)) if isinstance(value, tuple) else value}`")


def _built() -> dg.Definitions:
    """Load the definitions as a code server does; nothing is connected to."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "lab_insights.yaml")
        path.write_text(FIVE_SOURCES)
        return definitions.build(configuration.load(path), str(path))


def _assets(built: dg.Definitions) -> str:
    specs = sorted(built.resolve_all_asset_specs(), key=lambda spec: spec.key)
    groups = dict.fromkeys(str(spec.group_name) for spec in specs)
    return "\n".join(f"## {group}\n\n{_group([spec for spec in specs if spec.group_name == group])}" for group in groups)


def _group(specs: list[dg.AssetSpec]) -> str:
    rows = "\n".join(
        f"| `{spec.key.to_user_string()}` | {', '.join(sorted(spec.kinds))} | {', '.join(spec.owners)} | "
        f"{'days × tenants' if spec.partitions_def else ''} | {', '.join(f'`{dep.asset_key.to_user_string()}`' for dep in spec.deps)} |"
        for spec in specs
    )
    return f"| asset | kinds | owner | partitions | made from |\n|---|---|---|---|---|\n{rows}\n"


def _jobs(built: dg.Definitions) -> str:
    return "\n".join(_job(job) for job in built.resolve_all_job_defs() if not job.name.startswith("__"))


def _job(job: dg.JobDefinition) -> str:
    """Return what a job does, what it takes, and the options of its steps, those that have the same together."""
    config = job.partitioned_config
    preset = config.get_run_config_for_partition_key(f"{date.min}|any").get("ops", {}) if config else {}
    over = "Over days × tenants that you choose." if job.partitions_def else "Without partitions."
    by_options: dict[str, list[str]] = {}
    for op in sorted(job.nodes, key=lambda node: node.name):
        fields = getattr(op.definition.config_schema.config_type, "fields", None) or {}  # type: ignore[union-attr]
        its = preset.get(op.name, {}).get("config", {})
        rows = [
            f"| `{name}` | {_option(field)} | `{_value(its.get(name, field.default_value))}` | {_text(field.description)} |"
            for name, field in fields.items()
        ]
        if rows:
            by_options.setdefault("\n".join(["| option | type | default | meaning |", "|---|---|---|---|", *rows]), []).append(
                f"`{op.name}`"
            )
    options = "\n\n".join(f"Under {', '.join(steps)}:\n\n{table}" for table, steps in by_options.items())
    return f"## {job.name}\n\n{job.description} {over}\n\n{options or 'It has no options.'}\n"


def _ticks(built: dg.Definitions) -> str:
    """Return when each schedule and sensor is evaluated, which jobs it asks for, and whether it is on from the start."""
    repository = built.get_repository_def()
    schedules = "\n".join(
        f"| `{each.name}` | `{each.cron_schedule}` | `{each.job_name}` | {_on(each)} | {_text(str(each.description))} |"
        for each in repository.schedule_defs
    )
    sensors = "\n".join(
        f"| `{each.name}` | {each.minimum_interval_seconds} | {', '.join(f'`{target.job_name}`' for target in each.targets)} | {_on(each)} "
        f"| {_text(str(each.description))} |"
        for each in repository.sensor_defs
    )
    return (
        f"## Schedules\n\n| schedule | cron, in UTC | job | from the start | what it does |\n|---|---|---|---|---|\n{schedules}\n\n"
        f"## Sensors\n\n| sensor | seconds between looks | jobs | from the start | what it does |\n|---|---|---|---|---|\n{sensors}\n"
    )


def _on(each: dg.ScheduleDefinition | dg.SensorDefinition) -> str:
    return "on" if each.default_status.value == "RUNNING" else "**off**"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _option(field: dg.Field) -> str:
    """Return how a person would say the type of an option."""
    choices = getattr(field.config_type, "config_values", None)
    if choices:
        return ", ".join(f"`{each}`" for each in choices)
    types = {"Bool": "true or false", "Int": "whole number", "Array": "list of text"}
    return next(said for name, said in types.items() if name in field.config_type.key)


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "&#124;")
