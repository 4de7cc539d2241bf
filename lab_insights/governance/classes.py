"""The PHI class of every column, from the contracts. What no contract classifies is unclassified, and that is PHI until somebody classifies it.

Somebody does so in `lab_insights.yaml`, by patterns of tables and columns (`phi: classes:`); what a contract says can not be said otherwise there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from lab_insights.config import Phi, PhiSection
from lab_insights.lab.contracts import ContractColumn, contracts, directories
from lab_insights.lab.curate import META
from lab_insights.lab.declared import read_by
from lab_insights.lab.transform import META_COLUMNS
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.layout import Layer

PhiClass = Phi | Literal["unclassified"]
# From the one that identifies most.
STRICTEST: tuple[PhiClass, ...] = ("unclassified", "direct", "quasi", "clinical", "operational", "none")
PHI: frozenset[PhiClass] = frozenset({"unclassified", "direct", "quasi", "clinical"})
# The key of a row may be anything, a patient's number included, and so may be a digest of a row that somebody can guess.
NOTHING = PhiSection()
_OURS = frozenset({*META, *META_COLUMNS}) - {"source_pk", "record_hash"}


def phi_class(layer: Layer, table: str, column: str, declared: PhiSection = NOTHING) -> PhiClass:
    """Return the class of a column of a lake table: of what is read into several, the strictest; `declared` classifies what no contract does."""
    its, name = _classes(directories()).get((layer, table.lower()), {}), column.lower()
    if name in its:
        return its[name]
    if layer != "raw" and name in _OURS:
        return "none"
    # the long form of a table has values of all its columns in one: it stays unclassified
    return (_declared(declared, table.lower(), name) if layer != "transformed" else None) or "unclassified"


def description(layer: Layer, table: str, column: str) -> str:
    """Return what the contract says of a column, empty where there is none."""
    return _descriptions(directories()).get((layer, table.lower()), {}).get(column.lower(), "")


def _read() -> Iterator[tuple[str, ContractColumn, str]]:
    """Yield each column of a raw table that is read into a column of a curated one: raw table, that column, and the name in the raw table."""
    for raw, found in read_by().items():
        for contract, mapping in found:
            for column in mapping.read(contract):
                for name in column.reads:
                    yield raw.lower(), column, name.lower()


def modelled(layer: Layer, table: str) -> bool:
    """Return whether a contract describes this table, in whatever case."""
    return (layer, table.lower()) in _classes(directories())


def strictest(classes: list[PhiClass]) -> PhiClass:
    """Return the class that identifies most, `none` of nothing."""
    return min(classes, key=STRICTEST.index, default="none")


def _declared(declared: PhiSection, table: str, column: str) -> PhiClass | None:
    for tables, columns in declared.classes.items():
        if fnmatchcase(table, tables.lower()):
            for pattern, phi in columns.items():
                if fnmatchcase(column, pattern.lower()):
                    return phi
    return None


@functools.cache
def _classes(_: tuple[Path, ...]) -> dict[tuple[Layer, str], dict[str, PhiClass]]:
    found: dict[tuple[Layer, str], dict[str, PhiClass]] = {}
    for raw, column, name in _read():
        landed = found.setdefault(("raw", raw), {})
        landed[name] = strictest([column.phi, landed[name]]) if name in landed else column.phi
    for contract in contracts().values():
        # Of messages the raw row is what `message_log` says; its records are columns of the curated tables alone.
        found["curated", contract.table] = {column.name: column.phi for column in contract.columns}
    for wide in WIDE_TABLES:
        # A wide column is as strict as the columns of its name in the tables that it is made from.
        its = found.setdefault(("transformed", wide.table), {})
        for field in wide.fields:
            inputs = [found["curated", name][field.name] for name in wide.inputs if field.name in found["curated", name]]
            its[field.name] = strictest(inputs) if inputs else "unclassified"
    return found


@functools.cache
def _descriptions(_: tuple[Path, ...]) -> dict[tuple[Layer, str], dict[str, str]]:
    found: dict[tuple[Layer, str], dict[str, str]] = {}
    for raw, column, name in _read():
        found.setdefault(("raw", raw), {}).setdefault(name, column.description)
    for contract in contracts().values():
        found["curated", contract.table] = {column.name: column.description for column in contract.columns}
    for wide in WIDE_TABLES:
        found["transformed", wide.table] = {field.name: field.description for field in wide.fields}
    return found
