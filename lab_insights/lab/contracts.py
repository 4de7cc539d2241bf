"""Contracts: what each modelled table is, declared once in `contract_files/*.yaml`, and read from there by everything else.

A deployment adds contracts of its own in the directory `contracts` below the one that `models` of its configuration names (`use`). How further source
tables become rows of a table is said by mapping files (`lab.mappings`).
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lab_insights.config import LOADER, Phi
from lab_insights.errors import ConfigError
from lab_insights.lab import types
from lab_insights.lab.instants import form
from lab_insights.lab.normalise import Parser
from lab_insights.lab.records import Kind

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
DIRECTORY = Path(__file__).parent / "contract_files"


def _type(name: str) -> str:
    if not types.valid(name):
        raise ValueError(f"not a type: use {', '.join(types.NAMES)} or decimal(p,s)")
    return name


def _pairs(mapping: object) -> object:
    return tuple(mapping.items()) if isinstance(mapping, dict) else mapping


class Model(BaseModel):
    """A part of a contract; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class Rule(Model):
    """How a column is read: from the source column `source` (`from:`), or `always` the same, or as an `id`; without any of them it is null.

    `values` normalises codes (`map:`), `parse` reads the value as `lab.normalise` says, `instant` gives the forms of free-text times (`lab.instants`).
    `a|b` is the first of two source columns that is not empty. An `id` joins source columns into `<source>:…`, where `a?` may be empty.
    """

    source: str | None = Field(None, alias="from")
    """The source column that is read."""
    always: str | None = None
    """The same text for every row."""
    id: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Source columns whose values make an identifier."""
    values: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_pairs)] = Field((), alias="map")
    """What each code of the source means; other codes become null."""
    parse: Parser | None = None
    """A parser of `lab.normalise`."""
    instant: Annotated[tuple[Annotated[str, AfterValidator(form)], ...], BeforeValidator(_listed)] = ()
    """Forms of free-text times."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.id and (self.source is not None or self.always is not None)) or (self.instant and self.source is None):
            raise ValueError("a column has one of `from`, `always` and `id`, and `instant` is a way to read `from`")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """The source columns that the column is read from."""
        parts = (self.source,) if self.source is not None else self.id
        return tuple(name for part in parts for name in part.rstrip("?").split("|"))


class ContractColumn(Rule):
    """One column, with how the contract's own source has it.

    A parser may look at other columns of the row (`with:`), which stand before it. `unmapped` names the column that holds the source value beside this
    one: rows that have that and not this are counted in the batch's receipt.
    """

    name: Name
    """Name in every layer."""
    type: Annotated[str, AfterValidator(_type)]
    """Type in the lake."""
    beside: tuple[Name, ...] = Field((), alias="with")
    """Columns before this one that the parser looks at."""
    unmapped: Name | None = None
    """The column that holds the source's value of this one."""
    unit: str | None = None
    """Unit of the values."""
    terminology: str | None = None
    """The code system of the values."""
    phi: Phi
    """PHI class."""
    description: str
    """What it is, in a sentence."""


class SourceMapping(Model):
    """The source table that a contract reads, with the key and cursor that it is known to have.

    With `records` the rows are messages, and the contract reads the records of that kind out of them (`lab.records`); key and cursor are the records'.
    `only` is a flag of the source: a row where it is not set is a tombstone. `rows: versions` keeps every version that was ever landed, not the newest.
    """

    name: Name
    """Name of the source in the configuration."""
    table: str
    """The source table, without a tenant's prefix."""
    key: tuple[str, ...]
    """Columns that identify a row at the source."""
    cursor: str | None = None
    """Column that says when a row changed last."""
    records: Kind | None = None
    """The kind of records that are read out of messages."""
    only: str | None = None
    """Flag without which a row is a tombstone."""
    rows: Literal["newest", "versions"] = "newest"
    """Whether the newest version of a row is kept, or every one."""

    @property
    def whole(self) -> bool:
        """Whether the contract reads the rows of the source table: others read something out of them."""
        return self.records is None


class Contract(Model):
    """One curated table: one row per key and tenant. Without a `source` of its own, mapping files alone feed it."""

    table: Name
    """Name of the curated table."""
    domain: Name
    """Domain: its group and owner."""
    description: str
    """What a row is, in a sentence."""
    key: tuple[Name, ...]
    """Columns that identify a row, for each tenant."""
    source: SourceMapping | None = None
    """The source table that it is made of first."""
    columns: tuple[ContractColumn, ...]
    """The columns, in order."""

    @model_validator(mode="after")
    def _key_is_declared(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names) or not set(self.key) <= set(names):
            raise ValueError("columns need distinct names, and every key column must be one of them")
        if any(column.id for column in self.columns):
            raise ValueError("`id` is for mapping files; the contract's own source keeps its ids, read them by `from`")
        for position, column in enumerate(self.columns):
            if not set(column.beside) <= set(names[:position]) or (column.unmapped and column.unmapped not in names):
                raise ValueError(f"{column.name}: `with` names columns before it, and `unmapped` a column")
        return self

    def column(self, name: str) -> ContractColumn | None:
        """Return a column by name."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def unmapped(self) -> dict[str, str]:
        """The columns that are normalised, each with the column that holds the source value beside it."""
        return {column.name: column.unmapped for column in self.columns if column.unmapped}

    @property
    def version(self) -> str:
        """A digest of the contract: derived data of another digest is stale."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()[:12]


M = TypeVar("M", bound=Model)
_own: tuple[Path, ...] = ()


def use(directory: Path | None) -> None:
    """Let this process read a deployment's own contracts and mappings as well, those below `directory`; None: no others than the package's."""
    global _own  # noqa: PLW0603 (a process serves one deployment, whose configuration says this once)
    _own = (directory,) if directory else ()


def directories() -> tuple[Path, ...]:
    """Return the directories of deployments that are read: what is computed from contracts is kept by them."""
    return _own


def contracts() -> dict[str, Contract]:
    """Return every contract by table name; raise `ConfigError` naming the file and the place."""
    return _contracts(DIRECTORY, directories())


@functools.cache
def _contracts(package: Path, own: tuple[Path, ...]) -> dict[str, Contract]:
    found: dict[str, Contract] = {}
    for path in [*sorted(package.glob("*.yaml")), *(path for each in own for path in sorted((each / "contracts").glob("*.yaml")))]:
        contract = validated(path, Contract)
        if contract.table in found:
            raise ConfigError(
                f"{path}: table: {contract.table} has a contract already.", remedy="call it otherwise, or write a mapping into it."
            )
        found[contract.table] = contract
    return found


def validated(path: Path, model: type[M]) -> M:
    """Return what a file declares; raise `ConfigError` naming the file and the place."""
    try:
        return model.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER))  # noqa: S506 (both are safe loaders)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise ConfigError(f"{path}: {where}: {first['msg']}.", remedy=f"mend `{where}` in this file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{path}:{mark.line + 1 if mark else 1}: not YAML.", remedy="mend the line.") from None
