"""`catalog find`: columns, the codes that contracts know, and PHI classes, searched by a text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from lab_insights.aws import Aws
from lab_insights.governance import glue
from lab_insights.governance.classes import phi_class
from lab_insights.lab.contracts import contracts
from lab_insights.lab.wide import WIDE_TABLES
from lab_insights.lake.layout import Layer


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


def find(aws: Aws, prefix: str, text: str) -> list[Hit]:
    """Return what `text` is part of, whatever its case: declared tables, and all that a crawl has put into the catalog."""
    wanted = text.casefold()
    found: dict[tuple[str, ...], Hit] = {}
    for hit in [*_declared(), *_crawled(aws, prefix)]:
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
            for code, meaning in column.values:
                yield Hit(
                    "code", "curated", contract.table, column.name, column.type, column.phi, column.description, f"{code} = {meaning}"
                )
    for wide in WIDE_TABLES:
        for field in wide.fields:
            phi = phi_class("transformed", wide.table, field.name)
            yield Hit("column", "transformed", wide.table, field.name, field.type, phi, field.description)


def _crawled(aws: Aws, prefix: str) -> Iterator[Hit]:
    for layer, table, column in glue.columns_of(aws, prefix):
        phi = column.get("Parameters", {}).get("phi", "unclassified")
        yield Hit("column", layer, table, column["Name"], column["Type"], phi, column.get("Comment", ""))
