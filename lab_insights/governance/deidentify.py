"""A dataset without what identifies a person, by the Safe Harbor method (45 CFR 164.514(b)(2)) over the classes of the contracts.

| column | becomes |
|---|---|
| direct or unclassified | left out; an identifier, which rows are joined by, a pseudonym |
| any date or instant | its year; a year of birth of 90 years ago or more is the year 90 years ago |
| postal code | its first three digits, 000 where fewer than 20,000 people live (Census 2000, as the rule's guidance lists them) |
| other quasi-identifiers | left out, but sex |

Pseudonyms are keyed: without the key nobody can make them from a list of record numbers. What is not guaranteed: a class is what the contract says; a
clinical text column in which somebody wrote a name is only as clean as its class.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab_insights.governance.audit import Event, Log
from lab_insights.governance.classes import phi_class
from lab_insights.lake.dataset import Dataset, Pinned

if TYPE_CHECKING:
    import pyarrow as pa

_SPARSE = frozenset(["036", "059", "063", "102", "203", "556", "692", "790", "821", "823", "830", "831", "878", "879", "884", "890", "893"])
_KEPT_QUASI = frozenset({"sex", "sex_raw"})
_IDENTIFIERS = ("_id", "_number", "mrn", "accession", "npi")
# What the lake adds to a row: of no use to a model, and instants close to those of the row.
_OURS = frozenset({"batch_id", "ingested_at", "source_updated_at", "connection_id", "tenant_id", "is_deleted"})
_AGE = 90
_Rule = Callable[["pa.ChunkedArray"], "pa.Array | pa.ChunkedArray"]


@dataclass(frozen=True)
class Deidentified:
    """A dataset whose tables are read without what identifies; pseudonyms of one `key` can be joined, those of two can not."""

    dataset: Dataset
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def arrow(self, table: str) -> pa.Table:
        """Return a table's rows, de-identified, and leave a record that they were read."""
        import pyarrow as pa

        pinned, rows = self.dataset.tables[table], self.dataset.arrow(table)
        rules = {name: rule for name in rows.column_names if (rule := self._rule(pinned, name, rows.schema.field(name).type))}
        made = pa.table({name: rule(rows[name]) for name, rule in rules.items()})
        event = Event(action="dataset.read", subject=f"{pinned.layer}.{table}", counts={"rows": made.num_rows, "columns": made.num_columns})
        Log(self.dataset.storage).append(event, self.dataset.tenant)
        return made

    def _rule(self, pinned: Pinned, name: str, kind: pa.DataType) -> _Rule | None:
        """Return what becomes of a column, None when it is left out."""
        import pyarrow.types as pat

        phi = phi_class(pinned.layer, pinned.table, name)
        if name in _OURS:
            return None
        if phi != "unclassified" and name.endswith(_IDENTIFIERS) and pat.is_string(kind):
            return self._pseudonyms
        if phi in {"direct", "unclassified"}:
            return None
        if pat.is_temporal(kind):
            return self._birth_years if name.startswith("birth") else _years
        if name == "postal_code":
            return _zip3
        return None if phi == "quasi" and name not in _KEPT_QUASI else _as_it_is

    def _pseudonyms(self, values: pa.ChunkedArray) -> pa.Array:
        import pyarrow as pa

        return pa.array([None if value is None else self._pseudonym(value) for value in values.to_pylist()], pa.string())

    def _pseudonym(self, value: str) -> str:
        return hmac.new(self.key, value.encode(), hashlib.sha256).hexdigest()[:24]

    def _birth_years(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        oldest = pa.scalar(self.dataset.as_of.year - _AGE, pa.int64())
        years = _years(values)
        return pc.if_else(pc.less(years, oldest), oldest, years)


def _as_it_is(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values


def _years(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.year(values)


def _zip3(values: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    three = [None if value is None else str(value).strip()[:3] for value in values.to_pylist()]
    return pa.array([None if value is None else ("000" if value in _SPARSE or len(value) < 3 else value) for value in three], pa.string())
