"""Pure builders of the statements of a load.

Every identifier is quoted, every value is bound or a literal of ours (an instant, an object key).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from lab_insights.lake.checksum import row_text
from lab_insights.lake.layout import Layer
from lab_insights.names import quoted
from lab_insights.warehouse.names import identifier, stage
from lab_insights.warehouse.shape import Shape, filled
from lab_insights.warehouse.types import ColumnType

# Snowflake takes at most this many names in FILES.
FILES = 1000
# Parquet's own types, or dates land in the year 55,000,000; bytes stay bytes, and the text `\N` stays a text.
_FORMAT = "TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE NULL_IF = ()"
_BEGINNING = {"TIMESTAMP_NTZ": "0001-01-01 00:00:00", "DATE": "0001-01-01"}

HEADS_AND_LEDGER = """
SELECT LAYER, TABLE_NAME, VERSION, TO_VARCHAR(SNAPSHOT_DAY), SNAPSHOT_BATCH, SNAPSHOT_AT FROM OPS.HEADS
WHERE TABLE_NAME IN ({tables})
UNION ALL
SELECT LAYER, TABLE_NAME, NULL, TO_VARCHAR(DAY), BATCH_ID, NULL FROM OPS.LEDGER
WHERE TABLE_NAME IN ({tables}) AND DAY BETWEEN ? AND ?"""


VERSION = "SELECT VERSION FROM OPS.HEADS WHERE LAYER = ? AND TABLE_NAME = ?"


def add_heads(count: int) -> str:
    """Return the insertion of so many heads, each a layer and a table, that are not there yet."""
    given = " UNION ALL ".join(["SELECT ? AS LAYER, ? AS TABLE_NAME"] * count)
    return f"""
INSERT INTO OPS.HEADS (LAYER, TABLE_NAME, VERSION) SELECT G.LAYER, G.TABLE_NAME, 0 FROM ({given}) AS G
WHERE NOT EXISTS (SELECT 1 FROM OPS.HEADS AS H WHERE H.LAYER = G.LAYER AND H.TABLE_NAME = G.TABLE_NAME)"""


MOVE_HEAD = "UPDATE OPS.HEADS SET VERSION = VERSION + 1 WHERE LAYER = ? AND TABLE_NAME = ? AND VERSION = ?"
MOVE_HEAD_TO_SNAPSHOT = """
UPDATE OPS.HEADS SET VERSION = VERSION + 1, SNAPSHOT_DAY = CAST(? AS DATE), SNAPSHOT_BATCH = ?, SNAPSHOT_AT = ?
WHERE LAYER = ? AND TABLE_NAME = ? AND VERSION = ?"""

LEDGER_COLUMNS = (
    "LAYER",
    "TABLE_NAME",
    "DAY",
    "BATCH_ID",
    "KIND",
    "STAGED",
    "INSERTED",
    "UPDATED",
    "TOMBSTONED",
    "CHECKSUM",
    "RUN_ID",
)


def ledger_insert(rows: int) -> str:
    """Return the statement that adds `rows` rows of `LEDGER_COLUMNS`, all bound."""
    row = f"({', '.join('?' * len(LEDGER_COLUMNS))})"
    return f"INSERT INTO OPS.LEDGER ({', '.join(LEDGER_COLUMNS)}) VALUES {', '.join([row] * rows)}"


def create_stage_table(stage_table: str, shape: Shape) -> str:
    """Return the statement that makes a batch's stage table, with the files' own spelling and the batch's own types."""
    listed = ", ".join(f"{_spelt(held)} {shape.columns[name].sql}" for held, name in shape.names.items())
    return f"CREATE TRANSIENT TABLE {stage_table} ({listed})"


def copies(stage_table: str, layer: Layer, keys: Sequence[str]) -> list[str]:
    """Return the COPY statements of the named objects."""
    statements = []
    for start in range(0, len(keys), FILES):
        files = ", ".join(literal(key) for key in keys[start : start + FILES])
        statements.append(
            f"COPY INTO {stage_table} FROM @{stage(layer)} FILES = ({files}) FILE_FORMAT = ({_FORMAT}) "
            "MATCH_BY_COLUMN_NAME = CASE_SENSITIVE FORCE = TRUE"
        )
    return statements


def merge(
    target: str,
    columns: Mapping[str, ColumnType],
    stage_table: str,
    shape: Shape,
    *,
    snapshot_at: str | None,
    superseded_by: tuple[str, str] | None,
) -> str:
    """Return the MERGE of a stage table into a target of `columns`: the newest version per key of both sides stays.

    `snapshot_at` is the instant of the batch when it is the table's newest snapshot: what it holds wins over tombstones and
    rows landed before it that are not newer than it, even with an older version, as after a restore of the source.
    `superseded_by` is instant and batch of a newer snapshot that is loaded already: what is not newer than that changes no
    row, and keys that it did not hold arrive as its tombstones.
    """
    selected = [f"{_held(shape, name, columns)} AS {identifier(name)}" for name in columns]
    inserted = {name: f"S.{identifier(name)}" for name in columns}
    if superseded_by:
        for name, value in _as_tombstone(shape, columns, *superseded_by).items():
            selected.append(f"{value} AS {identifier(name + ':INSERTED')}")
            inserted[name] = f"S.{identifier(name + ':INSERTED')}"
    order = ", ".join(f"{_spelt(shape.spelling[name])} DESC NULLS LAST" for name in _order(shape))
    newest = (
        f"SELECT {', '.join(selected)} FROM {stage_table} QUALIFY ROW_NUMBER() OVER "
        f"(PARTITION BY {', '.join(_spelt(shape.spelling[name]) for name in shape.key)} ORDER BY {order}) = 1"
    )
    same_key = " AND ".join(f"EQUAL_NULL(T.{identifier(name)}, S.{identifier(name)})" for name in shape.key)
    update = ", ".join(f"{identifier(name)} = S.{identifier(name)}" for name in columns)
    return (
        f"MERGE INTO {target} AS T USING ({newest}) AS S ON {same_key} "
        f"WHEN MATCHED AND ({_newer(shape, columns, snapshot_at, superseded_by)}) THEN UPDATE SET {update} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(map(identifier, columns))}) VALUES ({', '.join(inserted.values())})"
    )


