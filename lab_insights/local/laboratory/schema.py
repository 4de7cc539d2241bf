"""What a source table is made of, in the words of `tables.py`, and the pure functions that turn it into SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lab_insights.local.laboratory.tenancy import Placement, Relational
from lab_insights.names import quoted

ServerDialect = Literal["mysql", "postgresql"]
DISCRIMINATOR = "tenant_id"

# Word → (MySQL type, PostgreSQL type). A trailing `?` makes the column nullable; a number is a length.
_TYPES = {
    "int": ("INT", "INTEGER"),
    "big": ("BIGINT", "BIGINT"),
    "flag": ("TINYINT(1)", "SMALLINT"),
    "text": ("VARCHAR({0})", "VARCHAR({0})"),
    "latin1": ("VARCHAR({0}) CHARACTER SET latin1", "VARCHAR({0})"),
    "long": ("TEXT", "TEXT"),
    "stamp": ("DATETIME(6)", "TIMESTAMP(6)"),
    "instant": ("TIMESTAMP(6)", "TIMESTAMPTZ(6)"),
    "date": ("DATE", "DATE"),
    "zerodate": ("DATE", "DATE"),
    "time": ("TIME", "TIME"),
    "span": ("TIME", "INTERVAL"),
    "decimal": ("DECIMAL({0})", "NUMERIC({0})"),
    "double": ("DOUBLE", "DOUBLE PRECISION"),
    "json": ("JSON", "JSONB"),
    "blob": ("BLOB", "BYTEA"),
    "enum": ("ENUM({0})", "VARCHAR(40)"),
    "inet": ("VARCHAR(45)", "INET"),
}
_NOW = {"mysql": "CURRENT_TIMESTAMP(6)", "postgresql": "(now() AT TIME ZONE 'utc')"}


@dataclass(frozen=True)
class Table:
    """A source table: column name → type word, primary key (empty: none), indexed columns."""

    name: str
    source: Relational
    columns: dict[str, str]
    key: tuple[str, ...] = ("id",)
    indexes: tuple[str, ...] = ("updated_at",)
    transactional: bool = True

    def of_type(self, word: str) -> tuple[str, ...]:
        """Return the names of the columns whose type word is `word`."""
        return tuple(name for name, declared in self.columns.items() if declared.rstrip("?").split(":")[0] == word)


def columns(spec: str) -> dict[str, str]:
    """Return the columns of `name:word[:argument][?]` words parted by spaces."""
    parted = (word.partition(":") for word in spec.split())
    return {name: declared for name, _, declared in parted}


def qualified(name: str, placement: Placement, dialect: ServerDialect) -> str:
    """Return the quoted name of a table where `placement` puts it."""
    return f"{quoted(placement.schema, dialect)}.{quoted(placement.prefix + name, dialect)}"


def column_type(word: str, dialect: ServerDialect) -> str:
    """Return the SQL type of a type word, with its nullability."""
    name, _, argument = word.rstrip("?").partition(":")
    if name == "enum":
        argument = ", ".join(f"'{choice}'" for choice in argument.split(","))
    sql = _TYPES[name][0 if dialect == "mysql" else 1].format(argument)
    # MySQL makes the first TIMESTAMP column NOT NULL with an automatic value unless NULL is said.
    return f"{sql} NULL" if word.endswith("?") else f"{sql} NOT NULL"


def create_table(table: Table, placement: Placement, dialect: ServerDialect) -> list[str]:
    """Return the statements that make `table` and its indexes; a pooled table leads its key with the discriminator."""
    columns, key = dict(table.columns), table.key
    if placement.discriminator is not None:
        columns = {DISCRIMINATOR: "int", **columns}
        key = (DISCRIMINATOR, *key) if key else key
    lines = [f"{quoted(name, dialect)} {_declared(name, word, dialect)}" for name, word in columns.items()]
    if key:
        lines.append(f"PRIMARY KEY ({_names(key, dialect)})")
    target = qualified(table.name, placement, dialect)
    indexes = [name for name in table.indexes if name in columns]
    if dialect == "mysql":
        lines += [f"KEY {quoted(f'by_{name}', dialect)} ({quoted(name, dialect)})" for name in indexes]
        engine = "InnoDB" if table.transactional else "MyISAM"
        return [f"CREATE TABLE {target} (\n  {_joined(lines)}\n) ENGINE={engine}"]
    return [
        f"CREATE TABLE {target} (\n  {_joined(lines)}\n)",
        *(f"CREATE INDEX ON {target} ({quoted(name, dialect)})" for name in indexes),
    ]


def add_column(table: str, column: str, word: str, default: str, placement: Placement, dialect: ServerDialect) -> str:
    """Return the statement that adds a column whose default fills old rows without moving their `updated_at`."""
    declared = f"{quoted(column, dialect)} {column_type(word, dialect)} DEFAULT '{default}'"
    return f"ALTER TABLE {qualified(table, placement, dialect)} ADD COLUMN {declared}"


def create_schema(name: str, dialect: ServerDialect) -> str:
    """Return the statement that makes a schema; it fails when there is one of that name."""
    tail = " DEFAULT CHARACTER SET utf8mb4" if dialect == "mysql" else ""
    return f"CREATE SCHEMA {quoted(name, dialect)}{tail}"


def drop_schema(name: str, dialect: ServerDialect) -> str:
    """Return the statement that drops a schema with all that is in it, or does nothing."""
    return f"DROP SCHEMA IF EXISTS {quoted(name, dialect)}{' CASCADE' if dialect == 'postgresql' else ''}"


def _declared(name: str, word: str, dialect: ServerDialect) -> str:
    sql = column_type(word, dialect)
    if name == "updated_at" and not word.endswith("?"):
        # Real applications let the server keep the cursor; the simulator sets it, which wins.
        sql += f" DEFAULT {_NOW[dialect]}" + (f" ON UPDATE {_NOW[dialect]}" if dialect == "mysql" else "")
    return sql


def _joined(lines: Iterable[str]) -> str:
    return ",\n  ".join(lines)


def _names(names: Iterable[str], dialect: ServerDialect) -> str:
    return ", ".join(quoted(name, dialect) for name in names)
