"""KPI tables that a deployment declares: one file each, `kpis/<name>.yaml` below the directory that `models` of its configuration names.

A file is SQL with names in braces: each curated table that it reads, each KPI table that it is counted `after`, and `{zone}`, the tenant's IANA zone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lab_insights.errors import ConfigError
from lab_insights.lab.contracts import Contract, Model, Name, contracts, directories, validated
from lab_insights.lab.kpis import INPUTS, REPORTS
from lab_insights.lab.kpis.model import INSTANT, TIME_ZONE, ZONED, Column, Input, Relations, Report

_TYPE = re.compile(r"(VARCHAR|BOOLEAN|DATE|FLOAT|TIMESTAMP_NTZ|NUMBER\(\d{1,2},\d{1,2}\))")
_COUNT = re.compile(r"NUMBER\(\d{1,2},0\)")
_TYPES = {
    "string": "VARCHAR",
    "json": "VARCHAR",
    "int64": "NUMBER(19,0)",
    "float64": "FLOAT",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": INSTANT,
}


def _type(name: str) -> str:
    if not _TYPE.fullmatch(name):
        raise ValueError("not a type: use VARCHAR, BOOLEAN, DATE, FLOAT, TIMESTAMP_NTZ or NUMBER(p,s)")
    return name


class KpiColumn(Model):
    """A column: its Snowflake type, and its definition in a sentence."""

    type: Annotated[str, AfterValidator(_type)]
    """Snowflake type."""
    definition: str
    """What it says, in a sentence."""


class KpiTile(Model):
    """A tile of the report's page: the last 7 days beside the 7 days before.

    Days of a `count` are added up, of `at_end` the last one is taken, and a `share` is a sum by a sum.
    """

    label: str
    """What the page calls it; the page to share says it too, so name nobody."""
    kind: Literal["count", "at_end", "share"] = "count"
    """How days become a number."""
    column: Name | None = None
    """The column of a count, or of the count at the end."""
    numerator: Name | None = None
    """The column above the line of a share."""
    denominator: Name | None = None
    """The column below it."""
    better: Literal["up", "down"] | None = None
    """Which way is good, where one is."""
    note: str = ""
    """A few words below the number."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return tuple(name for name in (self.column, self.numerator, self.denominator) if name)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        said = {name for name in ("column", "numerator", "denominator") if getattr(self, name)}
        if said != ({"numerator", "denominator"} if self.kind == "share" else {"column"}):
            raise ValueError("a share has `numerator` and `denominator`, a count has `column`")
        return self


