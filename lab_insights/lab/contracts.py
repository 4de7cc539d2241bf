"""Contracts: what each modelled table is, declared once in `contract_files/*.yaml`, and read from there by everything else."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lab_insights.config import Phi
from lab_insights.errors import ConfigError
from lab_insights.lab import types
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


class ContractColumn(Model):
    """One column. `source` is the source column (`from:`), `values` normalises codes (`map:`), `parse` reads the value as `lab.normalise` says.

    A parser may look at other columns of the row (`with:`), which stand before it. `unmapped` names the column that holds the source value beside this
    one: rows that have that and not this are counted in the batch's receipt. `always` is the column's value in every row, whatever the source says.
    """

    name: Name
    type: Annotated[str, AfterValidator(_type)]
    source: str = Field(alias="from")
    values: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_pairs)] = Field((), alias="map")
    parse: Parser | None = None
    beside: tuple[Name, ...] = Field((), alias="with")
    unmapped: Name | None = None
    always: str | None = None
    unit: str | None = None
    terminology: str | None = None
    phi: Phi
    description: str


class SourceMapping(Model):
    """The source table that a contract reads, with the key and cursor that it is known to have.

    With `records` the rows are messages, and the contract reads the records of that kind out of them (`lab.records`); key and cursor are the records'.
    `only` is a flag of the source: a row where it is not set is a tombstone. `rows: versions` keeps every version that was ever landed, not the newest.
    """

    name: Name
    table: str
    key: tuple[str, ...]
    cursor: str | None = None
    records: Kind | None = None
    only: str | None = None
    rows: Literal["newest", "versions"] = "newest"

    @property
    def whole(self) -> bool:
        """Whether the contract is what the source table is: others read something out of its rows."""
        return self.records is None and self.rows == "newest"


class Contract(Model):
    """One curated table: one row per key and tenant."""

    table: Name
    domain: Literal["crm", "laboratory", "audit", "messaging"]
    description: str
    key: tuple[Name, ...]
    source: SourceMapping
    columns: tuple[ContractColumn, ...]

    @model_validator(mode="after")
    def _key_is_declared(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names) or not set(self.key) <= set(names):
            raise ValueError("columns need distinct names, and every key column must be one of them")
        for position, column in enumerate(self.columns):
            if not set(column.beside) <= set(names[:position]) or (column.unmapped and column.unmapped not in names):
                raise ValueError(f"{column.name}: `with` names columns before it, and `unmapped` a column")
        return self

    @property
    def unmapped(self) -> dict[str, str]:
        """The columns that are normalised, each with the column that holds the source value beside it."""
        return {column.name: column.unmapped for column in self.columns if column.unmapped}

    @property
    def version(self) -> str:
        """A digest of the contract: derived data of another digest is stale."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()[:12]


@functools.cache
def contracts() -> dict[str, Contract]:
    """Return every contract by table name; raise `ConfigError` naming the file and the place."""
    found: dict[str, Contract] = {}
    for path in sorted(DIRECTORY.glob("*.yaml")):
        try:
            contract = Contract.model_validate(yaml.safe_load(path.read_text()))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(step) for step in first["loc"])
            raise ConfigError(f"{path.name}: {where}: {first['msg']}.", remedy="mend the contract.") from None
        found[contract.table] = contract
    return found
