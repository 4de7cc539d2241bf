"""Mappings: how each source table becomes rows of a curated table, one file each in `mapping_files/<source>/`; a contract's own `source` is one more.

A deployment adds mappings in `mappings` below its directory (`contracts.use`): a further laboratory system is files alone. Its ids are `<source>:<id>`, so
that they are nobody else's; those of a contract's own source are as the source has them. Every id that refers to a row is written by the same rule as
the key of that row, so tables of all systems are joined by equal ids.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from lab_insights.errors import ConfigError
from lab_insights.extract.catalog import table_id
from lab_insights.extract.projection import TEXT_SUFFIX
from lab_insights.lab.contracts import Contract, ContractColumn, Model, Name, Rule, SourceMapping, contracts, directories, validated
from lab_insights.lab.records import COMMON, FIELDS

DIRECTORY = Path(__file__).parent / "mapping_files"
# What a split makes beside the parts: the component's code, and its place in the list, from 1.
COMPONENT, POSITION = "@component", "@position"
# What columns that become rows make: the column's name, its value as text, and its type.
COLUMN, VALUE, TYPE = "@column", "@value", "@type"
MADE = frozenset({COMPONENT, POSITION, COLUMN, VALUE, TYPE})
"""Columns that no source has."""


def _pairs(given: object) -> object:
    return tuple(given.items()) if isinstance(given, dict) else given


class Split(Model):
    """Columns that hold the values of several components, parted by `by`: a row becomes one for each component of its test's list.

    `test` is the column that names the test, `components` the list of each; parts stand under their own columns' names. A row of as many parts as none of
    its test's list stays whole, without a component, and is counted as unmatched.
    """

    columns: tuple[str, ...] = Field(min_length=1)
    """Columns that hold several values."""
    by: str = Field(",", min_length=1)
    """What stands between the values."""
    test: str
    """Column that names the test."""
    components: Annotated[tuple[tuple[str, tuple[str, ...]], ...], BeforeValidator(_pairs)]
    """Codes of the components of each test, in order."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if not self.components or any(not listed or len(set(listed)) < len(listed) for _, listed in self.components):
            raise ValueError("a split needs a list of components for each test, each named once")
        return self


class Slots(Model):
    """Columns that become rows: one for each column but the key whose name is like one of `columns` (`text_*`), with `@column`, `@value` and `@type`.

    Where a row has no value there, its row is a tombstone: what an earlier version said is gone.
    """

    columns: tuple[str, ...] = Field(min_length=1)
    """Patterns of the columns' names."""

    def found(self, names: Iterable[str], key: Iterable[str]) -> list[str]:
        """Return the names of those columns; a column beside one, of what its type can not hold, is part of that one."""
        its = [name for name in names if name not in key and not name.endswith(TEXT_SUFFIX)]
        return [name for name in its if any(fnmatchcase(name, pattern) for pattern in self.columns)]


class Mapping(Model):
    """How one source table becomes rows of the curated table `into`. What a column's rule leaves out is as the contract says; a column without one is null.

    `skip` names codes, by source column, of rows that are none of this table.
    """

    into: Name
    """The curated table."""
    source: SourceMapping
    """The source table."""
    split: Split | None = None
    """How values that lie in one column are parted."""
    slots: Slots | None = None
    """Which columns become rows."""
    skip: Annotated[tuple[tuple[str, tuple[str, ...]], ...], BeforeValidator(_pairs)] = ()
    """Codes of rows that are left out, by source column."""
    columns: Annotated[tuple[tuple[Name, Rule], ...], BeforeValidator(_pairs)]
    """How each column is read."""

    @property
    def raw(self) -> str:
        """The lake id of the raw table."""
        return table_id(self.source.name, self.source.table)

    @property
    def version(self) -> str:
        """A digest of the mapping: rows that another one made are stale."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()[:12]

    @property
    def is_own(self) -> bool:
        """Whether this is the contract's own source, whose ids are as it has them."""
        return contracts()[self.into].source == self.source

    @property
    def one_to_one(self) -> bool:
        """Whether the curated key tells apart what the source's key does; else several source rows may be versions of one curated row."""
        rules = dict(self.columns)
        read = {name for key in contracts()[self.into].key if key in rules for name in rules[key].reads}
        return read == {*self.source.key, *([self.place] if self.place else [])}

    @property
    def place(self) -> str | None:
        """What tells apart the rows that one row of the source becomes; None where it becomes one."""
        return POSITION if self.split else COLUMN if self.slots else None

    def read(self, contract: Contract) -> tuple[ContractColumn, ...]:
        """Return the contract's columns, each with how this source has it."""
        rules = dict(self.columns)
        return tuple(_ruled(column, rules.get(column.name)) for column in contract.columns)


_NOTHING = {"source": None, "always": None, "id": (), "instant": ()}
_PLAIN = {"values": (), "parse": None, "beside": ()}


