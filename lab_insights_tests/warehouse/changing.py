"""A source table whose rows and shape change at random, and which writes down what happened to it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal

from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import instant

# What a column may be at first, and what it may become without losing what it holds.
TYPES = {
    "SMALLINT": ("INT", "BIGINT", "DOUBLE PRECISION", "VARCHAR(40)"),
    "INT": ("SMALLINT", "BIGINT", "DOUBLE PRECISION", "VARCHAR(40)"),
    "BIGINT": ("SMALLINT", "INT", "VARCHAR(40)"),
    "DECIMAL(8,2)": ("DECIMAL(12,4)", "VARCHAR(40)"),
    "DECIMAL(12,4)": ("DECIMAL(8,2)",),
    "DOUBLE PRECISION": ("VARCHAR(40)",),
    "BOOLEAN": ("VARCHAR(40)",),
    "VARCHAR(20)": ("VARCHAR(40)", "TEXT"),
    "DATE": ("TIMESTAMP(6)", "VARCHAR(40)"),
    "TIMESTAMP(6)": ("VARCHAR(40)",),
}
# What a server calls them where it has a name of its own: MySQL's TIMESTAMP is of another zone and another range.
SPELT = {"mysql": {"TIMESTAMP(6)": "DATETIME(6)"}, "postgresql": dict[str, str]()}


@dataclass
class Changing:
    """The table `changing` of a server, which `told` is the story of; `hours` have passed since the first day began."""

    rng: random.Random
    server: Server
    table: str = "changing"
    columns: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    names: int = 0
    given_up: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    hours: float = 1.03  # all that is added are tenths, so that it is never midnight itself, when nothing of the day can be read yet
    whole: bool = True  # only the whole table tells what happened
    told: list[str] = field(default_factory=list)

    def create(self) -> None:
        """Begin, with two columns and four rows."""
        self._execute(f"DROP TABLE IF EXISTS {{s}}.{self.table}")
        first = {self._name(): self.rng.choice(list(TYPES)) for _ in range(2)}
        listed = ", ".join(f"{name} {self._spelt(kind)}" for name, kind in first.items())
        self._execute(
            f"CREATE TABLE {{s}}.{self.table} (id BIGINT PRIMARY KEY, {listed}, updated_at {self._spelt('TIMESTAMP(6)')} NOT NULL)"
        )
        self.columns = first
        self._insert(4)

    def change(self) -> None:
        """Let some hours pass, and with them perhaps the shape, and some rows."""
        self.hours += self.rng.choice([0.5, 3, 20, 30])
        if self.rng.random() < 0.5:
            self.reshape()
        self._insert(self.rng.randrange(4))
        self._update(self.rng.randrange(4))
        if self.rng.random() < 0.3:
            self._delete()

    def reshape(self) -> None:
        """Change the shape alone."""
        self.rng.choice([self._add, self._drop, self._rename, self._retype])()

    def seen(self) -> None:
        """Hear that the whole table, or what changed of it, was landed as it is."""
        self.whole = False
        # a name that comes back before a load has seen it gone can not be told from the column that had it
        self.free, self.given_up = [*self.free, *self.given_up], []

    def _insert(self, count: int) -> None:
        for _ in range(count):
            self.rows += 1
            values = ", ".join(self._value(kind) for kind in self.columns.values())
            self._execute(
                f"INSERT INTO {{s}}.{self.table} (id, {', '.join(self.columns)}, updated_at) VALUES ({self.rows}, {values}, {self._now})"
            )

    def _update(self, count: int) -> None:
        for _ in range(count):
            name, kind = self.rng.choice(list(self.columns.items()))
            self._execute(
                f"UPDATE {{s}}.{self.table} SET {name} = {self._value(kind)}, updated_at = {self._now} WHERE id = {self.rng.randint(1, self.rows)}"
            )

    def _delete(self) -> None:
        self._execute(f"DELETE FROM {{s}}.{self.table} WHERE id = {self.rng.randint(1, self.rows)}")
        self.whole = True

    def _add(self) -> None:
        name, kind = self._name(), self.rng.choice(list(TYPES))
        default = f" DEFAULT {self._value(kind, null=False)}" if self.rng.random() < 0.4 else ""
        self._execute(f"ALTER TABLE {{s}}.{self.table} ADD COLUMN {name} {self._spelt(kind)}{default}")
        self.columns[name] = kind

    def _drop(self) -> None:
        if len(self.columns) > 1:
            name = self.rng.choice(list(self.columns))
            self._execute(f"ALTER TABLE {{s}}.{self.table} DROP COLUMN {name}")
            del self.columns[name]
            self.given_up.append(name)

    def _rename(self) -> None:
        old, new = self.rng.choice(list(self.columns)), self._name()
        self._execute(f"ALTER TABLE {{s}}.{self.table} RENAME COLUMN {old} TO {new}")
        self.columns = {new if name == old else name: kind for name, kind in self.columns.items()}
        self.given_up.append(old)
        if self.rng.random() < 0.5:
            self._execute(f"UPDATE {{s}}.{self.table} SET updated_at = {self._now}")

    def _retype(self) -> None:
        name = self.rng.choice(list(self.columns))
        if wider := TYPES.get(self.columns[name]):
            kind = self.rng.choice(wider)
            how = "MODIFY COLUMN {} {}" if self.server.engine == "mysql" else "ALTER COLUMN {} TYPE {}"
            self._execute(f"ALTER TABLE {{s}}.{self.table} {how.format(name, self._spelt(kind))}")
            self.columns[name] = kind

    def _value(self, kind: str, *, null: bool = True) -> str:
        if null and self.rng.random() < 0.15:
            return "NULL"
        number = self.rng.randint(-30_000, 30_000)
        match kind.partition("(")[0]:
            case "SMALLINT" | "INT" | "BIGINT":
                return str(number)
            case "DECIMAL":
                return str(Decimal(number) / 100)
            case "DOUBLE PRECISION":
                return str(number / 8)
            case "BOOLEAN":
                return str(number > 0).upper()
            case "DATE":
                return f"'2026-{self.rng.randint(1, 12):02}-{self.rng.randint(1, 28):02}'"
            case "TIMESTAMP":
                return f"'2026-05-{self.rng.randint(1, 28):02} 0{self.rng.randint(0, 9)}:30:00'"
            case _:
                return self.rng.choice([f"'v{number}'", "''", f"'it''s {number}'"])

    @property
    def _now(self) -> str:
        return f"'{instant(1, self.hours):%Y-%m-%d %H:%M:%S}'"

    def _spelt(self, kind: str) -> str:
        return SPELT[self.server.engine].get(kind, kind)

    def _name(self) -> str:
        """A name that no column has: a new one, or one that a column had before."""
        if self.free and self.rng.random() < 0.5:
            return self.free.pop(self.rng.randrange(len(self.free)))
        self.names += 1
        return f"c{self.names}"

    def _execute(self, statement: str) -> None:
        self.told.append(statement)
        self.server.execute(statement)
