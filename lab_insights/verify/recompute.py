"""Computing derived batches again with the pipeline's own code, to compare with what lies in the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab_insights.lab import curation, pipeline, transform, unpivot
from lab_insights.lab.contracts import Contract
from lab_insights.lab.engine import Duck
from lab_insights.lake import duck
from lab_insights.lake.checksum import checksum_sql
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.lake.state import Head
from lab_insights.lake.tables import relation, state
from lab_insights.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa

# The one column that depends on the attempt and not on the inputs: manifests leave it out of their checksums too.
ATTEMPT = "batch_id"


@dataclass(frozen=True)
class Content:
    """Rows and their order-free checksum, as manifests hold them."""

    rows: int
    checksum: int

    @property
    def told(self) -> str:
        """How the content is told in a sentence; the checksum is of whole rows, and so no value."""
        return f"{self.rows} rows with checksum {self.checksum}"


def told_by(manifest: Manifest) -> Content:
    """Return what a manifest says that its batch holds."""
    return Content(manifest.rows, manifest.checksum or 0)


def unlike(lake: Lake, manifests: Sequence[Manifest]) -> dict[str, Content]:
    """Return what lies in the parts of those batches of a table (by object key) that hold something else than their manifests say."""
    schemas: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        if manifest.rows:
            schemas.setdefault(manifest.arrow_schema, []).append(manifest)
    found: dict[str, Content] = {}
    for alike in schemas.values():
        # checksums add up, and planning one costs more than summing a day: only where the sum is wrong is each looked at
        each = [told_by(manifest) for manifest in alike]
        total = Content(sum(content.rows for content in each), sum(content.checksum for content in each))
        if in_parts(lake, alike) != total:
            held = {manifest.object_key: in_parts(lake, [manifest]) for manifest in alike}
            found |= {key: content for (key, content), told in zip(held.items(), each, strict=True) if content != told}
    return found


def in_parts(lake: Lake, alike: Sequence[Manifest]) -> Content:
    """Return what lies in the parts of batches of one schema."""
    schema = alike[0].schema_()
    return _content({"rows": relation(lake.storage, alike, schema)}, quoted("rows", "duckdb"), schema)


def curated(
    lake: Lake, raw_table: str, contract: Contract | None, manifest: Manifest, landed: Mapping[str, Sequence[Manifest]]
) -> tuple[Content, str]:
    """Return what a day's raw batches give when they are curated now, and the version of the code that says so."""
    inputs = curation.inputs_of(raw_table, contract, landed)
    query, relations = curation.query_of(lake.storage, inputs)
    gone = curation.gone_of(lake, manifest.tenant, manifest.day, inputs, state) if manifest.kind == "delta" else None
    if gone is None:
        return _content(relations, f"({query.sql})", query.schema), curation.version_of(inputs)
    with Duck({**relations, **gone[1]}) as engine:
        engine.run(query)
        engine.add(gone[0])
        return Content(engine.rows(), engine.checksum(without=(ATTEMPT,))), curation.version_of(inputs)


def wide(lake: Lake, table: transform.Wide, manifest: Manifest, deltas: Mapping[str, Sequence[Manifest]]) -> tuple[Content, str]:
    """Return what a wide table's day gives now, from the day's curated batches and the state as of its end, and the code's version."""
    query = transform.transformed(table)
    curated = pipeline.Curated(lake, manifest.tenant, manifest.day, state, {name: list(each) for name, each in deltas.items()})
    inputs = pipeline.wide_inputs(curated, table) | {"run": _run(manifest)}
    return _content(inputs, f"({query.sql})", query.schema), pipeline.wide_version(table)


def long(lake: Lake, manifest: Manifest, curated: Manifest) -> tuple[Content, str]:
    """Return what a user-defined table's day gives when its columns are turned to rows now, and the code's version."""
    query = unpivot.unpivoted(curated.schema_(), curated.key)
    inputs = {"rows": relation(lake.storage, [curated], curated.schema_()), "run": _run(manifest)}
    return _content(inputs, f"({query.sql})", query.schema), unpivot.CODE_VERSION


def _run(manifest: Manifest) -> pa.Table:
    return pipeline.run_row(manifest.tenant, manifest.day, Head("", ""))


def _content(inputs: Mapping[str, Any], sql: str, schema: pa.Schema) -> Content:
    columns = [(field.name, field.type) for field in schema if field.name != ATTEMPT]
    with duck.over(inputs) as connection:
        rows, checksum = connection.execute(checksum_sql(columns, sql, "duckdb")).fetchall()[0]
    return Content(int(rows), int(checksum or 0))
