"""Dagster's SQLite storage, with a batch of events in one transaction: Dagster opens the database and commits for each event.

Storing events took 29% of a demo's time so; the files are Dagster's own, so that its plain SQLite storage reads them too.
"""

from __future__ import annotations

import threading
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

            self._here.joined = joined
            try:
                super().store_event_batch(events)
            finally:
                del self._here.joined

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        if joined := getattr(self._here, "joined", None):
            yield joined(shard)
            return
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    @cached_property
    def _here(self) -> threading.local:
        return threading.local()

    @cached_property
    def _engine(self) -> Any:
        @lru_cache(_OPEN)
        def opened(shard: str) -> sa.Engine:
            engine = sa.create_engine(self.conn_string_for_shard(shard), connect_args={"timeout": _BUSY_SECONDS})
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            return engine

        return opened
