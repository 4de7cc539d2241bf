"""Rows without what identifies a person, by the Safe Harbor method (45 CFR 164.514(b)(2)) over the classes of the contracts.

| column | becomes |
|---|---|
| direct or unclassified, and text as the source wrote it (`…_raw`) | left out; an identifier, which rows are joined by, a pseudonym |
| any date or instant | its year; a year of birth of 90 years ago or more is the year 90 years ago |
| postal code | its first three digits, 000 where fewer than 20,000 people live (Census 2000, as the rule's guidance lists them) |
| other quasi-identifiers | left out, but sex |

The rules are written once, as SQL that DuckDB and Snowflake read alike: datasets and the warehouse's DEIDENTIFIED are made by the same text. Pseudonyms
are made here alone, and joined to the rows as pairs of value and pseudonym, so that the key is in no statement and on no server. They are keyed: without
the key nobody can make them from a list of record numbers. What is not guaranteed: a class is what the contract says; a clinical text column in which
somebody wrote a name is only as clean as its class.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from lab_insights.aws import Aws, resolve
from lab_insights.config import PhiSection
from lab_insights.governance.audit import Event, Log
from lab_insights.governance.classes import phi_class
from lab_insights.lake.dataset import Dataset, Pinned
from lab_insights.lake.layout import Layer
from lab_insights.lake.live import workspace
from lab_insights.names import TenantId, quoted

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["date", "text", "other"]
Rule = Literal["pseudonym", "year", "birth year", "zip3", "kept"]
_SPARSE = ("036", "059", "063", "102", "203", "556", "692", "790", "821", "823", "830", "831", "878", "879", "884", "890", "893")
_KEPT_QUASI = frozenset({"sex"})
# What the source wrote, whatever it is called: the normalised column beside it is kept.
_AS_WRITTEN = "_raw"
_IDENTIFIERS = ("_id", "_number", "mrn", "accession", "npi")
# What the lake adds to a row: of no use to a model, and instants close to those of the row.
_OURS = frozenset({"batch_id", "ingested_at", "source_updated_at", "connection_id", "tenant_id", "is_deleted"})
_AGE = 90
# 96 bits: two of a billion values share a pseudonym with a chance of one in ten billion
_DIGITS = 24


def rule(layer: Layer, table: str, column: str, kind: Kind, declared: PhiSection) -> Rule | None:
    """Return what becomes of a column of a lake table, None when it is left out; a `date` is a day or an instant."""
    phi, name = phi_class(layer, table, column, declared), column.lower()
    if name in _OURS:
        return None
    if phi != "unclassified" and name.endswith(_IDENTIFIERS) and kind == "text":
        return "pseudonym"
    if phi in {"direct", "unclassified"} or (kind == "text" and name.endswith(_AS_WRITTEN)):
        return None
    if kind == "date":
        return "birth year" if name.startswith("birth") else "year"
    if name == "postal_code":
        return "zip3"
    return None if phi == "quasi" and name not in _KEPT_QUASI else "kept"


def select(made: Mapping[str, tuple[str, Rule]], beside: Mapping[str, str], source: str, pseudonyms: str, year: int) -> str:
    """Return the query of de-identified rows of `source`, in SQL of both dialects; every name is given quoted.

    `made` maps a column to the one that it is made from and by which rule, `beside` a column to one that is taken as it is. `pseudonyms` has the columns
    `"VALUE"` and `"PSEUDONYM"`. `year` is the one in which nobody is told to be older than 90.
    """
    listed: list[str] = []
    joins: list[str] = []
    for name, (of, by) in made.items():
        value = f"D.{of}"
        if by == "pseudonym":
            alias = f"P{len(joins)}"
            joins.append(f'LEFT JOIN {pseudonyms} AS {alias} ON {alias}."VALUE" = {value}')
            listed.append(f'{alias}."PSEUDONYM" AS {name}')
        else:
            listed.append(f"{_made(value, by, str(year))} AS {name}")
    listed += [f"D.{of} AS {name}" for name, of in beside.items()]
    return " ".join([f"SELECT {', '.join(listed)} FROM {source} AS D", *joins])


def at_most_90(year_of_birth: str, year: str) -> str:
    """Return the SQL of a year of birth that tells no age over 90 in `year`, itself SQL."""
    return f"CASE WHEN {year_of_birth} < {year} - {_AGE} THEN {year} - {_AGE} ELSE {year_of_birth} END"


def _made(value: str, by: Rule, year: str) -> str:
    if by == "year":
        return f"YEAR({value})"
    if by == "birth year":
        return at_most_90(f"YEAR({value})", year)
    if by == "zip3":
        three = f"SUBSTR(TRIM({value}), 1, 3)"
        digits = " AND ".join(f"SUBSTR({three}, {place}, 1) BETWEEN '0' AND '9'" for place in (1, 2, 3))
        sparse = ", ".join(f"'{code}'" for code in _SPARSE)
        return f"CASE WHEN {value} IS NULL THEN NULL WHEN LENGTH({three}) = 3 AND {digits} AND {three} NOT IN ({sparse}) THEN {three} ELSE '000' END"
    return value


def tenant_key(declared: PhiSection, aws: Aws, tenant: TenantId) -> bytes | None:
    """Return the key of a tenant's pseudonyms, None where the deployment has none; two tenants never have the same, even from one secret."""
    if declared.pseudonym_key is None:
        return None
    secret = resolve(declared.pseudonym_key.replace("{tenant}", tenant), aws)
    return hmac.digest(secret.encode(), f"pseudonyms of {tenant}".encode(), "sha256")


