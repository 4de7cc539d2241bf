"""`catalog find`: columns, codes and PHI classes, searched by a text.

Codes are those that the product declares (maps of contracts, LOINC codes of monitoring and genomics, SNOMED CT codes of words), and the LOINC codes that
laboratories map their own analytes to, from their catalogues in the lake (`test_component`, which holds no PHI).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Literal

from lab_insights.aws import Aws
from lab_insights.governance import glue
from lab_insights.governance.classes import phi_class
from lab_insights.lab import genomic
from lab_insights.lab.contracts import contracts
from lab_insights.lab.kpis.monitoring import monitoring
from lab_insights.lab.terminology import WORDS
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import Layer
from lab_insights.lake.tables import loaded, relation
from lab_insights.names import TenantId

_READERS = 16
_CATALOGUE = "test_component"


@dataclass(frozen=True)
class Hit:
    """One find: a column, or a code of one; `matched` says by what it was found."""

    matched: Literal["table", "column", "code", "phi", "description"]
    layer: Layer
    table: str
    column: str
    type: str
    phi: str
    description: str
    code: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the find as plain values."""
        return asdict(self)


def find(lake: Lake, tenants: Iterable[TenantId], text: str) -> list[Hit]:
    """Return what `text` is part of, whatever its case: declared tables and codes, what a crawl has put into the catalog, and tenants' own catalogues."""
    wanted = text.casefold()
    found: dict[tuple[str, ...], Hit] = {}
    for hit in [*_declared(), *_crawled(lake.storage.aws, lake.storage.prefix), *_mapped(lake, tenants)]:
        fields = {"code": hit.code, "column": hit.column, "phi": hit.phi, "table": hit.table, "description": hit.description}
        matched = next((name for name, value in fields.items() if _matches(name, value, wanted)), None)
        if matched is None or (hit.code and matched != "code"):
            continue
        key = (hit.layer, glue.table_name(hit.table), hit.column.lower(), hit.code)
        found.setdefault(key, Hit(**asdict(hit) | {"matched": matched}))
    return sorted(found.values(), key=lambda hit: (hit.layer, hit.table, hit.column, hit.code))


def _matches(name: str, value: str, wanted: str) -> bool:
    # a class is a word, not a part of one
    return value.casefold() == wanted if name == "phi" else bool(value) and wanted in value.casefold()


def _declared() -> Iterator[Hit]:
    for contract in contracts().values():
        for column in contract.columns:
            yield Hit("column", "curated", contract.table, column.name, column.type, column.phi, column.description)
    for table, name, code, meaning in _codes():
        yield _code(table, name, f"{code} = {meaning}")
    for wide in WIDE_TABLES:
        for field in wide.fields:
            phi = phi_class("transformed", wide.table, field.name)
            yield Hit("column", "transformed", wide.table, field.name, field.type, phi, field.description)


def _codes() -> Iterator[tuple[str, str, str, str]]:
    """Yield curated table, column, code and meaning of what the product knows."""
    for contract in contracts().values():
        for column in contract.columns:
            yield from ((contract.table, column.name, code, meaning) for code, meaning in column.values)
    yield from (("result", "loinc", analyte.loinc, analyte.name) for analyte in monitoring().analytes)
    yield from (("genomic_result", name, loinc, name) for loinc, (name, _) in genomic.CODES.items())
    yield from (("result", "value_code", code, word) for word, code in WORDS.items())


def _code(table: str, name: str, code: str) -> Hit:
    column = next(each for each in contracts()[table].columns if each.name == name)
    return Hit("code", "curated", table, name, column.type, column.phi, column.description, code)


def _mapped(lake: Lake, tenants: Iterable[TenantId]) -> Iterator[Hit]:
    with ThreadPoolExecutor(_READERS) as pool:
        for codes in pool.map(functools.partial(_catalogue, lake), tenants):
            yield from (_code(_CATALOGUE, "loinc", code) for code in codes)


def _catalogue(lake: Lake, tenant: TenantId) -> list[str]:
    """Return the LOINC codes of a tenant's own catalogue, each with the name and the local code of its analyte."""
    import pyarrow as pa

    batches = lake.state.batches("curated", tenant, _CATALOGUE)
    newest = max((index for index, batch in enumerate(batches) if batch.kind == "snapshot"), default=0)
    schema = pa.schema([*((name, pa.string()) for name in ("test_code", "component_code", "loinc", "name")), ("is_deleted", pa.bool_())])
    # most days bring nothing new to a catalogue
    rows = relation(lake.storage, loaded(lake, [batch for batch in batches[newest:] if batch.rows]), schema)
    held: dict[tuple[str, str], str | None] = {}
    for each in (rows if isinstance(rows, pa.Table) else rows.to_table()).to_pylist():
        told = f"{each['loinc']} = {each['name']} ({each['component_code']})" if each["loinc"] and not each["is_deleted"] else None
        held[each["test_code"], each["component_code"]] = told
    return [told for told in held.values() if told]


def _crawled(aws: Aws, prefix: str) -> Iterator[Hit]:
    for layer, table, column in glue.columns_of(aws, prefix):
        phi = column.get("Parameters", {}).get("phi", "unclassified")
        yield Hit("column", layer, table, column["Name"], column["Type"], phi, column.get("Comment", ""))