def tombstone_absent(
    target: str, columns: Mapping[str, ColumnType], stage_table: str, shape: Shape, at: str, replaced: Collection[str] = ()
) -> str:
    """Return the UPDATE that makes tombstones of live rows that are absent from a snapshot, and not newer than it or of batches that it `replaced`.

    It binds the snapshot's batch.
    """
    when, batch = shape.version
    key = [(name, columns[name].arrow) for name in shape.key]
    staged = ", ".join(f"{_held(shape, name, columns)} AS {identifier(name)}" for name in shape.key)
    text, instant = row_text(key, "snowflake"), _instant(at, columns[when])
    passed = f"{_version('', when, columns)} <= {instant}"
    if replaced:
        passed = f"({passed} OR {identifier(batch)} IN ({', '.join(map(literal, sorted(replaced)))}))"
    return (
        f'UPDATE {target} SET "IS_DELETED" = TRUE, {identifier(when)} = {instant}, {identifier(batch)} = ? '
        f'WHERE NOT COALESCE("IS_DELETED", FALSE) AND {passed} '
        f"AND {text} NOT IN (SELECT {text} FROM (SELECT {staged} FROM {stage_table}) AS S)"
    )


def count(stage_table: str) -> str:
    """Return the SELECT of how many rows a stage table has."""
    return f"SELECT COUNT(*) FROM {stage_table}"


def fill(target: str, column: str, columns: Mapping[str, ColumnType], stage_table: str, shape: Shape) -> str:
    """Return the UPDATE that gives one column its values from a stage table, where the target holds that very version and no value."""
    chosen = [*dict.fromkeys([*shape.key, *shape.version, column])]
    selected = ", ".join(f"{_held(shape, name, columns)} AS {identifier(name)}" for name in chosen)
    same = " AND ".join(f"EQUAL_NULL(T.{identifier(name)}, S.{identifier(name)})" for name in (*shape.key, *shape.version))
    plain = identifier(column)
    return (
        f"UPDATE {target} AS T SET {plain} = S.{plain} FROM (SELECT {selected} FROM {stage_table}) AS S "
        f"WHERE {same} AND T.{plain} IS NULL AND S.{plain} IS NOT NULL"
    )


def literal(text: str) -> str:
    """Return a text literal; Snowflake reads backslashes as escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _newer(shape: Shape, columns: Mapping[str, ColumnType], snapshot_at: str | None, superseded_by: tuple[str, str] | None) -> str:
    when, batch = shape.version
    mine, theirs = _version("S.", when, columns), _version("T.", when, columns)
    s_batch, t_batch = f"COALESCE(S.{identifier(batch)}, '')", f"COALESCE(T.{identifier(batch)}, '')"
    later = f"{mine} > {theirs} OR ({mine} = {theirs} AND {s_batch} > {t_batch})"
    if "RECORD_HASH" in columns:
        # the same version with other content: newer code derived the same source rows again
        later += f' OR ({mine} = {theirs} AND {s_batch} = {t_batch} AND NOT EQUAL_NULL(S."RECORD_HASH", T."RECORD_HASH"))'
    if snapshot_at:
        wins = f'{s_batch} > {t_batch} OR (T."IS_DELETED" AND NOT S."IS_DELETED")'
        later += f" OR ({theirs} <= {_instant(snapshot_at, columns[when])} AND ({wins}))"
    return f"{mine} > {_instant(superseded_by[0], columns[when])} AND ({later})" if superseded_by else later


def _as_tombstone(shape: Shape, columns: Mapping[str, ColumnType], at: str, by: str) -> dict[str, str]:
    when, batch = shape.version
    held = {name: _held(shape, name, columns) for name in (when, batch, "IS_DELETED")}
    kind = columns[when]
    not_newer = f"COALESCE({held[when]}, {_instant(_BEGINNING[kind.kind], kind)}) <= {_instant(at, kind)}"
    dead = f"{not_newer} AND NOT {held['IS_DELETED']}"
    values = {when: _instant(at, kind), batch: literal(by), "IS_DELETED": "TRUE"}
    return {name: f"CASE WHEN {dead} THEN {value} ELSE {held[name]} END" for name, value in values.items()}


def _held(shape: Shape, name: str, columns: Mapping[str, ColumnType]) -> str:
    """A target column from the stage table: converted where the target is wider, null where the batch lacks it."""
    found = filled(name, columns, shape, lambda source: _spelt(shape.spelling[source]), "snowflake")
    return found or f"CAST(NULL AS {columns[name].sql})"


def _order(shape: Shape) -> tuple[str, ...]:
    # the hash only makes equal versions come out the same every time
    return (*shape.version, "RECORD_HASH") if "RECORD_HASH" in shape.columns else shape.version


def _version(alias: str, when: str, columns: Mapping[str, ColumnType]) -> str:
    kind = columns[when]
    return f"COALESCE({alias}{identifier(when)}, {_instant(_BEGINNING[kind.kind], kind)})"


def _instant(at: str, kind: ColumnType) -> str:
    return f"CAST({literal(at)} AS {kind.sql})"


def _spelt(name: str) -> str:
    # the one place where the case of a name must stay
    return quoted(name, "duckdb")