def pseudonym(key: bytes, value: str) -> str:
    """Return the pseudonym of a value: equal values of one key have the same."""
    return hmac.digest(key, value.encode(), "sha256").hex()[:_DIGITS]


def pairs(key: bytes, values: Iterable[str]) -> pa.Table:
    """Return values beside their pseudonyms, as `select` joins them."""
    import pyarrow as pa

    every = list(values)
    return pa.table({"VALUE": pa.array(every, pa.string()), "PSEUDONYM": pa.array([pseudonym(key, value) for value in every], pa.string())})


@dataclass(frozen=True)
class Deidentified:
    """A dataset whose tables are read without what identifies; pseudonyms of one `key` can be joined, those of two can not."""

    dataset: Dataset
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def arrow(self, table: str) -> pa.Table:
        """Return a table's rows, de-identified, and leave a record that they were read."""
        import pyarrow as pa
        import pyarrow.compute as pc

        pinned, rows = self.dataset.tables[table], self.dataset.arrow(table)
        rules = {name: by for name in rows.column_names if (by := self._rule(pinned, name, rows.schema.field(name).type))}
        values: set[str] = set()
        for name, by in rules.items():
            if by == "pseudonym":
                values.update(pc.drop_null(pc.unique(rows[name])).to_pylist())
        made = {quoted(name, "duckdb"): (quoted(name, "duckdb"), by) for name, by in rules.items()}
        with workspace() as connection:
            connection.register("__rows", rows.append_column("__place", pa.array(range(rows.num_rows), pa.int64())))
            connection.register("__pseudonyms", pairs(self.key, sorted(values)))
            query = select(made, {"__place": "__place"}, "__rows", "__pseudonyms", self.dataset.as_of.year)
            found = connection.execute(f"{query} ORDER BY __place").to_arrow_table().drop_columns(["__place"])
        event = Event(
            action="dataset.read", subject=f"{pinned.layer}.{table}", counts={"rows": found.num_rows, "columns": found.num_columns}
        )
        Log(self.dataset.storage).append(event, self.dataset.tenant)
        return found

    def _rule(self, pinned: Pinned, name: str, kind: pa.DataType) -> Rule | None:
        import pyarrow.types as pat

        dated, text = pat.is_date(kind) or pat.is_timestamp(kind), pat.is_string(kind) or pat.is_large_string(kind)
        if pat.is_temporal(kind) and not dated:
            return None
        return rule(pinned.layer, pinned.table, name, "date" if dated else "text" if text else "other", self.dataset.storage.phi)
