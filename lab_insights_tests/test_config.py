"""The configuration: what is wrong is told by line and remedy, and nothing that is misspelt is taken for right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from lab_insights import config
from lab_insights.errors import ConfigError

GOOD = """\
aws: {region: eu-west-1}
lake: {prefix: acme-lab}
snowflake: {account: acme, credentials: "secret:acme/snowflake"}
sources:
  lis:
    engine: mysql
    url: env:LIS_URL
    tenancy:
      schema: {schema: "lab_{tenant}"}
      prefix: {schema: shared, prefix: "t{key}_"}
      discriminator: {schema: pooled, column: tenant_id, value: "{key}"}
    overrides:
      patient: {load: full, key: [id]}
  notifications:
    engine: dynamodb
    tables: [calls]
    tenancy: {discriminator: {column: tenant_id, value: "{key}"}}
partitions: {start: 2026-01-01}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lab_insights.yaml"


def test_a_whole_file_is_read_with_its_defaults(path: Path) -> None:
    path.write_text(GOOD)
    found = config.load(path)
    assert (found.lake.prefix, found.partitions.start, found.clock) == ("acme-lab", date(2026, 1, 1), None)
    lis = found.sources["lis"]
    assert list(lis.tenancy.offered()) == ["schema", "prefix", "discriminator"]
    assert (lis.limits.connections, lis.limits.lag, lis.include) == (4, 300, ("*",))
    assert lis.overrides["patient"].key == ("id",)


@pytest.mark.parametrize(
    ("change", "line", "told"),
    [
        (("prefix: acme-lab", "prefix: Acme_Lab"), 2, "lake.prefix"),
        (("region: eu-west-1", "regin: eu-west-1"), 1, "aws.regin"),
        (("engine: mysql", "engine: oracle"), 6, "sources.lis.engine"),
        (("url: env:LIS_URL", "url: mysql://root:hidden@db/x"), 7, "sources.lis.url"),
        (("    url: env:LIS_URL\n", ""), 5, "url: env:NAME"),
        (('schema: "lab_{tenant}"', 'schema: "lab_{customer}"'), 9, "only `{tenant}` and `{key}`"),
        (('prefix: "t{key}_"', 'prefix: "t{key}"'), 10, "t1 would begin t12"),
        (
            ('schema: pooled, column: tenant_id, value: "{key}"', 'schema: pooled, column: tenant_id, value: "{"'),
            11,
            "only `{tenant}` and `{key}`",
        ),
        (("load: full", "load: sometimes"), 13, "sources.lis.overrides.patient.load"),
        (("key: [id]}", "ranges: 0}"), 13, "sources.lis.overrides.patient.ranges"),
        (("    overrides:", "    limits: {hours: 22-6}\n    overrides:"), 12, "sources.lis.limits.hours"),
        (("    overrides:", '    limits: {hours: "25:00-06:00"}\n    overrides:'), 12, "sources.lis.limits.hours"),
        (("    overrides:", '    limits: {hours: "06:00-06:00"}\n    overrides:'), 12, "hours that begin when they end are none"),
        (("    overrides:", "    limits: {zone: Mars}\n    overrides:"), 12, "not an IANA time zone"),
        (("    tables: [calls]\n", ""), 14, "needs `tables:`"),
        (("tables: [calls]", "tables: [out-calls, other, in-calls]"), 14, "out-calls and in-calls would both be calls"),
        (('{discriminator: {column: tenant_id, value: "{key}"}}', '{schema: {schema: "s"}}'), 14, "discriminator"),
        (("start: 2026-01-01", "start: yesterday"), 18, "partitions.start"),
        (("  notifications:", "  No-Tifications:"), 14, "sources.No-Tifications"),
        (("lake: {prefix: acme-lab}\n", ""), 1, "lake"),
        (("lake: {prefix: acme-lab}", "lake: {prefix: acme-lab"), 3, "not YAML"),
        (("lake: {prefix: acme-lab}", "lake: {prefix: \x07}"), 1, "not YAML"),
    ],
)
def test_what_is_wrong_is_told_by_its_line(path: Path, change: tuple[str, str], line: int, told: str) -> None:
    assert change[0] in GOOD
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ConfigError) as raised:
        config.load(path)
    assert f"{path}:{line}:" in raised.value.message
    assert told in str(raised.value)
    assert raised.value.remedy
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"- a\n- b\n", b"lake", b"\xff\xfe\x00", b"null"])
def test_what_is_no_configuration_at_all_is_a_clear_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        config.load(path)
    assert f"{path}:1:" in raised.value.message


def test_a_file_that_is_not_there_says_how_to_get_one(path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration at") as raised:
        config.load(path)
    assert "local up" in raised.value.remedy


def test_the_file_is_found_by_variable_then_home_then_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, named, here = tmp_path / "home", tmp_path / "named.yaml", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("LAB_INSIGHTS_CONFIG", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert config.locate() == Path("lab_insights.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert config.locate() == Path("lab_insights.yaml")
    (home / "lab_insights.yaml").write_text(GOOD)
    assert config.locate() == home / "lab_insights.yaml"
    monkeypatch.setenv("LAB_INSIGHTS_CONFIG", str(named))
    assert config.locate() == named


def test_every_key_has_a_meaning_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "docs")
    meanings = import_module("generated_models")._meanings
    silent, todo, seen = [], [config.Config], set[type]()
    while todo:
        model = todo.pop()
        seen.add(model)
        for name, field in model.model_fields.items():
            silent += [] if field.description or meanings(model).get(name) else [f"{model.__name__}.{name}"]
            todo += [inner for inner in _models(field.annotation) if inner not in seen]
    assert len(seen) > 10
    assert silent == []


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)
