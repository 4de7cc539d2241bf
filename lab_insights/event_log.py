"""Dagster's SQLite storage, with a batch of events in one transaction, and the tenants at hand: Dagster opens the database and commits for each event.

Storing events took 29% of a demo's time so; the files are Dagster's own, so that its plain SQLite storage reads them too.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, lru_cache
from typing import Any

import sqlalchemy as sa
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, _event_logs_directory
from dagster._serdes import ConfigurableClassData

# Each run has a database of its own, and a daemon sees many of them.
_OPEN = 16
_BUSY_SECONDS = 60
# The index is written through for each event, which fsync would make as slow as the disk; in WAL mode a crash of the process loses nothing either way.
_SYNCHRONOUS = "PRAGMA synchronous=NORMAL"
# Dagster asks for all tenants some 240 times a run, which took 4 to 7% of the loading process.
_REMEMBERED_SECONDS = 1.0


class LocalStorage(DagsterSqliteStorage):
    """Runs, events and schedules below `base_dir`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = EventLog(_event_logs_directory(base_dir))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> LocalStorage:
        """Return the storage that `dagster.yaml` describes."""
        return cls.from_local(inst_data=inst_data, **config_value)


class EventLog(SqliteEventLogStorage):
    """The event log; its databases stay open, and a batch is one transaction in each of the two that it is written to."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store all of these events or none of them."""
        with self._db_lock, ExitStack() as transactions:
            connections: dict[str, sa.Connection] = {}

            def joined(shard: str) -> sa.Connection:
                if shard not in connections:
                    connections[shard] = transactions.enter_context(self._engine(shard).begin())
                return connections[shard]

            self._here.joined, self._here.newest = joined, {}
            try:
                super().store_event_batch(events)
                for each in self._here.newest.values():
                    super()._store_asset_event(*each)
            finally:
                del self._here.joined, self._here.newest

    def _store_asset_event(self, conn: sa.Connection, event: EventLogEntry, event_id: int) -> None:
        """Say in the index what is newest of an asset: of a batch, the last event of a kind."""
        newest = getattr(self._here, "newest", None)
        if newest is None or not event.dagster_event:
            super()._store_asset_event(conn, event, event_id)
            return
        kind = event.dagster_event.asset_key, event.dagster_event.event_type
        newest.pop(kind, None)  # the last comes last, whatever its kind
        newest[kind] = conn, event, event_id

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        if joined := getattr(self._here, "joined", None):
            yield joined(shard)
            return
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def has_table(self, table_name: str) -> bool:
        """Tell whether the index has a table; one that it has stays. Dagster asks for each event, by a connection of its own each time."""
        if table_name not in self._index and super().has_table(table_name):
            self._index.add(table_name)
        return table_name in self._index

    def has_secondary_index(self, name: str) -> bool:
        """Tell whether the index was once brought to a newer form; it stays in it, and Dagster asks for each event."""
        if name not in self._index and super().has_secondary_index(name):
            self._index.add(name)
        return name in self._index

    def _has_asset_key_col_on_connection(self, conn: sa.Connection, column_name: str) -> bool:
        if column_name not in self._index and super()._has_asset_key_col_on_connection(conn, column_name):
            self._index.add(column_name)
        return column_name in self._index

    def get_dynamic_partitions(self, partitions_def_name: str) -> Sequence[str]:
        """Return the keys, of which another process's changes are seen a second later at most, and this one's at once."""
        at, keys = self._partitions.get(partitions_def_name, (-math.inf, []))
        if time.monotonic() - at > _REMEMBERED_SECONDS:
            at, keys = time.monotonic(), super().get_dynamic_partitions(partitions_def_name)
            self._partitions[partitions_def_name] = at, keys
        return list(keys)

    def add_dynamic_partitions(self, partitions_def_name: str, partition_keys: Sequence[str]) -> None:
        """Add keys."""
        super().add_dynamic_partitions(partitions_def_name, partition_keys)
        self._partitions.clear()

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        """Delete a key."""
        super().delete_dynamic_partition(partitions_def_name, partition_key)
        self._partitions.clear()

    @cached_property
    def _index(self) -> set[str]:
        """What the index is known to have: tables, columns and newer forms, whose names differ."""
        return set()

    @cached_property
    def _partitions(self) -> dict[str, tuple[float, Sequence[str]]]:
        return {}

    @cached_property
    def _here(self) -> threading.local:
        return threading.local()

    @cached_property
    def _engine(self) -> Any:
        @lru_cache(_OPEN)
        def opened(shard: str) -> sa.Engine:
            engine = sa.create_engine(self.conn_string_for_shard(shard), connect_args={"timeout": _BUSY_SECONDS})
            sa.event.listen(engine, "connect", lambda connection, _: connection.execute(_SYNCHRONOUS))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            return engine

        return opened
