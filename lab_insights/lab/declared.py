"""What contracts and mappings tell the other layers: which raw tables they describe, and how those are keyed."""

from __future__ import annotations

import fnmatch
import functools
from pathlib import Path

from lab_insights.config import Source
from lab_insights.extract.plan import Declared
from lab_insights.lab.contracts import Contract, contracts, directories
from lab_insights.lab.mappings import Mapping, every, mappings
from lab_insights.lab.transform import Wide
from lab_insights.lab.wide import WIDE_TABLES

Sources = dict[str, Source]


def by_raw_table() -> dict[str, Contract]:
    """Return the contract by the lake id of each raw table whose rows it reads, the first where several do; readers of records are not among them."""
    return {raw: contract for raw, [(contract, _), *_] in read_by().items()}


def read_by() -> dict[str, list[tuple[Contract, Mapping]]]:
    """Return what each raw table is read by, by its lake id; readers of records in messages are not among them."""
    return {raw: its for raw, found in _readers(directories()).items() if (its := [each for each in found if each[1].source.whole])}


@functools.cache
def _readers(_: tuple[Path, ...]) -> dict[str, list[tuple[Contract, Mapping]]]:
    found: dict[str, list[tuple[Contract, Mapping]]] = {}
    for contract, mapping in every():
        found.setdefault(mapping.raw, []).append((contract, mapping))
    return found


def curated_from(raw_table: str) -> dict[str, Contract | None]:
    """Return the curated tables that a raw table feeds, each with its contract; one that none describes becomes itself."""
    return {contract.table: contract for contract, _ in _readers(directories()).get(raw_table, ())} or {raw_table: None}


def raw_tables(contract: Contract) -> list[str]:
    """Return the lake ids of the raw tables that feed a curated table, its own source's first."""
    return list(dict.fromkeys(mapping.raw for mapping in mappings()[contract.table]))


def declared() -> dict[str, Declared]:
    """Return key, cursor and the columns that are read of every raw table that a contract or mapping describes."""
    return {raw: _declared([mapping for _, mapping in readers]) for raw, readers in read_by().items()}


def _declared(readers: list[Mapping]) -> Declared:
    its = readers[0].source
    return Declared(its.key, its.cursor, tuple(name for mapping in readers for _, rule in mapping.columns for name in rule.reads))


def has(sources: Sources, mapping: Mapping) -> bool:
    """Return whether a deployment reads the source table of a mapping: a table that its `include` and `exclude` leave out is expected nowhere."""
    source = sources.get(mapping.source.name)
    return source is not None and source.takes(mapping.source.table)


def is_user_defined(table: str, sources: Sources) -> bool:
    """Return whether a curated table is one that customers made, by its source's patterns: it becomes a long one."""
    source, _, name = table.partition(".")
    patterns = sources[source].user_defined if source in sources else ()
    return table not in by_raw_table() and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def served(sources: Sources) -> dict[str, Contract]:
    """Return the contracts that a source table of a deployment feeds, by curated table."""
    return {table: contract for table, contract in contracts().items() if any(has(sources, mapping) for mapping in mappings()[table])}


def served_wide(sources: Sources) -> list[Wide]:
    """Return the wide tables that a deployment can make: those whose inputs it has all."""
    return [wide for wide in WIDE_TABLES if served(sources).keys() >= set(wide.inputs)]
