"""Stage schemas: where rows of one load lie before they are merged. They go with the load; a later sync takes away what a dead one left.

They hold rows unmasked and the pairs of values and pseudonyms; nobody but their owner is granted anything on them.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from lab_insights.errors import WarehouseError
from lab_insights.lake.manifest import Manifest
from lab_insights.warehouse import sql
from lab_insights.warehouse.names import identifier
from lab_insights.warehouse.session import Session

_LOG = logging.getLogger(__name__)
# No load lasts as long.
KEPT = timedelta(days=1)
_PREFIX = "STAGE_"
_LEFT = "SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA WHERE STARTSWITH(SCHEMA_NAME, ?) AND SCHEMA_NAME < ?"


def name() -> str:
    """Return the name of a new stage schema, which says when it was made."""
    return f"{_PREFIX}{datetime.now(UTC):%Y%m%d%H%M}_{uuid.uuid4().hex}".upper()


def create(schema: str) -> str:
    """Return the statement that makes it."""
    return f"CREATE TRANSIENT SCHEMA {identifier(schema)}"


def drop(schema: str) -> str:
    """Return the statement that removes it and all that is in it."""
    return f"DROP SCHEMA IF EXISTS {identifier(schema)} CASCADE"


def copy(session: Session, stage_table: str, manifest: Manifest) -> int:
    """Copy the files that a manifest names into their stage table, and return how many rows they have; raise `WarehouseError` when it says another number."""
    keys = [part.key for part in manifest.parts]
    copied = sum(int(row[3]) for each in sql.copies(stage_table, manifest.layer, keys) for row in session.execute(each))
    if copied != manifest.rows:
        raise miscounted(copied, manifest.rows, **manifest.partition.where)
    return copied


def miscounted(copied: int, rows: int, **where: str) -> WarehouseError:
    """Return the error of files that do not have the `rows` that their manifest says."""
    return WarehouseError(
        f"{copied} rows were copied where the manifest says {rows}.",
        remedy="run `lab-insights verify`: a part of the lake was changed after it was committed.",
        **where,
    )


@contextmanager
def opened(session: Session) -> Iterator[str]:
    """Make a stage schema of the current database for the body, and remove it after."""
    schema = name()
    session.execute(create(schema))
    try:
        yield schema
    finally:
        remove(session, drop(schema))


def remove(session: Session, statement: str) -> None:
    """Run the removal of a stage schema; one that fails must not hide why the load failed, and is made good by `sweep`."""
    try:
        session.execute(statement)
    except WarehouseError as error:
        _LOG.warning("a stage schema stays until the next schema sync of another day: %s", error.message)


def sweep(session: Session) -> int:
    """Remove the stage schemas of the current database that loads left which died more than a day ago; return how many."""
    oldest = f"{_PREFIX}{datetime.now(UTC) - KEPT:%Y%m%d%H%M}"
    left = [schema for (schema,) in session.execute(_LEFT, _PREFIX, oldest)]
    for schema in left:
        session.execute(drop(schema))
    return len(left)
