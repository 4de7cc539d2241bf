"""Random histories of one source table: it changes and is loaded in odd ways; at the end the client database equals the source."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from lab_insights.aws import Aws
from lab_insights.config import PhiSection
from lab_insights.extract.land import Mode, Request
from lab_insights.extract.land import load as land
from lab_insights.extract.plan import Plan, plan
from lab_insights.extract.window import Ceiling
from lab_insights.lab.pipeline import MissingInput, curate_table
from lab_insights.lake.commit import Lake
from lab_insights.lake.manifest import Manifest
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Tenant
from lab_insights.warehouse import ledger
from lab_insights.warehouse.deidentified import SCHEMA
from lab_insights.warehouse.load import load
from lab_insights.warehouse.names import STORE, column_names, identifier, live_view, relation, table_name
from lab_insights.warehouse.rebuild import rebuild
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.sync import pending, sync
from lab_insights_tests.lake.world import Killed, day, instant, watched
from lab_insights_tests.warehouse.changing import Changing

_COLUMNS_OF = "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = ?"
# The key for pseudonyms, where a history has one; the columns of its table are classified, so that they are in the de-identified form too.
KEY = PhiSection(pseudonym_key="env:LAB_INSIGHTS_TEST_PSEUDONYMS", classes={"lis.changing": {"id": "operational", "c*": "operational"}})


class Died(BaseException):
    """The process ended here."""


@dataclass
class History:
    """What is made of one table of one tenant; everything that happens comes from `rng`, so that a seed tells the whole story. `holder` is a second session."""

    rng: random.Random
    source: Changing
    lake: Lake
    session: Session
    holder: Session
    tenant: TenantId
    uncurated: set[int] = field(default_factory=set)
    unloaded: dict[date, Manifest] = field(default_factory=dict)
    landed_to: int = 1
    compared: int = 0  # columns of the de-identified form

    def __post_init__(self) -> None:
        self.table, self.told = f"lis.{self.source.table}", self.source.told

    def run(self, rounds: int) -> None:
        """Live through `rounds` changes and loads, then bring everything to its end and compare; an error carries what has happened as its note."""
        try:
            self._live(rounds)
        except Exception as error:
            error.add_note("\n".join(self.told))
            raise

    def _live(self, rounds: int) -> None:
        self.source.create()
        for _ in range(rounds):
            self.source.change()
            self._land("full" if self.source.whole or self.rng.random() < 0.2 else "auto", changing=self.rng.random() < 0.2, killed=True)
            if self.landed_to > 1 and self.rng.random() < 0.3:
                self._reload(self.rng.randrange(1, self.landed_to))
            if self.unloaded and self.rng.random() < 0.6:
                self._load(self.rng.sample(sorted(self.unloaded), self.rng.randrange(1, len(self.unloaded) + 1)))
            if self.rng.random() < 0.3:
                self._sync()
            if self.rng.random() < 0.2:
                self._rebuild()
        self._land("full" if self.source.whole else "auto")
        self._load(self.rng.sample(sorted(self.unloaded), len(self.unloaded)))
        self._load(sorted(self.unloaded), killed=False)
        self._sync(killed=False)
        assert [str(change) for change in pending(self.session, self.lake, self.tenant)] == []
        self.compare()
        if self.rng.random() < 0.5:
            # what was loaded in odd ways is right; what the lake says now, of days that were read again too, is to be the same
            self._rebuild(killed=False)
            self.compare()

    def compare(self) -> None:
        """Compare every value; and those of the de-identified form, where there is one, that it has and shows."""
        names = ["id", *self.source.columns]
        with self.source.server.own.connect() as connection:
            rows = connection.exec_driver_sql(f"SELECT {', '.join(names)} FROM {self.source.server.schema}.{self.source.table}").all()
        here = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
        shown = column_names(names)
        assert self._differing(here, shown, live_view("curated", self.table)) == []
        if self.lake.storage.phi.pseudonym_key:
            held = {name for (name,) in self.session.execute(_COLUMNS_OF, SCHEMA)}
            # a column that was of another type has two forms there, and shows the newer alone, which no contract's column needs
            forms = Counter(name.partition(":")[0] for (name,) in self.session.execute(_COLUMNS_OF, STORE))
            beside = {name for name, count in forms.items() if count > 1}
            kept = {name: its for name, its in shown.items() if its in held - beside}
            assert "id" in kept
            self.compared += len(kept)
            assert self._differing(here, kept, relation(SCHEMA, table_name(self.table)), year) == []

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

    def _land(self, mode: Mode, *, changing: bool = False, killed: bool = False) -> None:
        """Land what is new and curate it; the source may be changing its shape between the two, and the process may die in either."""
        self.source.hours += 0.2
        today = int(self.source.hours // 24) + 1
        self.uncurated.update(range(self.landed_to, today + 1))
        with self._reading(f"a {mode} load on day {today}", killed) as planned:
            if mode == "full" and today > self.landed_to:
                # the gap before today first, as the schedule would have read it
                self._read(planned, Request(day(today), run_id="history"))
            self._read(planned, Request(day(today), mode, run_id="history"))
            self.told.append(f"-- landed {mode} on day {today}")
            self.source.seen()
            if changing:
                self.source.hours += 0.1
                self.source.reshape()
            self._curate()
            self.landed_to = today

    def _reload(self, number: int) -> None:
        """Read a day that is over again, and curate it; the process may die in either, and what it leaves is made good by whoever comes next."""
        self.source.hours += 0.2
        self.uncurated.add(number)
        with self._reading(f"a reload of day {number}", killed=True) as planned:
            self._read(planned, Request(day(number), reload=True, run_id="history"))
            self.told.append(f"-- reloaded day {number}")
            self._curate()

    @contextmanager
    def _reading(self, what: str, killed: bool) -> Iterator[Plan]:
        """Plan the table as it is now for the block, which is perhaps `killed` after some call to the lake."""
        self.lake.clock.set(instant(1, self.source.hours))
        planned = plan(self.source.server.table(self.source.table, tenant=Tenant(id=self.tenant, key="1")))
        limit = self.rng.randrange(4, 50) if killed and self.rng.random() < 0.3 else None
        with suppress(Killed), watched(self.lake.storage.aws, limit) as calls:
            yield planned
        if limit is not None and len(calls.made) >= limit:
            self.told.append(f"-- killed after {limit} calls of {what}")

    def _read(self, planned: Plan, request: Request) -> None:
        top = Ceiling(instant(1, self.source.hours), "of the history")
        land(self.lake, self.source.server.source(), Aws(), planned, request, top)

    def _curate(self) -> None:
        for number in sorted(self.uncurated):
            with suppress(MissingInput):
                self.unloaded[day(number)] = curate_table(self.lake, self.tenant, self.table, day(number), None, "history")
            self.uncurated.remove(number)

    def _load(self, days: list[date], *, killed: bool = True) -> None:
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

    def _rebuild(self, *, killed: bool = True) -> None:
        """Make the table anew from the lake, where there is one; what is not loaded yet is in it already, and is loaded all the same."""
        if ledger.version(self.session, ("curated", self.table)) is None:
            return
        with self._perhaps_killed(killed, within=30):
            copied = rebuild(self.session, self.holder, self.lake, self.tenant, "curated", self.table, "history")
            self.told.append(f"-- rebuilt of {copied} rows")

    @contextmanager
    def _perhaps_killed(self, allowed: bool, within: int = 25) -> Iterator[list[str]]:
        """Let the block die after some statement, as a process does: what it had begun is rolled back, nothing else is done."""
        left, died = self.rng.randrange(3, within), list[str]()
        doomed = allowed and self.rng.random() < 0.5

        def dying(run: Callable[..., Any]) -> Callable[..., Any]:
            def execute(sql: str, *binds: Any) -> Any:
                nonlocal left
                left -= 1
                if doomed and left < 0 and sql != "ROLLBACK":
                    raise Died
                return run(sql, *binds)

            return execute

        sessions = [(each, each.execute) for each in (self.session, self.holder)]
        for each, run in sessions:
            each.execute = dying(run)  # type: ignore[method-assign]
        try:
            yield died
        except Died:
            died.append("killed")
            self.told.append("-- killed")
        finally:
            for each, run in sessions:
                each.execute = run  # type: ignore[method-assign]


def year(value: Any) -> Any:
    """Return what becomes of a value of the source in the de-identified form."""
    return value.year if isinstance(value, date) else value


def _same(here: Any, there: Any) -> bool:
    """Whether the database's value is the source's. A column that had another type before is text, in which numbers, truth and instants are told alike."""
    if here is None or there is None or (isinstance(here, str) and here == there):
        return here is there or here == there
    if isinstance(there, datetime) and not isinstance(here, datetime | str):
        # a day under a name that had instants before
        return isinstance(here, date) and there == datetime(here.year, here.month, here.day)
    return _text(here) == _text(there)


def _text(value: Any) -> str:
    if isinstance(value, bool) or value in {"true", "false"}:
        return str(int(value in {True, "true"}))
    told = str(value).removesuffix(".000000")
    if stored := re.fullmatch(r"(-?\d+)p(-?\d+)", told):
        told = str(math.ldexp(int(stored[1]), int(stored[2])))
    return f"{Decimal(told).normalize():f}" if re.fullmatch(r"-?\d+(\.\d+)?(e[-+]?\d+)?", told) else told
