"""Random histories of one source table: its rows and its shape change, and it is loaded in odd ways; at the end the client database equals the source."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from lab_insights.aws import Aws
from lab_insights.config import PhiSection
from lab_insights.extract.land import Mode, Request
from lab_insights.extract.land import load as land
from lab_insights.extract.plan import plan
from lab_insights.extract.window import Ceiling
from lab_insights.lab.pipeline import MissingInput, curate_table
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse.deidentified import SCHEMA
from lab_insights.warehouse.load import load
from lab_insights.warehouse.names import STORE, column_names, identifier, live_view, relation, table_name
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.sync import pending, sync
from lab_insights_tests.extract.world import Server
from lab_insights_tests.lake.world import Killed, day, instant, watched

_COLUMNS_OF = "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = ?"

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
# The key for pseudonyms, where a history has one; the columns of its table are classified, so that they are in the de-identified form too.
KEY = PhiSection(pseudonym_key="env:LAB_INSIGHTS_TEST_PSEUDONYMS", classes={"lis.changing": {"id": "operational", "c*": "operational"}})


class Died(BaseException):
    """The process ended here."""


@dataclass
class History:
    """One table of one tenant; everything that happens to it comes from `rng`, so that a seed tells the whole story, which `told` writes down."""

    rng: random.Random
    server: Server
    lake: Lake
    session: Session
    tenant: TenantId
    table: str = "changing"
    columns: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    names: int = 0
    given_up: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    hours: float = 1.03  # all that is added are tenths, so that it is never midnight itself, when nothing of the day can be read yet
    unloaded: dict[date, Manifest] = field(default_factory=dict)
    loaded_to: int = 1
    whole: bool = True
    told: list[str] = field(default_factory=list)
    compared: int = 0  # columns of the de-identified form

    def run(self, rounds: int) -> None:
        """Live through `rounds` changes and loads, then bring everything to its end and compare; an error carries what has happened as its note."""
        try:
            self._live(rounds)
        except Exception as error:
            error.add_note("\n".join(self.told))
            raise

    def _live(self, rounds: int) -> None:
        self._execute(f"DROP TABLE IF EXISTS {{s}}.{self.table}")
        first = {self._name(): self.rng.choice(list(TYPES)) for _ in range(2)}
        listed = ", ".join(f"{name} {self._spelt(kind)}" for name, kind in first.items())
        self._execute(
            f"CREATE TABLE {{s}}.{self.table} (id BIGINT PRIMARY KEY, {listed}, updated_at {self._spelt('TIMESTAMP(6)')} NOT NULL)"
        )
        self.columns = first
        self._insert(4)
        for _ in range(rounds):
            self.hours += self.rng.choice([0.5, 3, 20, 30])
            if self.rng.random() < 0.5:
                self._reshape()
            self._insert(self.rng.randrange(4))
            self._update(self.rng.randrange(4))
            if self.rng.random() < 0.3:
                self._delete()
            self._land("full" if self.whole or self.rng.random() < 0.2 else "auto", changing=self.rng.random() < 0.2, killed=True)
            if self.unloaded and self.rng.random() < 0.6:
                self._warehouse(self.rng.sample(sorted(self.unloaded), self.rng.randrange(1, len(self.unloaded) + 1)))
            if self.rng.random() < 0.3:
                self._sync()
        self._land("full" if self.whole else "auto")
        self._warehouse(self.rng.sample(sorted(self.unloaded), len(self.unloaded)))
        self._warehouse(sorted(self.unloaded), killed=False)
        self._sync(killed=False)
        assert [str(change) for change in pending(self.session, self.lake, self.tenant)] == []
        self.compare()

    def compare(self) -> None:
        """Compare every value; and those of the de-identified form, where there is one, that it has and shows."""
        names = ["id", *self.columns]
        with self.server.own.connect() as connection:
            rows = connection.exec_driver_sql(f"SELECT {', '.join(names)} FROM {self.server.schema}.{self.table}").all()
        here = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
        shown = column_names(names)
        assert self._differing(here, shown, live_view("curated", f"lis.{self.table}")) == []
        if self.lake.storage.phi.pseudonym_key:
            held = {name for (name,) in self.session.execute(_COLUMNS_OF, SCHEMA)}
            # a column that was of another type has two forms there, and shows the newer alone, which no contract's column needs
            forms = Counter(name.partition(":")[0] for (name,) in self.session.execute(_COLUMNS_OF, STORE))
            beside = {name for name, count in forms.items() if count > 1}
            kept = {name: its for name, its in shown.items() if its in held - beside}
            assert "id" in kept
            self.compared += len(kept)
            assert self._differing(here, kept, relation(SCHEMA, table_name(f"lis.{self.table}")), year) == []

    def _differing(
        self, here: dict[int, dict[str, Any]], shown: dict[str, str], there: str, made: Callable[[Any], Any] = lambda value: value
    ) -> list[str]:
        """Return what a relation of the database holds otherwise than the source: keys that only one side has, and values."""
        found = {int(row[0]): row for row in self.session.execute(f"SELECT {', '.join(map(identifier, shown.values()))} FROM {there}")}
        differing = [f"row {key} is {'missing' if key in here else 'too many'}" for key in here.keys() ^ found.keys()]
        for key in here.keys() & found.keys():
            for value, name in zip(found[key], shown, strict=True):
                if not _same(made(here[key][name]), value):
                    differing.append(f"{name} of row {key} is {value!r} where the source has {here[key][name]!r}")
        return differing

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

    def _reshape(self) -> None:
        self.rng.choice([self._add, self._drop, self._rename, self._retype])()

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

    def _land(self, mode: Mode, *, changing: bool = False, killed: bool = False) -> None:
        """Land what is new and curate it; the source may be changing its shape between the two, and the process may die in either."""
        self.hours += 0.2
        today = int(self.hours // 24) + 1
        self.lake.clock.set(instant(1, self.hours))
        planned = plan(self.server.table(self.table, tenant=Tenant(id=self.tenant, key="1")))
        limit = self.rng.randrange(4, 50) if killed and self.rng.random() < 0.3 else None
        with suppress(Killed), watched(self.lake.storage.aws, limit) as calls:
            if mode == "full" and today > self.loaded_to:
                # the gap before today first, as the schedule would have read it
                self._read(planned, Request(day(today), run_id="history"))
            self._read(planned, Request(day(today), mode, run_id="history"))
            self.told.append(f"-- landed {mode} on day {today}")
            self.whole = False
            # a name that comes back before a load has seen it gone can not be told from the column that had it
            self.free, self.given_up = [*self.free, *self.given_up], []
            if changing:
                self.hours += 0.1
                self._reshape()
            for number in range(self.loaded_to, today + 1):
                with suppress(MissingInput):
                    self.unloaded[day(number)] = curate_table(self.lake, self.tenant, f"lis.{self.table}", day(number), None, "history")
            self.loaded_to = today
        if limit is not None and len(calls.made) >= limit:
            self.told.append(f"-- killed after {limit} calls of a {mode} load on day {today}")

    def _read(self, planned: Any, request: Request) -> None:
        land(self.lake, self.server.source(), Aws(), planned, request, Ceiling(instant(1, self.hours), "of the history"))

    def _warehouse(self, days: list[date], *, killed: bool = True) -> None:
        """Load some days, in that order, each perhaps twice; some loads die on the way and come again later."""
        for each in days:
            self.told.append(f"-- load {each}")
            with self._perhaps_killed(killed) as died:
                for _ in range(self.rng.choice([1, 1, 2])):
                    load(self.session, self.lake.storage, self.tenant, [self.unloaded[each]], run_id="history")
            if not died:
                del self.unloaded[each]

    def _sync(self, *, killed: bool = True) -> None:
        with self._perhaps_killed(killed):
            changes = sync(self.session, self.lake, self.tenant, "history")
            self.told += [f"-- sync: {change}" for change in changes]

    @contextmanager
    def _perhaps_killed(self, allowed: bool) -> Iterator[list[str]]:
        """Let the block die after some statement, as a process does: what it had begun is rolled back, nothing else is done."""
        run, left, died = self.session.execute, self.rng.randrange(3, 25), list[str]()
        doomed = allowed and self.rng.random() < 0.5

        def execute(sql: str, *binds: Any) -> Any:
            nonlocal left
            left -= 1
            if doomed and left < 0 and sql != "ROLLBACK":
                raise Died
            return run(sql, *binds)

        self.session.execute = execute  # type: ignore[method-assign]
        try:
            yield died
        except Died:
            died.append("killed")
            self.told.append("-- killed")
        finally:
            self.session.execute = run  # type: ignore[method-assign]

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


def year(value: Any) -> Any:
    """Return what becomes of a value of the source in the de-identified form."""
    return value.year if isinstance(value, date) else value


def _same(here: Any, there: Any) -> bool:
    """Whether the database's value is the source's. A column that had another type before is text, in which numbers, truth and instants are told alike."""
    if here is None or there is None or (isinstance(here, str) and here == there):
        return here is there or here == there
    return _text(here) == _text(there)


def _text(value: Any) -> str:
    if isinstance(value, bool) or value in {"true", "false"}:
        return str(int(value in {True, "true"}))
    told = str(value).removesuffix(".000000")
    if stored := re.fullmatch(r"(-?\d+)p(-?\d+)", told):
        told = str(math.ldexp(int(stored[1]), int(stored[2])))
    return f"{Decimal(told).normalize():f}" if re.fullmatch(r"-?\d+(\.\d+)?(e[-+]?\d+)?", told) else told
