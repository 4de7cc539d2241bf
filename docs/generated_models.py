"""MkDocs hook: what `lab_insights.yaml`, contracts, mappings and KPI files may say, from their models; and every asset, from its spec."""

from __future__ import annotations

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


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `reference/keys.md`, `reference/files.md` and `reference/assets.md`."""
    models = "\n".join(
        f"## {title}\n\n{_models(model)}" for title, model in (("Contracts", Contract), ("Mappings", Mapping), ("KPIs", Kpi))
    )
    for name, content in (
        ("keys", f"# Every key of lab_insights.yaml\n\n{KEYS}\n\n{_models(Config)}"),
        ("files", f"# Contract, mapping and KPI files\n\n{FILES}\n\n{models}"),
        ("assets", f"# Assets\n\n{ASSETS}\n\n{_assets()}"),
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
    rows = "\n".join(
        f"| `{field.alias or name}` | {_type(field.annotation)} | {_default(field)} | {_text(field.description or '')} |"
        for name, field in model.model_fields.items()
    )
    about = " ".join((model.__doc__ or "").split())
    return f"### {model.__name__}\n\n{about}\n\n| key | type | default | meaning |\n|---|---|---|---|\n{rows}\n"


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


def _assets() -> str:
    """Load the definitions as a code server does; nothing is connected to."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "lab_insights.yaml")
        path.write_text(FIVE_SOURCES)
        built = definitions.build(configuration.load(path), str(path))
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


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "&#124;")