def _ruled(column: ContractColumn, rule: Rule | None) -> ContractColumn:
    if rule is None:
        return column.model_copy(update={**_NOTHING, **_PLAIN})
    said = {name: getattr(rule, name) for name in rule.model_fields_set}
    inherited = {} if rule.source is not None and not rule.instant else _PLAIN
    return column.model_copy(update={**_NOTHING, **inherited, **said})


def mappings() -> dict[str, tuple[Mapping, ...]]:
    """Return the mappings of each curated table, its contract's own source first; raise `ConfigError` naming file and place of one that can not be."""
    return _mappings(DIRECTORY, directories())


def every() -> Iterator[tuple[Contract, Mapping]]:
    """Yield every mapping with its contract."""
    known = contracts()
    return ((known[table], mapping) for table, found in mappings().items() for mapping in found)


def told_by_messages() -> set[str]:
    """Return the sources that hold messages: what they tell may be what a laboratory system has as well."""
    return {mapping.source.name for _, mapping in every() if mapping.source.records}


@functools.cache
def _mappings(package: Path, own: tuple[Path, ...]) -> dict[str, tuple[Mapping, ...]]:
    known = contracts()
    found = {table: [_own(contract)] if contract.source else [] for table, contract in known.items()}
    for path in [*sorted(package.rglob("*.yaml")), *(path for each in own for path in sorted((each / "mappings").rglob("*.yaml")))]:
        mapping = validated(path, Mapping)
        if wrong := _wrong(mapping, known.get(mapping.into), found):
            where, what, remedy = wrong
            raise ConfigError(f"{path}: {where}: {what}.", remedy=remedy)
        found[mapping.into].append(mapping)
    for table, its in found.items():
        if not its:
            raise ConfigError(f"The contract of {table} has no source, and no mapping feeds it.", remedy="write a mapping file into it.")
    return {table: tuple(its) for table, its in found.items()}


def _own(contract: Contract) -> Mapping:
    assert contract.source is not None  # noqa: S101 (asked before)
    rules = [(column.name, Rule.model_validate({name: getattr(column, name) for name in Rule.model_fields})) for column in contract.columns]
    return Mapping(into=contract.table, source=contract.source, columns=tuple(rules))


Fault = tuple[str, str, str]
"""Place, fault and remedy."""


def _wrong(mapping: Mapping, contract: Contract | None, found: dict[str, list[Mapping]]) -> Fault | None:
    """Return what is wrong with a mapping that can not be, beside those that were `found` before it."""
    if contract is None:
        return "into", f"there is no contract of {mapping.into}", "write the contract, or correct the name."
    return _wrong_column(mapping, contract) or _wrong_key(mapping, contract, found[contract.table]) or _wrong_source(mapping, found)


def _wrong_column(mapping: Mapping, contract: Contract) -> Fault | None:
    kind, names = mapping.source.records, {column.name for column in contract.columns}
    told = {*COMMON, *FIELDS[kind], "remarks"} if kind else None
    for name, rule in mapping.columns:
        if name not in names:
            return f"columns.{name}", f"{contract.table} has no such column", f"its columns are {', '.join(sorted(names))}."
        if told is not None and (unknown := set(rule.reads) - told):
            return f"columns.{name}", f"{kind} records have no {min(unknown)}", f"they have {', '.join(sorted(told))}."
    return None


def _wrong_key(mapping: Mapping, contract: Contract, others: list[Mapping]) -> Fault | None:
    rules = dict(mapping.columns)
    read = [key for key in contract.key if key in rules and rules[key].reads]
    for key in contract.key:
        if not read or key not in rules or (key not in read and rules[key].always is None):
            return (
                f"columns.{key}",
                "a key column is not mapped",
                "read it from the source, by `id:` where the table has other sources too.",
            )
    # a constant that names the source, or is no other's, tells its keys apart as an id does
    constants = [{key: rule.always for key, rule in other.columns if rule.always is not None} for other in others]
    apart = (
        rules[key].always is not None and all(its.get(key, rules[key].always) != rules[key].always for its in constants)
        for key in contract.key
    )
    if others and not any(rules[key].id or rules[key].always == mapping.source.name for key in contract.key) and not any(apart):
        return f"columns.{contract.key[0]}", "the table has another source, whose keys these could be", "read a key column by `id:`."
    return None


def _wrong_source(mapping: Mapping, found: dict[str, list[Mapping]]) -> Fault | None:
    source = mapping.source
    for its in (each for several in found.values() for each in several if each.raw == mapping.raw):
        if its.into == mapping.into and its.source.records == source.records:
            return "source", f"{mapping.raw} is mapped into {mapping.into} already", "remove one of the two mappings."
        if its.source.whole and source.whole and (its.source.key, its.source.cursor) != (source.key, source.cursor):
            return "source", f"the mapping of {mapping.raw} into {its.into} says another key or cursor", "say the same in both."
    return None
