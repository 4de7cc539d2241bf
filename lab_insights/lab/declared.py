"""What the contracts tell the other layers: which raw tables they describe, and how those are keyed."""

from __future__ import annotations

import functools
from collections.abc import Collection

from lab_insights.extract.catalog import table_id
from lab_insights.extract.plan import Declared
from lab_insights.lab.contracts import Contract, contracts
from lab_insights.lab.transform import Wide
from lab_insights.lab.wide import WIDE_TABLES


@functools.cache
def by_raw_table() -> dict[str, Contract]:
    """Return the contracts by the lake id of the raw table whose rows each is; what is read out of them besides, records and versions, is not among them."""
    return {_raw(contract): contract for contract in contracts().values() if contract.source.whole}


@functools.cache
def _becoming() -> dict[str, tuple[Contract, ...]]:
    every = contracts().values()
    return {raw: tuple(contract for contract in every if _raw(contract) == raw) for raw in map(_raw, every)}


def curated_from(raw_table: str) -> dict[str, Contract | None]:
    """Return the curated tables that a raw table becomes, each with its contract; one that no contract describes becomes itself."""
    return {contract.table: contract for contract in _becoming().get(raw_table, ())} or {raw_table: None}


def _raw(contract: Contract) -> str:
    return table_id(contract.source.name, contract.source.table)


def declared() -> dict[str, Declared]:
    """Return key and cursor of every raw table that a contract describes."""
    return {raw: Declared(contract.source.key, contract.source.cursor) for raw, contract in by_raw_table().items()}


def served(sources: Collection[str]) -> dict[str, Contract]:
    """Return the contracts whose source a deployment has, by curated table."""
    return {table: contract for table, contract in contracts().items() if contract.source.name in sources}


def served_wide(sources: Collection[str]) -> list[Wide]:
    """Return the wide tables that a deployment can make: those whose inputs all come from sources that it has."""
    return [wide for wide in WIDE_TABLES if served(sources).keys() >= set(wide.inputs)]