class Kpi(Model):
    """One KPI table: `sql` returns the declared columns, a row per `key`, whose column `day` says which day a row belongs to.

    `reads` names curated tables with the columns that are needed; a tenant that lacks one has it empty. `after` names KPI tables.
    """

    name: Name
    """Name of the table in `REPORTS`."""
    description: str
    """What it shows, in a sentence."""
    source: str
    """Who defines it so."""
    key: tuple[Name, ...]
    """Columns that identify a row."""
    day: Name = "event_day"
    """The column that says which day a row belongs to."""
    reads: dict[Name, tuple[Name, ...]] = Field({})
    """Curated tables, each with the columns that are read."""
    after: tuple[Name, ...] = ()
    """KPI tables that are read."""
    columns: dict[Name, KpiColumn]
    """The columns, in order. A table that has a `TIMESTAMP_NTZ` is given one more, `time_zone`: the tenant's."""
    tile: KpiTile | None = None
    """Its tile on the report's page; none when left out."""
    sql: str
    """A query with `{name}` for each table of `reads` and `after`, and `{zone}`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not set(self.key) <= set(self.columns) or self.day not in self.columns:
            raise ValueError("every column of `key`, and `day`, must be one of `columns`")
        if TIME_ZONE in self.columns:
            raise ValueError(f"columns: {TIME_ZONE} is the tenant's zone, which a table that has instants is given; call yours otherwise")
        if self.tile and self.columns[self.day].type != "DATE":
            raise ValueError(f"tile: {self.day} must be a DATE, for days to be added up")
        for name in self.tile.columns if self.tile else ():
            if name not in self.columns or not _COUNT.fullmatch(self.columns[name].type):
                raise ValueError(f"tile: {name} must be one of `columns`, of type NUMBER(p,0)")
        if both := set(self.reads) & set(self.after):
            raise ValueError(f"{min(both)} stands in `reads` and in `after`")
        try:
            named = {field for _, field, _, _ in Formatter().parse(self.sql) if field is not None}
        except ValueError:
            raise ValueError("sql: a brace is not closed; write one that is meant as `{{` or `}}`") from None
        if wrong := named - {*self.reads, *self.after, "zone"}:
            raise ValueError(f"sql: {{{min(wrong)}}} is neither in `reads` nor in `after`, nor `zone`")
        return self

    def report(self) -> Report:
        """Return the table as those of the package are."""
        relations = {table: self._relation(table) for table in self.reads} | {name: name for name in self.after}

        def build(held: Relations, zone: str) -> str:
            return self.sql.format(**{name: held[relation] for name, relation in relations.items()}, zone=zone.replace("'", ""))

        columns = {name: Column(column.type, column.definition) for name, column in self.columns.items()}
        if any(column.type == INSTANT for column in columns.values()):
            columns |= ZONED
        inputs = tuple(self._relation(table) for table in self.reads)
        return Report(self.name, self.description, self.source, self.key, columns, inputs, build, self.after, self.day)

    def inputs(self) -> dict[str, Input]:
        """Return what the table reads, by relation; types are those of the contracts."""
        once = {each.table for each in INPUTS.values() if each.counted_once}
        return {
            self._relation(table): Input(table, {name: _snowflake(contracts()[table], name) for name in names}, counted_once=table in once)
            for table, names in self.reads.items()
        }

    def _relation(self, table: str) -> str:
        return f"{self.name}__{table}"


def reports() -> tuple[Report, ...]:
    """Return every KPI table, the deployment's own after the package's and after those that they are counted from."""
    return (*REPORTS, *(kpi.report() for kpi in _kpis(directories())))


def computable(tables: Collection[str]) -> tuple[Report, ...]:
    """Return the KPI tables of a deployment that has these curated and transformed `tables`: those that read some of them, and no others but optional ones.

    Where the page can be made, all are: it may show any of them.
    """
    if has_page(tables):
        return reports()
    read, found = inputs(), dict[str, Report]()
    for report in reports():
        its = [read[name] for name in report.inputs]
        lacking = [each for each in its if each.table not in tables]
        if all(each.optional for each in lacking) and (not its or len(lacking) < len(its)) and found.keys() >= set(report.after):
            found[report.name] = report
    return tuple(found.values())


def has_page(tables: Collection[str]) -> bool:
    """Return whether the report's page can be made of `tables`: it shows all KPI tables of the package."""
    return all(each.table in tables for each in INPUTS.values() if not each.optional)


def tiled() -> tuple[tuple[Kpi, KpiTile], ...]:
    """Return the deployment's KPI tables that have a tile, with it."""
    return tuple((kpi, kpi.tile) for kpi in _kpis(directories()) if kpi.tile)


def inputs() -> dict[str, Input]:
    """Return what every KPI table reads, by relation."""
    return INPUTS | {name: each for kpi in _kpis(directories()) for name, each in kpi.inputs().items()}


@functools.cache
def _kpis(own: tuple[Path, ...]) -> tuple[Kpi, ...]:
    """Read the files; raise `ConfigError` naming the file and the place."""
    waiting = {path: validated(path, Kpi) for each in own for path in sorted((each / "kpis").glob("*.yaml"))}
    known, found = {report.name for report in REPORTS}, list[Kpi]()
    while waiting:
        ready = [path for path, kpi in waiting.items() if set(kpi.after) <= known]
        if not ready:
            path, kpi = next(iter(waiting.items()))
            raise ConfigError(
                f"{path}: after: there is no KPI table {min(set(kpi.after) - known)} that could come first.",
                remedy=f"name one of {', '.join(sorted(known))}.",
            )
        for path in ready:
            kpi = waiting.pop(path)
            if wrong := _wrong(kpi, known):
                raise ConfigError(f"{path}: {wrong}.", remedy="mend it in this file.")
            known.add(kpi.name)
            found.append(kpi)
    return tuple(found)


def _wrong(kpi: Kpi, known: set[str]) -> str | None:
    """Return what is wrong with a file beside the contracts and the KPI tables that are there."""
    if kpi.name in known:
        return f"name: there is a KPI table {kpi.name} already"
    for table, names in kpi.reads.items():
        contract = contracts().get(table)
        if contract is None:
            return f"reads: there is no contract of {table}"
        if missing := [name for name in names if contract.column(name) is None]:
            return f"reads: {table} has no column {missing[0]}; it has {', '.join(column.name for column in contract.columns)}"
    return None


def _snowflake(contract: Contract, name: str) -> str:
    column = contract.column(name)
    assert column is not None  # noqa: S101 (asked when the file was read)
    return _TYPES.get(column.type) or column.type.replace("decimal", "NUMBER")
