"""Which connection serves which session, so that the transaction of a session ends with its client."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import duckdb
import fakesnow.server as server  # noqa: PLR0402 - `fakesnow` also has a function of that name
from starlette.concurrency import run_in_threadpool
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_BEGIN = re.compile(r"BEGIN\s+(?:TRANSACTION\s+|WORK\s+)?NAME\s+(\w+)\s*;?\s*", re.IGNORECASE)
_END = re.compile(r"(?:COMMIT|ROLLBACK)\b.*", re.IGNORECASE | re.DOTALL)
_SHOW = re.compile(r"SHOW\s+TRANSACTIONS\s*;?\s*", re.IGNORECASE)
_ABORT = re.compile(r"SELECT\s+SYSTEM\$ABORT_SESSION\(\s*(\d+)\s*\)\s*;?\s*", re.IGNORECASE)


class Sessions:
    """One statement of a session at a time; a session whose client died is rolled back and forgotten."""

    def __init__(self) -> None:
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._token_of: dict[Any, str] = {}
        self._peer_of: dict[str, Any] = {}
        self._reaping: set[asyncio.Task[None]] = set()
        self._open: dict[str, tuple[int, str, datetime]] = {}
        self._numbers = itertools.count(1)

    async def transactions(self, token: str, sql: str) -> str:
        """Note a named transaction's begin and end, list those that are open, or abort a session; return what is to be run instead of `sql`."""
        if found := _BEGIN.fullmatch(sql):
            self._open[token] = (next(self._numbers), found[1].upper(), datetime.now(UTC).replace(tzinfo=None))
            return "BEGIN"
        if _END.fullmatch(sql):
            self._open.pop(token, None)
        elif _SHOW.fullmatch(sql):
            rows = [
                f"({number}, 'USER', {number}, '{name}', CAST('{at}' AS TIMESTAMP_NTZ), 'running')"
                for number, name, at in self._open.values()
            ]
            none = "(0, '', 0, '', CAST(NULL AS TIMESTAMP_NTZ), '')"
            columns = '("id", "user", "session", "name", "started_on", "state")'
            return f"SELECT * FROM (VALUES {', '.join(rows or [none])}) AS t{columns}{'' if rows else ' WHERE FALSE'}"
        elif found := _ABORT.fullmatch(sql):
            for victim in [token for token, (number, *_) in self._open.items() if number == int(found[1])]:
                await self._reap(victim)
            return "SELECT 'session is aborted'"
        return sql

    def protocol(self) -> type[HttpToolsProtocol]:
        """Return uvicorn's HTTP protocol, telling us which connections broke."""
        sessions = self

        class Watched(HttpToolsProtocol):
            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                sessions.lost(self.client)

        return Watched

    def seen(self, token: str, peer: Any) -> None:
        """Note that session `token` now speaks through the connection from `peer` (address and port)."""
        self._token_of[peer] = token
        self._peer_of[token] = peer

    def lost(self, peer: Any) -> None:
        """End what the session that spoke last through `peer` left open, after the statement that it may be running."""
        token = self._token_of.pop(peer, None)
        if token and self._peer_of.get(token) == peer:
            task = asyncio.get_running_loop().create_task(self._reap(token))
            self._reaping.add(task)
            task.add_done_callback(self._reaping.discard)

    async def ended(self, token: str) -> None:
        """Roll back what the session that logs out left open."""
        connection = server.sessions.get(token)
        if connection is not None:
            async with self.locks[token]:
                await run_in_threadpool(_rolled_back, connection)
                self._open.pop(token, None)

    async def _reap(self, token: str) -> None:
        async with self.locks[token]:
            connection = server.sessions.get(token)
            if connection is not None and await run_in_threadpool(_rolled_back, connection):
                # a client that lost only its connection must not go on as if its transaction were still open
                server.sessions.pop(token, None)
            self._open.pop(token, None)
        if token not in server.sessions:
            self.locks.pop(token, None)
            self._peer_of.pop(token, None)


def _rolled_back(connection: Any) -> bool:
    """Return whether there was a transaction to roll back."""
    try:
        connection._duck_conn.rollback()
    except duckdb.TransactionException:
        return False
    return True
