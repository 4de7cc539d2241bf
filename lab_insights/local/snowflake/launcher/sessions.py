"""Which connection serves which session, so that the transaction of a session ends with its client."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import duckdb
import fakesnow.server as server  # noqa: PLR0402 - `fakesnow` also has a function of that name
from starlette.concurrency import run_in_threadpool
from uvicorn.protocols.http.h11_impl import H11Protocol


class Sessions:
    """One statement of a session at a time; a session whose client died is rolled back and forgotten."""

    def __init__(self) -> None:
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._token_of: dict[Any, str] = {}
        self._peer_of: dict[str, Any] = {}
        self._reaping: set[asyncio.Task[None]] = set()

    def protocol(self) -> type[H11Protocol]:
        """Return uvicorn's HTTP protocol, telling us which connections broke."""
        sessions = self

        class Watched(H11Protocol):
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

    async def _reap(self, token: str) -> None:
        async with self.locks[token]:
            connection = server.sessions.get(token)
            if connection is not None and await run_in_threadpool(_rolled_back, connection):
                # a client that lost only its connection must not go on as if its transaction were still open
                server.sessions.pop(token, None)
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
