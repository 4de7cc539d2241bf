"""MkDocs hook: the tables, written from contracts, mappings and wide tables, so that the page can not differ from them."""

from __future__ import annotations

from collections.abc import Iterable

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from lab_insights.assets.specs import meta_columns
from lab_insights.governance.classes import phi_class
from lab_insights.lab import unpivot
from lab_insights.lab.contracts import Contract, ContractColumn, contracts
from lab_insights.lab.curate import META
from lab_insights.lab.mappings import Mapping, mappings
from lab_insights.lab.transform import META_COLUMNS, Wide
from lab_insights.lab.wide import WIDE_TABLES


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `reference/tables.md`."""
    files.append(File.generated(config, "reference/tables.md", content=page()))
    return files


INTRODUCTION = """PHI classes: `direct` identifies a person, `quasi` does together with others, `clinical` is about a
person's health, `operational` and `none` are neither; `unclassified` is PHI until somebody says what it is."""

CURATED = """Written from the contracts in `lab_insights/lab/contract_files` and the mappings in `lab_insights/lab/mapping_files`. Tables that no
contract describes are curated as they were landed. [Another laboratory system](../how-to/map.md) is mapped into these tables by files."""

TRANSFORMED = """Written from `lab_insights/lab/wide.py`. A wide table has a row for each key, as of the end of the day; a day re-emits each row that its
changes touch. A column has the strictest class of those of its name in the tables that it is made from."""

LONG = """### <table>_long

A table that customers made, columns to rows ([why so](../adr/user-defined-tables.md)). One row per `row_key` and `column_name`."""


def page() -> str:
    """Return the page."""
    curated = "\n".join(_curated(contract) for contract in contracts().values())
    wide = "\n".join(_wide(each) for each in WIDE_TABLES)
    long = [(name, kind, phi_class("transformed", "crm.udt_long", name), told) for name, (kind, told) in unpivot.COLUMNS.items()]
    return "\n\n".join(
        [
            f"# Tables\n\n{INTRODUCTION}",
            f"## Curated\n\n{CURATED}\n\n{_everywhere('curated', META)}",
            curated,
            f"## Transformed\n\n{TRANSFORMED}\n\n{_everywhere('transformed', META_COLUMNS)}",
            wide,
            f"{LONG}\n\n{_columns(long)}",
        ]
    )


def _everywhere(layer: str, names: tuple[str, ...]) -> str:
    told = "\n".join(f"| `{column.name}` | {column.type} | {column.description} |" for column in meta_columns(names))
    return f"Every {layer} row carries:\n\n| column | type | description |\n|---|---|---|\n{told}\n"


def _wide(wide: Wide) -> str:
    key, read = (", ".join(f"`{name}`" for name in names) for names in (wide.key, wide.inputs))
    columns = [(field.name, field.type, phi_class("transformed", wide.table, field.name), field.description) for field in wide.fields]
    return f"### {wide.table}\n\n{wide.description} One row per {key}. Made from {read}.\n\n{_columns(columns)}"


def _columns(columns: Iterable[tuple[str, str, str, str]]) -> str:
    rows = "\n".join(f"| `{name}` | {kind} | {phi} | {told.replace('|', '&#124;')} |" for name, kind, phi, told in columns)
    return f"| column | type | PHI | description |\n|---|---|---|---|\n{rows}\n"


def _curated(contract: Contract) -> str:
    rows = "\n".join(
        f"| `{column.name}` | {column.type} | {column.unit or column.terminology or ''} | {column.phi} | "
        f"{column.description.replace('|', '&#124;')} |"
        for column in contract.columns
    )
    key = " and ".join(f"`{name}`" for name in contract.key)
    if any(mapping.source.rows == "versions" for mapping in mappings()[contract.table]):
        key += ", never replaced"
    sources = "\n".join(_mapping(contract, mapping) for mapping in mappings()[contract.table])
    return f"""### {contract.table}

{contract.description} One row per {key}.

| column | type | unit or terminology | PHI | description |
|---|---|---|---|---|
{rows}

{sources}
"""


def _mapping(contract: Contract, mapping: Mapping) -> str:
    read = f"the `{mapping.source.records}` records in the messages of " if mapping.source.records else ""
    rules = {column.name: _rule(column, mapping) for column in mapping.read(contract)}
    rows = "\n".join(f"| `{name}` | {rule} |" for name, rule in rules.items() if rule)
    notes = [f"rows whose `{column}` is {' or '.join(codes)} are none of this table" for column, codes in mapping.skip]
    if mapping.split:
        columns = ", ".join(f"`{name}`" for name in mapping.split.columns)
        notes.append(f"{columns}: split by the components of the `{mapping.split.test}`, a row for each")
    if mapping.slots:
        notes.append(f"a row for each column that is like {', '.join(f'`{name}`' for name in mapping.slots.columns)}")
    key = ", ".join(f"`{name}`" for name in mapping.source.key)
    return f"""From {read}`{mapping.raw}`, key {key}, cursor `{mapping.source.cursor}`{"".join(f"; {note}" for note in notes)}:

| column | read from |
|---|---|
{rows}
"""


def _rule(column: ContractColumn, mapping: Mapping) -> str:
    """Return how a source has a column, empty where it does not."""
    if column.always is not None:
        return f"always `{column.always}`"
    if column.id:
        return f"`{mapping.source.name}:` and {', '.join(f'`{part}`' for part in column.id)}"
    if column.source is None:
        return ""
    codes = ", ".join(f"{code} = {meaning}" for code, meaning in column.values)
    ways = [
        *(f"as `{form}`" for form in column.instant),
        *([f"read as {column.parse.replace('_', ' ')}"] if column.parse else []),
        *([f"codes {codes}"] if codes else []),
    ]
    return f"`{column.source}`{''.join(f', {way}' for way in ways)}".replace("|", "&#124;")
