"""The changes that schema sync plans, and their application: each is recorded in OPS.SCHEMA_CHANGES, then its statements run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lab_insights.errors import WarehouseError
from lab_insights.governance.classes import PhiClass
from lab_insights.warehouse import stages
from lab_insights.warehouse.catalog import Table
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.shape import Rename

What = Literal["new table", "new column", "widening", "incompatible", "rename", "deprecated", "in use again", "back-fill", "view", "class"]
_RECORD = """
INSERT INTO OPS.SCHEMA_CHANGES (TABLE_SCHEMA, TABLE_NAME, WHAT, COLUMN_NAME, DETAIL, RENAMED_TO, BEFORE_BATCH, RUN_ID)
VALUES """


@dataclass(frozen=True)
class Change:
    """One difference of a table (schema and name, unquoted), and the statements that remove it; `finally_` runs even if one of them fails.

    `made` are the columns that they make, each with the PHI class whose policy it gets; `counted` are statements that must answer a number of rows.
    """

    table: Table
    what: What
    column: str
    detail: str
    statements: tuple[str, ...]
    rename: Rename | None = None
    finally_: str = ""
    made: tuple[tuple[str, PhiClass], ...] = ()
    counted: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return " ".join(filter(None, (".".join(self.table), self.what, self.column, self.detail)))


def apply(session: Session, changes: Sequence[Change], run_id: str = "") -> None:
    """Record each change and run its statements. DDL commits by itself in Snowflake: never call it inside a transaction."""
    # A tenant's first load makes a hundred tables.
    _record(session, [change for change in changes if change.what == "new table"], run_id)
    for change in changes:
        try:
            # one that is cut off is begun again, so its record says that it ended
            ended = change.what in {"back-fill", "class"}
            _record(session, [change] if change.what not in {"new table", "view"} and not ended else [], run_id)
            counted = dict(change.counted)
            for statement in change.statements:
                found = session.execute(statement)
                if statement in counted and (rows := int(found[0][0])) != counted[statement]:
                    raise stages.miscounted(rows, counted[statement])
            _record(session, [change] if ended else [], run_id)
        except WarehouseError as error:
            raise type(error)(error.message, remedy=error.remedy, table=".".join(change.table)) from None
        finally:
            if change.finally_:
                stages.remove(session, change.finally_)


def _record(session: Session, changes: Sequence[Change], run_id: str) -> None:
    rows: list[tuple[str | None, ...]] = []
    for change in changes:
        told = change.rename
        renamed = (told.new, told.before) if told else (None, None)
        rows.append((*change.table, change.what, change.column, change.detail, *renamed, run_id))
        if change.made:  # what a column's policy is nobody else can say once its name, a contract or a declaration is another
            rows.append((*change.table, "class", "", json.dumps(dict(change.made)), None, None, run_id))
    if rows:
        session.execute(_RECORD + ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * len(rows)), *(value for row in rows for value in row))
